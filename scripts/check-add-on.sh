#!/bin/sh
# Compares koffi's add-ons, which npm installs built, with their source, which the package koffi contains.
#
# Another compiler built them, so the bytes differ from those of a build here. This script builds the
# source and checks that the built add-ons for x64 and arm64 use no function of the system that this build
# does not use (so they cannot open a connection or run a program), that both have the same exports, and
# that the demo also runs with this build. npm checks the hashes of package-lock.json when it installs them.
#
# The last line counts the checks.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh g++ cmake make openssh-client openssh-server softhsm2 opensc
[ "$(uname -sm)" = 'Linux x86_64' ] || { echo 'The build is compared on Linux on x64.' >&2; exit 1; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Installs what npm gives to a user with the processor $1.
install_for() {
  mkdir "$scratch/$1"
  cp package.json package-lock.json "$scratch/$1"
  npm ci --prefix "$scratch/$1" --silent --no-audit --no-fund --omit=dev --ignore-scripts \
    --os=linux --cpu="$1"
}

# Builds koffi's source, outside of the packages that the demo will use. With fewer optimizations, which
# take most of the time.
build_source() (
  cp -R "$scratch/x64/node_modules/koffi" "$scratch/source"
  cd "$scratch/source"
  node cnoke.cjs -P . -D src/koffi --release -d 'CMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG' >build.log 2>&1 ||
    { cat build.log; exit 1; }
)

# The functions that an add-on uses of the system's libraries; those for large files by their plain names.
functions_of() {
  readelf --dyn-syms --wide "$1" |
    awk '$7 == "UND" && $8 != "" { sub(/@.*/, "", $8); sub(/64$/, "", $8); print $8 }' | sort -u
}

# What compilers and the C library's headers add by themselves.
cat >"$scratch/added" <<'END'
_ZSt19__throw_logic_errorPKc
__deregister_frame_info
__getauxval
__pthread_key_create
__register_frame_info
bcmp
memmove
wcslen
END

uses_nothing_else() {
  functions_of "$1" >"$scratch/used"
  [ -s "$scratch/used" ] || return 1
  functions_of "$built" | sort -u - "$scratch/added" | comm -13 - "$scratch/used" >"$scratch/more"
  cat "$scratch/more"
  [ ! -s "$scratch/more" ]
}

exports_of() {
  node -p 'const { types, ...rest } = require(process.argv[1]);
    const list = (object) => Object.keys(object).sort().map((name) => `${name}: ${typeof object[name]}`);
    [...list(rest), ...list(types), rest.version].join("\n")' "$1"
}

has_the_same_exports() {
  exports_of "$built" >"$scratch/exports"
  exports_of "$1" | diff "$scratch/exports" -
}

# The package koffi is missing, so the programs can load no other add-on.
demo_runs() {
  cp -R dist "$scratch/x64/dist"
  rm -r "$scratch/x64/node_modules/koffi"
  cp "$built" "$scratch/x64/$x64"
  sh scripts/demo.sh "$scratch/x64/dist/bin" >"$scratch/demo.log" 2>&1 || { cat "$scratch/demo.log"; return 1; }
}

passed=0 failed=0
# check TITLE COMMAND...
check() {
  title=$1
  shift
  if "$@"; then
    passed=$((passed + 1)) && echo "ok: $title"
  else
    failed=$((failed + 1)) && echo "not ok: $title"
  fi
}

install_for x64
install_for arm64
build_source
built=$scratch/source/build/koffi/linux_x64/koffi.node
x64=node_modules/@koromix/koffi-linux-x64/linux_x64/koffi.node
for file in "$scratch"/x64/node_modules/@koromix/*/*/koffi.node "$scratch"/arm64/node_modules/@koromix/*/*/koffi.node
do
  check "$(basename "$(dirname "$file")") uses no function that its source does not" uses_nothing_else "$file"
done
check 'linux_x64 has the exports of its source' has_the_same_exports "$scratch/x64/$x64"
check 'the demo runs with the add-on built from the source' demo_runs
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
