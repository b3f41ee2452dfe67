#!/bin/sh
# Compares this project's programs with the system's: the same command lines, on the same files, with
# each ssh-add on each ssh-agent. fixtures/differential/allowed.ts lists the allowed differences, with
# their reasons.
#
#   npm run test:differential                           all scenarios
#   npm run test:differential -- lifetimes askpass      scenarios whose names contain one of these
#   npm run test:differential -- --programs FOLDER      with the ssh-add and ssh-agent of a folder
#
# The system's programs must be those of OpenSSH 9.2, as in Debian 12. The last line counts the command
# lines: one passes if all pairs of programs behave like the system's pair.
set -eu
cd "$(dirname "$0")/.."
. scripts/programs.sh
sh scripts/setup.sh openssh-client softhsm2 opensc bsdutils libnss-wrapper
exec node --import=tsx fixtures/differential/main.ts "$@"
