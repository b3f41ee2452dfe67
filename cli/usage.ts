/** The usage as OpenSSH 10 prints it, with the long options of this project after it. */

export const usage = `usage: ssh-add [-CcDdKkLlNqvXx] [-E fingerprint_hash] [-H hostkey_file]
               [-h destination_constraint] [-S provider] [-t life]
               [file ...]
       ssh-add -s pkcs11 [-Cv] [certificate ...]
       ssh-add -e pkcs11
       ssh-add -T pubkey ...
       ssh-add -Q
       ssh-add [-s pkcs11] --cert-for-card certificate
       ssh-add --list-providers
       ssh-add --json -L | -l | -Q | --list-providers
       ssh-add --help | --version`;
