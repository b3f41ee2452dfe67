#!/bin/sh
# Fuzzes all parsers: the agent's socket, in this process and as a program; the messages of the process
# that runs a PKCS#11 library; key files, certificates, known_hosts, PKCS#11 URIs. A fault is a crash, a
# hang, an internal failure, a memory leak, or accepted input that OpenSSH's ssh-add and ssh-keygen then
# fail on.
#
#   npm run fuzz                                  half a minute, with a random seed
#   npm run fuzz -- --minutes 60                  minutes for all targets together
#   npm run fuzz -- --seed 42 certificate agent   with a seed, and these targets only
#
# Inputs that cause a fault are minimized and stored in fixtures/fuzz/inputs/, for the tests. The last
# line counts the targets.
set -eu
cd "$(dirname "$0")/.."
. scripts/programs.sh
sh scripts/setup.sh openssh-client putty-tools
exec node --import=tsx fixtures/fuzz/main.ts "$@"
