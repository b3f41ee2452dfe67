#!/bin/sh
# Runs OpenSSH's own regression tests with this project's ssh-add and ssh-agent.
#
#   npm run test:openssh                    every test that starts an agent, and cert-userkey
#   npm run test:openssh -- agent sshsig    some of them
#   npm run test:openssh -- --peer          with OpenSSH's own programs, for comparison
#   npm run test:openssh -- --list          the names of the tests
#   npm run test:openssh -- --programs DIR  with the programs of a folder, such as a release's
#
# The tests are those of Debian's package openssh-tests, unchanged. They must not run as root, and need a
# sudo without a password: for root, a temporary user runs them; other users run them themselves. All
# files are in a temporary folder, which is kept if KEEP is set. A test may be skipped only if it is also
# skipped with OpenSSH's own programs. The last line counts the tests.
set -eu
cd "$(dirname "$0")/.."
. scripts/programs.sh
suite=/usr/lib/openssh/regress
# More than the processors, because tests wait for programs and timers most of the time.
jobs=6

fail() {
  printf 'test-openssh: %s\n' "$*" >&2
  exit 1
}

# ---- which tests -----------------------------------------------------------------------------------

# The tests that take longest come first.
all_tests() {
  {
    printf '%s\n' agent-restrict sshsig agent-timeout cert-userkey hostkey-agent agent-subprocess
    (cd "$suite" && grep -lE '[$][{]?(SSHAGENT|SSHADD)' -- *.sh) | sed 's/\.sh$//'
  } | awk '$0 != "test-exec" && !seen[$0]++'
}

# ---- the folder, the user, the programs ------------------------------------------------------------

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n -- "$@"; fi
}

as_tester() {
  if [ "$(id -un)" = "$tester" ]; then "$@"; else runuser -u "$tester" -- "$@"; fi
}

# The processes that the tests have left running: they have a path of the folder in their arguments, or,
# if they have changed their title, in their environment.
processes() {
  # shellcheck disable=SC2016
  as_root sh -c 'cd /proc && grep -alsF -- "$1/" [0-9]*/cmdline [0-9]*/environ' - "$folder" |
    sed 's,/.*,,' | sort -u
}

# Terminates them, and kills them after two seconds.
end_processes() {
  for pid in $(processes); do as_root kill "$pid" 2>/dev/null || :; done
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    for pid in $(processes); do
      if as_root kill -0 "$pid" 2>/dev/null; then sleep 0.2 && continue 2; fi
    done
    return 0
  done
  for pid in $(processes); do as_root kill -KILL "$pid" 2>/dev/null || :; done
}

clean_up() {
  status=$?
  trap - EXIT
  end_processes
  if [ -n "$sudoers" ]; then rm -f "$sudoers"; fi
  if [ -n "$made" ]; then
    # A terminated sshd leaves its agent's socket and the file of ExposeAuthInfo in /tmp.
    find /tmp -maxdepth 1 -user "$made" -exec rm -rf {} + || :
    userdel "$made" 2>/dev/null || userdel --force "$made" || :
  fi
  if [ -n "${KEEP-}" ]; then echo "kept: $folder"; else as_root rm -rf "$folder"; fi
  exit "$status"
}

# Makes a temporary user without a password, who may run any command with sudo.
make_tester() {
  tester=cardagent-$$
  useradd --system --user-group --no-create-home --home-dir "$folder/home" --shell /bin/sh "$tester"
  made=$tester
  sudoers=/etc/sudoers.d/$tester
  (umask 0337 && echo "$tester ALL=(ALL) NOPASSWD: ALL" >"$sudoers")
}

find_tester() {
  if [ "$(id -u)" -eq 0 ]; then make_tester; else tester=$(id -un); fi
  as_tester sudo -n true ||
    fail "$tester needs a sudo that asks for no password; or run this as root"
}

