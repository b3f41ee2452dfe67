#!/bin/sh
# Renews a certificate with ssh-keygen. The CA's private key is in another agent, whose socket is
# CA_AUTH_SOCK: that of a token, of a machine that is reached by ssh -R, or one with confirmation.
set -eu
: "${CA_AUTH_SOCK:?the socket of the agent with the key of the CA}"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
cat >"$folder/key.pub"
SSH_AUTH_SOCK=$CA_AUTH_SOCK ssh-keygen -q -U -s "${CA_KEY:-$HOME/.ssh/ca.pub}" \
  -I "${CA_KEY_ID:-$(id -un)}" -n "${CA_PRINCIPALS:-$(id -un)}" -V "${CA_VALIDITY:-+1h}" \
  "$folder/key.pub" >&2
cat "$folder/key-cert.pub"
