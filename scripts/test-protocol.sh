#!/bin/sh
# Compares the agents, message by message: sequences of requests by chance, to the system's ssh-agent
# and to this project's, whose answers have to mean the same. What may differ is in
# fixtures/protocol/allowed.ts, each with its reason.
#
#   npm run test:protocol                          20,000 requests, from a seed by chance
#   npm run test:protocol -- --requests 1000000    so many of them
#   npm run test:protocol -- --seed 42             from a seed that was printed before
#
# The system's agent is that of OpenSSH 9.2, as Debian 12 has it. The last line counts the requests:
# of each sequence whose answers differ, the shortest that shows it is printed, and one has failed.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh openssh-client gcc
exec node --import=tsx fixtures/protocol/main.ts "$@"
