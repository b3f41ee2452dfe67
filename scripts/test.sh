#!/bin/sh
# Runs the tests.
#
#   npm test                          all tests
#   npm test -- --tap                 all tests, in the Test Anything Protocol
#   npm test -- cli/options.test.ts   the tests of one file
#   npm test -- --programs FOLDER     with the ssh-add and ssh-agent of a folder, such as a release's
#
# Missing packages are installed first: on Debian and Ubuntu, as root or with sudo.
set -eu
cd "$(dirname "$0")/.."
. scripts/programs.sh

# The output of setup must not mix with that of --tap.
sh scripts/setup.sh gcc openssh-client openssh-server openssh-tests libnss-wrapper softhsm2 opensc openssl bsdutils git \
  putty putty-tools dropbear-bin python3-paramiko python3-asyncssh gpg-agent gnome-keyring dbus-daemon \
  csh tcsh zsh fish pcscd vsmartcard-vpcd ykcs11 yubico-piv-tool p11-kit p11-kit-modules swtpm \
  libtpm2-pkcs11-1 libnss3-tools opencryptoki >&2

exec node scripts/test-bundled.mjs "$@"
