#!/bin/sh
# Tests the Debian package of "npm run release" in a root folder of Debian 12 that has neither Node.js nor a
# compiler: installs it beside OpenSSH's programs, runs the demo, removes it, and checks that nothing is
# left. It needs root, for chroot(8), and downloads that root folder from Debian's mirror.
#
#   npm run test:release
#   npm run test:release -- --root FOLDER   with an existing root folder, such as one of mmdebstrap
#
# The last line counts the checks: "N passed, N failed, N skipped".
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" -ne 0 ]; then
  echo 'This test needs root, for chroot.' >&2
  exit 1
fi
sh scripts/setup.sh mmdebstrap
set -- "$@" ''
package=$(ls release/cardagent_*_amd64.deb)
work=$(mktemp -d /tmp/ca-release-XXXXXX)
root=$work/root
clean_up() {
  status=$?
  trap - EXIT
  rm -rf --one-file-system "$work"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The system that the package is for, with what the demo needs and what the package depends on.
if [ "$1" = --root ]; then
  cp -a "$2" "$root"
else
  depends=$(dpkg-deb -f "$package" Depends | sed 's/([^)]*)//g; s/ //g')
  mmdebstrap --quiet --variant=minbase --include="softhsm2,openssh-server,opensc,$depends" \
    bookworm "$root"
fi
mkdir -p "$root/test/scripts"
cp "$package" "$root/test/cardagent.deb"
cp scripts/demo.sh "$root/test/scripts/"
cp scripts/release/test-in-root.sh "$root/test/"

# Its own mounts and processes, which end with it.
unshare --mount --pid --fork --kill-child sh -c '
  mount -t proc proc "$1/proc"
  mount --bind /dev "$1/dev"
  exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root chroot "$1" sh /test/test-in-root.sh
' sh "$root"
