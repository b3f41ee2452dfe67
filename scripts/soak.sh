#!/bin/sh
# Keeps an agent under load: clients sign, add, remove, lock and unlock, cards are loaded, pulled out
# and unloaded, a library crashes. Every signature is verified; at the end the agent has the
# descriptors, processes and memory that it had.
#
#   npm run soak                     half an hour
#   npm run soak -- --minutes 2      so many minutes
#
# The last line counts what was checked.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh openssh-client gcc softhsm2 opensc pcscd vsmartcard-vpcd ykcs11
exec node --import=tsx fixtures/soak/main.ts "$@"
