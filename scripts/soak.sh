#!/bin/sh
# Keeps an agent under load: clients sign, add, remove, lock and unlock, tokens are loaded, removed from
# their reader and unloaded, a library crashes. Every signature is verified; at the end, the agent must
# have as many descriptors and processes and as much memory as before.
#
#   npm run soak                     half an hour
#   npm run soak -- --minutes 2      two minutes
#
# The last line counts the checks.
set -eu
cd "$(dirname "$0")/.."
. scripts/programs.sh
sh scripts/setup.sh openssh-client gcc softhsm2 opensc pcscd vsmartcard-vpcd ykcs11
exec node --import=tsx fixtures/soak/main.ts "$@"
