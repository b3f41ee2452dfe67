#!/bin/sh
# Prints the certificate of opkssh for the key that opkssh has made; it cannot certify another key.
# "opkssh login --auto-refresh --private-key-file=FILE" keeps it fresh in FILE-cert.pub, or in FILE.pub in
# older versions.
set -eu
file=${OPKSSH_KEY:-$HOME/.ssh/id_ecdsa}
print=$(ssh-keygen -lf - | cut -d ' ' -f 2)
for certificate in "$file-cert.pub" "$file.pub"; do
  if [ -e "$certificate" ] && ssh-keygen -lf "$certificate" | grep -qF "$print"; then
    exec cat "$certificate"
  fi
done
echo "opkssh has no certificate for this key in $file-cert.pub" >&2
exit 1
