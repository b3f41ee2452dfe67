#!/bin/sh
# Renews a certificate with the SSH secrets engine of HashiCorp Vault or, without its program, of OpenBao.
# VAULT_ADDR or BAO_ADDR, and the token of "vault login" or "bao login", are the agent's user's.
set -eu
: "${VAULT_SSH_ROLE:?the role that signs}"
program=$(command -v vault || echo bao)
exec "$program" write -field=signed_key "${VAULT_SSH_MOUNT:-ssh-client-signer}/sign/$VAULT_SSH_ROLE" \
  public_key=- valid_principals="${VAULT_SSH_PRINCIPALS:-$(id -un)}"
