#!/bin/sh
# Prepares this machine to build, test and demonstrate the project.
#
#   sh scripts/setup.sh [debian-package]...
#
# If necessary, it installs those of the named Debian packages whose programs are missing, installs the
# npm packages of package-lock.json, and builds dist/. Only Debian packages need root, or sudo. Without
# apt-get, it lists the missing packages and fails.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }

fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

# ---- missing packages ----------------------------------------------------------------------------

# The programs that show that a Debian package, or a replacement of it, is installed.
programs_of() {
  case $1 in
    openssh-client) echo ssh ssh-add ssh-agent ssh-keygen ssh-keyscan ;;
    openssh-server) echo sshd ;;
    openssh-tests) echo /usr/lib/openssh/regress/run-tests ;;
    softhsm2) echo softhsm2-util ;;
    opensc) echo pkcs11-tool ;;
    bsdutils) echo script ;;
    putty) echo pageant ;;
    putty-tools) echo plink psftp puttygen ;;
    dropbear-bin) echo dbclient ;;
    gnome-keyring) echo gnome-keyring-daemon ;;
    dbus-daemon) echo dbus-daemon dbus-run-session ;;
    libnss3-tools) echo certutil ;;
    opencryptoki) echo pkcsslotd ;;
    *) echo "$1" ;;
  esac
}

# The library that shows it, for packages without a program.
library_of() {
  case $1 in
    ykcs11) echo libykcs11.so ;;
    vsmartcard-vpcd) echo pcsc/drivers/serial/libifdvpcd.so ;;
    p11-kit-modules) echo p11-kit-proxy.so ;;
    libtpm2-pkcs11-1) echo libtpm2_pkcs11.so.1 ;;
  esac
}

