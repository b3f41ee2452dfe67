#!/bin/sh
# Compares this project's programs with the system's, side by side: the same command lines, on the
# same files, with either ssh-add on either ssh-agent. What may differ is in
# fixtures/differential/allowed.ts, each with its reason.
#
#   npm run test:differential                           all of it
#   npm run test:differential -- lifetimes askpass      scenarios whose names contain one of these
#   npm run test:differential -- --programs FOLDER      with the ssh-add and ssh-agent of a folder
#
# The system's programs are those of OpenSSH 9.2, as Debian 12 has them. The last line counts the
# command lines: each is passed when all pairs of programs answer as the system's own pair does.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh openssh-client softhsm2 opensc bsdutils libnss-wrapper
exec node --import=tsx fixtures/differential/main.ts "$@"
