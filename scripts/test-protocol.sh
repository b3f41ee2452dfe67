#!/bin/sh
# Compares this project's ssh-agent with the system's: random sequences of requests must get equivalent
# replies. fixtures/protocol/allowed.ts lists the allowed differences, with their reasons.
#
#   npm run test:protocol                          20,000 requests, with a random seed
#   npm run test:protocol -- --requests 1000000    a million requests
#   npm run test:protocol -- --seed 42             with the printed seed of an earlier run
#
# The system's agent must be that of OpenSSH 9.2, as in Debian 12. The last line counts the requests. A
# sequence with different replies is shortened and printed, and counts as one failed request.
set -eu
cd "$(dirname "$0")/.."
. scripts/programs.sh
sh scripts/setup.sh openssh-client gcc
exec node --import=tsx fixtures/protocol/main.ts "$@"
