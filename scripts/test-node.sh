#!/bin/sh
# Tests this project with other versions of Node.js: the unit tests, the transcripts, the demo, and the
# searches of memory for secrets: what Node.js keeps and frees differs between versions.
#
#   npm run test:node -- 22 24 26    the newest releases of these
#   npm run test:node -- 20.19.0     one release
#   npm run test:node -- --only unit,memory 24   only these kinds
#
# npm downloads each Node.js once, into node_modules/.cache/node. Its folder is first in PATH, so that the
# programs in dist/ run with it, too. The last line counts the tests of all versions; a demo is one.
set -eu
cd "$(dirname "$0")/.."
kinds='unit transcripts memory demo'
if [ "${1-}" = --only ]; then
  kinds=$(echo "$2" | tr , ' ')
  shift 2
fi
[ $# -gt 0 ] || set -- 22 24 26
sh scripts/setup.sh openssh-client openssh-server softhsm2 opensc openssl gcc pcscd vsmartcard-vpcd \
  ykcs11 yubico-piv-tool putty-tools
package=node-$(node -p 'process.platform')-$(node -p 'process.arch')
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Prints the bin folder of Node.js $1, after a download if necessary.
folder_of() {
  place=$PWD/node_modules/.cache/node/$1
  if [ ! -x "$place/node_modules/$package/bin/node" ]; then
    npm install --silent --no-save --no-audit --no-fund --ignore-scripts --prefix "$place" \
      "$package@$1" >&2
  fi
  echo "$place/node_modules/$package/bin"
}

# run LOG COMMAND...: runs a command and writes its output and exit status to a log.
run() {
  log=$logs/$1
  shift
  status=0
  "$@" >"$log" 2>&1 </dev/null || status=$?
  echo "exit status $status" >>"$log"
}

memory_tests='cli/memory.test.ts agent/memory.test.ts agent/pkcs11/forgotten-pins.test.ts'

test_kind() {
  case $2 in
  unit) run "$1-unit" node scripts/test-bundled.mjs --unit --tap ;;
  transcripts)
    run "$1-transcripts" node node_modules/ava/entrypoints/cli.mjs --tap fixtures/transcripts.test.ts
    ;;
  memory) run "$1-memory" node node_modules/ava/entrypoints/cli.mjs --tap $memory_tests ;;
  demo) run "$1-demo" sh -c 'sh scripts/demo.sh && echo "ok 1 - demo"' ;;
  esac
}

# All kinds run at once, because tests wait for programs and timers most of the time.
test_with() (
  PATH=$(folder_of "$1"):$PATH
  export PATH
  for kind in $kinds; do test_kind "$1" "$kind" & done
  wait
)

# Counts the lines of a log that begin with $2 and match $3.
count() { grep -cE "^$2 .*$3" "$logs/$1" || :; }

passed=0 failed=0 skipped=0
# Adds the results of a log in the Test Anything Protocol. A failed run without a failed test counts as
# one.
add_up() {
  skips=$(count "$1" '(not )?ok' ' # (SKIP|TODO)$')
  oks=$(($(count "$1" ok '') - $(count "$1" ok ' # (SKIP|TODO)$')))
  faults=$(($(count "$1" 'not ok' '') - $(count "$1" 'not ok' ' # (SKIP|TODO)$')))
  if [ "$(tail -n 1 "$logs/$1")" != 'exit status 0' ] || [ $((oks + faults)) -eq 0 ]; then
    if [ "$faults" -eq 0 ]; then faults=1; fi
    cat "$logs/$1"
  fi
  passed=$((passed + oks)) failed=$((failed + faults)) skipped=$((skipped + skips))
  printf '  %s: %d passed, %d failed, %d skipped\n' "${1#*-}" "$oks" "$faults" "$skips"
}

for version in "$@"; do
  started=$(date +%s)
  test_with "$version"
  PATH=$(folder_of "$version"):$PATH node -p '`Node.js ${process.version}`'
  for kind in $kinds; do add_up "$version-$kind"; done
  echo "  after $(($(date +%s) - started)) s"
done
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
