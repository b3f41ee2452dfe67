# Completion of ssh-add for fish: options, identities that the agent holds for -d and -T, libraries
# that it has loaded for -e.

# Whether one of the options that are letters of the argument stands before the cursor.
function __ssh_add_has
    commandline --tokenize --cut-at-cursor --current-process |
        string match --quiet --regex -- "^-[A-Za-z]*[$argv[1]]"
end

# The ssh-add that is being typed.
function __ssh_add_run
    set -l program (commandline --tokenize --cut-at-cursor --current-process)[1]
    set program (string replace --regex '^~/' "$HOME/" -- $program)
    command $program $argv 2>/dev/null </dev/null
end

# The files of public keys that the agent holds, in the folder of the word or in ~/.ssh; without the
# .pub of plain keys unless the argument is "pub". Where there are none, any files.
function __ssh_add_identities
    set -l word (commandline --current-token --cut-at-cursor)
    set -l blobs (__ssh_add_run -L | string replace --regex '^\S+ (\S+).*' '$1')
    set -l folders (string match --regex '^.*/' -- $word; or echo '')
    test -z "$word"; and set --append folders '~/.ssh/'
    set -l found
    for folder in $folders
        set -l expanded (string replace --regex '^~/' "$HOME/" -- $folder)
        for file in $expanded*.pub
            set -l blob (head -n 1 $file 2>/dev/null | string replace --regex '^\S+ (\S+).*' '$1')
            contains -- "$blob" $blobs; or continue
            set -l name (basename $file)
            if test "$argv[1]" != pub; and not string match --quiet -- '*-cert.pub' $name
                set name (string replace --regex '\.pub$' '' -- $name)
            end
            set --append found $folder$name
        end
    end
    if set --query found[1]
        printf '%s\n' $found
    else
        __fish_complete_path $word
    end
end

# The libraries that the agent has loaded.
function __ssh_add_providers
    __ssh_add_run --list-providers | string match --regex --groups-only '^provider ((?:/|pkcs11:).*) \S+$'
end

complete -c ssh-add -s C -d 'Certificates only, not plain keys'
complete -c ssh-add -s c -d 'Require confirmation for each use'
complete -c ssh-add -s D -d 'Unload all libraries, remove all identities'
complete -c ssh-add -s d -d 'Remove keys instead of adding them'
complete -c ssh-add -s E -x -a 'sha256 md5' -d 'Hash of fingerprints'
complete -c ssh-add -s e -x -a '(__ssh_add_providers)' -d 'Unload a PKCS#11 library'
complete -c ssh-add -s H -r -F -d 'known_hosts file for -h'
complete -c ssh-add -s h -x -a '(__fish_print_hostnames)' -d 'Constrain keys to this destination'
complete -c ssh-add -s K -d 'Add the resident keys of a FIDO authenticator'
complete -c ssh-add -s k -d 'Plain keys only, not certificates'
complete -c ssh-add -s L -d 'List identities as public keys'
complete -c ssh-add -s l -d 'List identities by fingerprint'
complete -c ssh-add -s N -d 'No lifetime from a certificate\'s expiry'
complete -c ssh-add -s P -d 'Do not ask for the PIN of a token or authenticator'
complete -c ssh-add -s Q -d 'List the protocol extensions that the agent supports'
complete -c ssh-add -s q -d 'Be quiet after success'
complete -c ssh-add -s S -r -F -d 'Library for FIDO authenticators'
complete -c ssh-add -s s -r -F -d 'Load a PKCS#11 library'
complete -c ssh-add -s T -d 'Test whether the agent can sign'
complete -c ssh-add -s t -x -d 'Lifetime: seconds, or as in 1h30m'
complete -c ssh-add -s v -d 'Print debugging messages; with -l, what certificates say'
complete -c ssh-add -s X -d 'Unlock the agent'
complete -c ssh-add -s x -d 'Lock the agent'
complete -c ssh-add -l cert-for-card -r -F -d 'Certificate for a key on a token'
complete -c ssh-add -l help -d 'Print help'
complete -c ssh-add -l json -d 'Print JSON'
complete -c ssh-add -l list-providers -d 'List loaded PKCS#11 libraries'
complete -c ssh-add -l only -r -F -d 'Load only this key of a token'
complete -c ssh-add -l version -d 'Print the version'
complete -c ssh-add -l write-public-keys -x -a '(__fish_complete_directories)' -d 'Write public keys and certificates'
complete -c ssh-add -n '__ssh_add_has T' -f -a '(__ssh_add_identities pub)'
complete -c ssh-add -n '__ssh_add_has d; and not __ssh_add_has T' -f -a '(__ssh_add_identities)'
