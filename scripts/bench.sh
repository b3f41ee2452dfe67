#!/bin/sh
# Compares the speed and memory of this project's programs with the system's.
#
#   npm run bench                      everything
#   npm run bench -- --quick           a short run, to check the benchmark itself
#   npm run bench -- --only rsa,list   some measurements; --help lists the names
#   npm run bench -- --programs DIR    with this project's programs of a folder, such as a release's
set -eu
cd "$(dirname "$0")/.."
. scripts/programs.sh
sh scripts/setup.sh openssh-client softhsm2 opensc
exec node --import=tsx bench/main.ts "$@"
