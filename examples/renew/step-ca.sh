#!/bin/sh
# Renews a certificate with step-ca. With an OIDC provisioner, step opens the browser; with a JWK
# provisioner it needs no user if STEP_PASSWORD_FILE names the file with the provisioner's password.
set -eu
: "${STEP_KEY_ID:?the identity, such as alice@example.com}"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
cat >"$folder/key.pub"
step ssh certificate --sign --force \
  ${STEP_PROVISIONER:+"--provisioner=$STEP_PROVISIONER"} \
  ${STEP_PASSWORD_FILE:+"--provisioner-password-file=$STEP_PASSWORD_FILE"} \
  "$STEP_KEY_ID" "$folder/key.pub" >&2
cat "$folder/key-cert.pub"
