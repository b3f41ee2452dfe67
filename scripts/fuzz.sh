#!/bin/sh
# Sends damaged messages and files to all that reads them: the agent's socket, in this process and as
# a program; the messages of a library's process; key files, certificates, known_hosts, PKCS#11 URIs.
# A fault is a crash, no end, an internal failure, memory that grows, or something accepted that
# OpenSSH's ssh-add and ssh-keygen then fail on.
#
#   npm run fuzz                                  half a minute, from a seed by chance
#   npm run fuzz -- --minutes 60                  so many minutes, for all targets together
#   npm run fuzz -- --seed 42 certificate agent   from a seed, and these targets only
#
# What is found is made as short as possible and kept in fixtures/fuzz/inputs/, for the tests. The
# last line counts the targets.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh openssh-client putty-tools
exec node --import=tsx fixtures/fuzz/main.ts "$@"
