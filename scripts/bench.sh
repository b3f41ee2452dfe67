#!/bin/sh
# Compares the speed and memory of this project's programs with the system's.
#
#   npm run bench                      everything
#   npm run bench -- --quick           a short run, to check the benchmark itself
#   npm run bench -- --only rsa,list   some measurements; --help lists the names
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh openssh-client softhsm2 opensc
exec node --import=tsx bench/main.ts "$@"