has_library() {
  for folder in /usr/lib /usr/lib64 /usr/lib/*-linux-gnu /usr/local/lib; do
    if [ -e "$folder/$1" ]; then return 0; fi
  done
  return 1
}

# Other users' PATH often lacks the folders of administrators' programs.
has_program() {
  (PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin && command -v "$1") >/dev/null 2>&1
}

# Whether the system's Python finds a module.
has_python_module() {
  PATH=/usr/bin:$PATH python3 -c 'import sys, importlib.util as util
sys.exit(util.find_spec(sys.argv[1]) is None)' "$1" 2>/dev/null
}

# The missing ones of the given Debian packages.
missing_of() {
  for package in "$@"; do
    case $package in
      python3-*)
        has_python_module "${package#python3-}" || echo "$package"
        continue
        ;;
      libnss-wrapper)
        [ -z "$(LD_PRELOAD=libnss_wrapper.so sh -c : 2>&1)" ] || echo "$package"
        continue
        ;;
    esac
    library=$(library_of "$package")
    if [ -n "$library" ]; then
      has_library "$library" || echo "$package"
      continue
    fi
    for program in $(programs_of "$package"); do
      if ! has_program "$program"; then
        echo "$package"
        break
      fi
    done
  done
}

check_node() {
  has_program node || fail 'Node.js is missing: get version 20.19 or newer from https://nodejs.org'
  node -e 'const [major, minor] = process.versions.node.split(".").map(Number);
    process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1);' ||
    fail "Node.js is $(node -v), which is too old: get version 20.19 or newer from https://nodejs.org"
  has_program npm || fail 'npm is missing: it comes with Node.js, on Debian with the package npm'
}

# npm writes this file after an installation.
npm_packages_are_current() {
  [ -e node_modules/.package-lock.json ] &&
    [ -z "$(find package-lock.json -newer node_modules/.package-lock.json)" ]
}

dist_is_current() {
  for made in bin/ssh-add bin/ssh-agent lib/pkcs11-child.js index.js; do
    [ -e "dist/$made" ] || return 1
  done
  [ -z "$(find cli agent openssh protocol scripts/build.mjs package.json tsconfig.json tsconfig.build.json \
    -type f ! -name '*.test.ts' -newer dist/bin/ssh-add)" ]
}

# ---- Debian packages -----------------------------------------------------------------------------

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -- "$@"; fi
}

# Runs apt-get; its output goes to a log, which is shown only if it fails.
apt() {
  as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
    apt-get --quiet --yes -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1 </dev/null
}

# Debian starts installed services unless this program forbids it. The tests start their own sshd.
guard=/usr/sbin/policy-rc.d
guarded=
forbid_services() {
  if [ ! -e "$guard" ]; then
    guarded=yes
    as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$guard && chmod 755 $guard"
  fi
}

# The units that start in each user's session, such as the agents of desktops.
user_units() {
  systemctl --global list-unit-files --state=enabled --plain --no-legend 2>/dev/null |
    cut -d' ' -f1 || :
}

clean_up() {
  status=$?
  trap - EXIT
  if [ -n "$guarded" ]; then as_root rm -f "$guard" || :; fi
  rm -f "$log"
  exit "$status"
}

install_debian_packages() {
  say "installing Debian packages, which needs root: $*"
  if [ "$(id -u)" -ne 0 ] && ! has_program sudo; then
    fail "you are not root, and there is no sudo; run as root: apt-get install $*"
  fi
  as_root true || fail "sudo failed; run as root: apt-get install $*"
  log=$(mktemp)
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  apt update || say 'apt-get update failed; trying with what it knew before'
  forbid_services
  units_before=$(user_units | tr '\n' ' ')
  apt install --no-install-recommends "$@" || {
    cat "$log" >&2
    fail "apt-get could not install: $*"
  }
  # Otherwise, the services would start at the next boot.
  case " $* " in
    *' openssh-server '*) as_root systemctl --quiet disable ssh >/dev/null 2>&1 || : ;;
  esac
  case " $* " in
    *' pcscd '*) as_root systemctl --quiet disable pcscd.socket pcscd.service >/dev/null 2>&1 || : ;;
  esac
  case " $* " in
    *' opencryptoki '*) as_root systemctl --quiet disable pkcsslotd >/dev/null 2>&1 || : ;;
  esac
  # With this file, every pcscd of the system would listen on all interfaces.
  case " $* " in
    *' vsmartcard-vpcd '*) as_root sed -i 's/^[^#]/#&/' /etc/reader.conf.d/vpcd || : ;;
  esac
  for unit in $(user_units); do
    case " $units_before " in
      *" $unit "*) ;;
      *) as_root systemctl --quiet --global disable "$unit" >/dev/null 2>&1 || : ;;
    esac
  done
}

get_programs() {
  missing=$(missing_of "$@" | tr '\n' ' ')
  missing=${missing% }
  if [ -z "$missing" ]; then return; fi
  if ! has_program apt-get; then
    fail "missing on this system, by their Debian packages: $missing"
  fi
  # In a subshell, because of its traps; the words are separate packages.
  # shellcheck disable=SC2086
  (install_debian_packages $missing)
  missing=$(missing_of "$@" | tr '\n' ' ')
  if [ -n "$missing" ]; then fail "still missing after they were installed: $missing"; fi
}

# ---- npm packages and dist/ ----------------------------------------------------------------------

# Native packages are built with the headers of this Node.js, if it has them, so that npm need not
# download them.
install_npm_packages() {
  say 'installing npm packages'
  prefix=$(node -p 'require("path").resolve(process.execPath, "../..")')
  if [ -z "${npm_config_nodedir-}" ] && [ -e "$prefix/include/node/node_version.h" ]; then
    export npm_config_nodedir="$prefix"
  fi
  npm ci --no-audit --no-fund --no-update-notifier --loglevel=error </dev/null
  touch node_modules/.package-lock.json
}

check_node
if npm_packages_are_current; then
  get_programs "$@"
else
  get_programs "$@" python3 make g++
  install_npm_packages
fi
if ! dist_is_current; then
  say 'building'
  npm run --silent build
fi
