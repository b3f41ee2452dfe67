#!/bin/sh
# Renews a certificate of Teleport for a key in a PIV slot of a YubiKey (Hardware Key Support): tsh makes
# a new key at each login otherwise. tsh asks the user, and only once the old certificate has expired.
# TELEPORT_PROXY and TELEPORT_PIV_SLOT are as for tsh.
set -eu
: "${TELEPORT_PROXY:?the address of the proxy}"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
cat >"$folder/key.pub"
tsh login --proxy="$TELEPORT_PROXY" >&2
print=$(ssh-keygen -lf "$folder/key.pub" | cut -d ' ' -f 2)
for certificate in "${TELEPORT_HOME:-$HOME/.tsh}"/keys/*/*-ssh/*-cert.pub; do
  if ssh-keygen -lf "$certificate" | grep -qF "$print"; then exec cat "$certificate"; fi
done
echo 'tsh has no certificate for this key' >&2
exit 1
