#!/bin/sh
# Measures this project's programs against the system's, after what it needs has been set up.
#
#   npm run bench                      all of it
#   npm run bench -- --quick           a short run, to see that it runs
#   npm run bench -- --only rsa,list   some of it; --help tells the names
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh openssh-client softhsm2 opensc
exec node --import=tsx bench/main.ts "$@"