# Copies the programs: the user may be unable to read the originals, and a test changes their owner.
copy_programs() {
  cp -R "${CARDAGENT_PROGRAMS:-dist/bin}/.." "$folder/ours"
  mkdir -p "$folder/peer/bin"
  cp /usr/bin/ssh-add /usr/bin/ssh-agent "$folder/peer/bin"
  ln -s "$PWD/node_modules" "$folder/node_modules"
  if ! as_tester test -r "$folder/node_modules/koffi/package.json"; then
    rm "$folder/node_modules"
    copy_dependencies
  fi
  node=$(command -v node)
  if ! as_tester env -i PATH=/usr/local/bin:/usr/bin:/bin node -e 0 2>/dev/null; then
    as_tester "$node" -e 0 2>/dev/null || { cp "$node" "$folder/node" && node=$folder/node; }
    for script in $(grep -lI '^#!' "$folder/ours/bin/ssh-add" "$folder/ours/bin/ssh-agent"); do
      sed -i "1s,.*,#!$node," "$script"
    done
  fi
}

copy_dependencies() {
  node -p 'Object.entries(require("./package-lock.json").packages)
    .filter(([path, { dev }]) => path && !dev).map(([path]) => path).join("\n")' |
    while read -r path; do
      if [ -e "$path" ]; then cp -R --parents "$path" "$folder"; fi
    done
}

# Makes a key of each type; OpenSSH's tests use those that they find.
make_keys() {
  for kind in $(ssh -Q key-plain); do
    SSH_SK_PROVIDER=$suite/misc/sk-dummy/sk-dummy.so \
      ssh-keygen -q -N '' -t "$kind" -f "$folder/keys/$kind" >/dev/null 2>&1 </dev/null || :
  done
}

make_folder() {
  folder=$(mktemp -d /tmp/ca-openssh-XXXXXX)
  chmod 755 "$folder"
  mkdir "$folder/home" "$folder/tmp" "$folder/keys" "$folder/outcomes"
  find_tester
  cp fixtures/openssh-tests/run-one.sh "$folder"
  copy_programs
  make_keys
  if [ "$(id -u)" -eq 0 ]; then
    mkdir -p /run/sshd
    chown -R "$tester:" "$folder"
  else
    as_root mkdir -p /run/sshd
  fi
}

# ---- running and counting --------------------------------------------------------------------------

# run PROGRAMS TEST...
run() {
  which=$1
  shift
  printf '%s\n' "$@" | as_tester xargs -P "$jobs" -n 1 sh "$folder/run-one.sh" "$folder" "$which"
}

# agent-timeout runs first and alone, because it fails on a busy machine.
run_all() {
  others=
  for test in "$@"; do
    if [ "$test" = agent-timeout ]; then run "$programs" "$test"; else others="$others $test"; fi
  done
  # shellcheck disable=SC2086
  if [ -n "$others" ]; then run "$programs" $others; fi
}

outcome_of() { cat "$folder/outcomes/$1-$2" 2>/dev/null || echo failed; }

# A skipped test has failed if it is not skipped with OpenSSH's own programs.
check_skipped() {
  skipped_here=
  for test in "$@"; do
    if [ "$(outcome_of ours "$test")" = skipped ]; then skipped_here="$skipped_here $test"; fi
  done
  if [ -z "$skipped_here" ]; then return; fi
  echo "Once more with OpenSSH's own programs, what was skipped:"
  # shellcheck disable=SC2086
  run peer $skipped_here
  for test in $skipped_here; do
    if [ "$(outcome_of peer "$test")" != skipped ]; then
      echo "$test: FAILED: it was skipped, which it is not with OpenSSH's own programs"
      echo failed >"$folder/outcomes/ours-$test"
    fi
  done
}

programs=ours
case ${1-} in
  --peer) programs=peer && shift ;;
  --list) all_tests && exit ;;
  -*) fail "unknown option: $1" ;;
esac
sh scripts/setup.sh openssh-client openssh-server openssh-tests sudo softhsm2 openssl perl gdb
# shellcheck disable=SC2046
if [ $# -eq 0 ]; then set -- $(all_tests); fi
for test in "$@"; do
  [ -e "$suite/$test.sh" ] || fail "no such test: $test"
done

made='' sudoers='' folder=/nonexistent
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
make_folder
run_all "$@"
if [ "$programs" = ours ]; then check_skipped "$@"; fi

passed=0 failed=0 skipped=0
for test in "$@"; do
  outcome=$(outcome_of "$programs" "$test")
  eval "$outcome=\$(($outcome + 1))"
done
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
