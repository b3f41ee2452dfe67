#!/bin/sh
# Renews a certificate of Teleport for a key in a PIV slot of a YubiKey (Hardware Key Support): tsh makes
# a new key at each login otherwise. tsh asks the user, and only once the old certificate has expired.
# TELEPORT_PROXY and TELEPORT_PIV_SLOT are as for tsh.
set -eu
: "${TELEPORT_PROXY:?the address of the proxy}"
print=$(ssh-keygen -lf - | cut -d ' ' -f 2)
tsh login --proxy="$TELEPORT_PROXY" >&2
# One for each cluster behind the proxy; the login has written the newest.
ls -t "${TELEPORT_HOME:-$HOME/.tsh}/keys/${TELEPORT_PROXY%%:*}"/*-ssh/*-cert.pub | {
  while IFS= read -r certificate; do
    if ssh-keygen -lf "$certificate" | grep -qF "$print"; then exec cat "$certificate"; fi
  done
  echo 'tsh has no certificate for this key' >&2
  exit 1
}
