# Completion of ssh-agent for fish: options, and commands to run with an agent.

# The words before the cursor from the command on, which is the first that is neither an option nor
# an option's argument.
function __ssh_agent_command
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set --erase words[1]
    while set --query words[1]
        switch $words[1]
            case --
                set --erase words[1]
                break
            case '-*a' '-*E' '-*O' '-*P' '-*t'
                set --erase words[1]
                set --query words[1]; and set --erase words[1]
            case '-*'
                set --erase words[1]
            case '*'
                break
        end
    end
    string join \n -- $words
end

function __ssh_agent_complete_command
    set -l words (__ssh_agent_command | string escape)
    set --append words (commandline --current-token --cut-at-cursor)
    complete --do-complete "$words"
end

set -l option complete -c ssh-agent -n 'not __ssh_agent_command | string length --quiet'
$option -s a -r -F -d 'Socket path'
$option -s c -d 'Print commands for csh'
$option -s D -d 'Stay in the foreground'
$option -s d -d 'Stay in the foreground and log'
$option -s E -x -a 'sha256 md5' -d 'Hash of fingerprints'
$option -s k -d 'Kill the agent'
$option -s O -x -a 'allow-remote-pkcs11 card-timeout= certificate-grace= certificates= idle-release= keep-ended-certificates no-restrict-websafe pin-cache= renew= renew-all upstream= websafe-allow=' -d Setting
$option -s P -x -d 'Libraries that may be loaded'
$option -s s -d 'Print commands for sh'
$option -s T -d 'Create the socket in the temporary folder'
$option -s t -x -d 'Default lifetime of identities'
$option -s U -d 'Do not remove stale sockets'
$option -s u -d 'Remove stale sockets'
$option -s V -d 'Print the version'
complete -c ssh-agent -f -a '(__ssh_agent_complete_command)'
