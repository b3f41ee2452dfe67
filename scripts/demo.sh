#!/bin/sh
# Demonstrates keys on a token and their certificates in an agent, with real programs.
#
# It makes a SoftHSM token, a CA and an sshd on the loopback interface in a temporary folder. The
# commands and their output are real. The exit status is 0 only if every step succeeds.
#
#   npm run demo                 with the programs in dist/
#   npm run demo -- /folder      with those of another folder, such as an installed package
set -eu
cd "$(dirname "$0")/.."
# A copy of this script may stand alone, as in a root folder without Node.js.
if [ -e scripts/setup.sh ]; then sh scripts/setup.sh openssh-client openssh-server softhsm2 opensc; fi

programs=${1:-$PWD/dist/bin}
folder=$(mktemp -d /tmp/ca-demo-XXXXXX)
output=$folder/output
sshd_pid=
unset SSH_AUTH_SOCK SSH_AGENT_PID DISPLAY WAYLAND_DISPLAY

clean_up() {
  status=$?
  trap - EXIT
  if [ -n "${SSH_AGENT_PID-}" ]; then kill "$SSH_AGENT_PID" 2>/dev/null || :; fi
  if [ -n "$sshd_pid" ]; then kill "$sshd_pid" 2>/dev/null || :; fi
  rm -rf "$folder"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then
  bold=$(printf '\033[1m') dim=$(printf '\033[2m') blue=$(printf '\033[34m')
  green=$(printf '\033[32m') red=$(printf '\033[31m') plain=$(printf '\033[0m')
else
  bold='' dim='' blue='' green='' red='' plain=''
fi

# ---- showing and checking ------------------------------------------------------------------------

title() { printf '\n%s%s%s%s\n' "$bold" "$blue" "$1" "$plain"; }

say() { printf '%s# %s%s\n' "$dim" "$1" "$plain"; }

fail() {
  printf '%sThe demonstration failed: %s%s\n' "$red" "$1" "$plain" >&2
  if [ -s sshd.log ]; then sed 's/^/sshd: /' sshd.log >&2; fi
  exit 1
}

# show STATUS COMMAND EXPECTED...: shows a command, runs it in this shell, shows its output, and checks
# its exit status and that its output contains each EXPECTED, and none of "!TEXT".
show() {
  expected_status=$1 command=$2
  shift 2
  printf '%s$ %s%s\n' "$bold" "$command" "$plain"
  status=0
  eval "$command" >"$output" 2>&1 </dev/null || status=$?
  cat "$output"
  if [ "$status" -ne "$expected_status" ]; then
    fail "exit status $status instead of $expected_status."
  fi
  for text in "$@"; do
    case $text in
      !*) if grep -qF -e "${text#!}" "$output"; then fail "it should not say \"${text#!}\"."; fi ;;
      *) grep -qF -e "$text" "$output" || fail "it should say \"$text\"." ;;
    esac
  done
}

# ---- the token, askpass and sshd -----------------------------------------------------------------

make_token() {
  mkdir tokens
  SOFTHSM2_CONF=$folder/softhsm2.conf
  export SOFTHSM2_CONF
  printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' \
    "$folder/tokens" >"$SOFTHSM2_CONF"
  for LIB in /usr/lib/softhsm/libsofthsm2.so /usr/lib64/pkcs11/libsofthsm2.so \
    /usr/local/lib/softhsm/libsofthsm2.so; do
    if [ -e "$LIB" ]; then break; fi
  done
  [ -e "$LIB" ] || fail 'there is no SoftHSM library.'
  softhsm2-util --init-token --free --label 'Demo card' --pin 271828 --so-pin 31415926 >/dev/null
  make_key 01 rsa:2048 'RSA key'
  make_key 02 EC:prime256v1 'ECDSA key'
  make_key 03 EC:edwards25519 'Ed25519 key'
}

make_key() {
  pkcs11-tool --module "$LIB" --login --pin 271828 --keypairgen \
    --id "$1" --key-type "$2" --label "$3" --usage-sign >key.log 2>&1 || fail "$(cat key.log)"
}

# There may be no terminal, so askpass enters the PIN.
make_askpass() {
  printf '#!/bin/sh\ncat "%s/pin"\n' "$folder" >askpass
  chmod 700 askpass
  SSH_ASKPASS=$folder/askpass SSH_ASKPASS_REQUIRE=force
  export SSH_ASKPASS SSH_ASKPASS_REQUIRE
  echo 271828 >pin
}

# Without PAM, sshd takes an account with a locked password for locked.
pam_is_needed() {
  [ "$(id -u)" -eq 0 ] && grep -q '^root:!' /etc/shadow
}

# Starts sshd at the port; fails if that is taken.
try_sshd() {
  {
    printf '%s\n' "ListenAddress 127.0.0.1:$port" "HostKey $folder/host_key" 'PidFile none' \
      "TrustedUserCAKeys $folder/ca.pub" 'AuthorizedKeysFile none' 'StrictModes no' \
      'PasswordAuthentication no' 'KbdInteractiveAuthentication no' 'ExposeAuthInfo yes'
    if pam_is_needed; then echo 'UsePAM yes'; fi
  } >sshd_config
  "$sshd" -D -e -f "$folder/sshd_config" 2>sshd.log &
  sshd_pid=$!
  tries=0
  until ssh-keyscan -t ed25519 -p "$port" 127.0.0.1 2>/dev/null | grep -qF "$(cut -d' ' -f2 host_key.pub)"; do
    tries=$((tries + 1))
    if [ "$tries" -gt 50 ] || ! kill -0 "$sshd_pid" 2>/dev/null; then return 1; fi
    sleep 0.1
  done
}

start_sshd() {
  ssh-keygen -q -t ed25519 -N '' -C 'CA' -f ca
  ssh-keygen -q -t ed25519 -N '' -C '' -f host_key
  if [ "$(id -u)" -eq 0 ]; then mkdir -p /run/sshd; fi
  sshd=$(command -v sshd || echo /usr/sbin/sshd)
  port=$((20000 + $$ % 10000))
  until try_sshd; do
    grep -qF 'Address already in use' sshd.log || fail 'sshd does not answer.'
    port=$((port + 1))
  done
  printf 'demo %s\n' "$(cut -d' ' -f1,2 host_key.pub)" >known_hosts
  printf '%s\n' 'Host first second' 'HostName 127.0.0.1' "Port $port" "User $(id -un)" \
    'HostKeyAlias demo' "UserKnownHostsFile $folder/known_hosts" 'GlobalKnownHostsFile none' \
    'IdentityFile none' 'BatchMode yes' 'LogLevel ERROR' >ssh_config
}

# ---- the demonstration ---------------------------------------------------------------------------

cd "$folder"
mkdir bin home
ln -s "$programs/ssh-add" "$programs/ssh-agent" bin/
HOME=$folder/home PATH=$folder/bin:$PATH
export HOME PATH
user=$(id -un)
make_token
make_askpass
start_sshd
ssh_at_first="ssh -F ssh_config first"

title 'An agent, and a token with three keys (of SoftHSM)'
show 0 'ssh-agent -V' 'cardagent '
show 0 'eval "$(ssh-agent)"' "Agent pid "
show 1 'ssh-add -l' 'The agent has no identities.'
show 0 "LIB=$LIB"
say 'An askpass program enters the PIN.'
show 0 'ssh-add -s $LIB' "Card added: $LIB"
show 0 'ssh-add -l' '(RSA)' '(ECDSA)' '(ED25519)'
show 0 'ssh-add --list-providers' 'Demo card'

title 'ssh-add -D unloads the token, so that it can be loaded again'
show 0 'ssh-add -D' 'Card removed: ' 'All identities removed.'
show 1 'ssh-add -l' 'The agent has no identities.'
show 0 'ssh-add -s $LIB' "Card added: $LIB"
show 0 'ssh-add -l' '(RSA)'

title 'A refusal has a reason'
echo 000000 >pin
say 'With a wrong PIN:'
show 1 'ssh-add -s $LIB' "Could not add card \"$LIB\": agent refused operation" 'reason: ' 'hint: '
show 1 'ssh-add -s /usr/lib/nothing.so' 'agent refused operation' 'reason: ' 'hint: '
echo 271828 >pin
say 'The loaded keys still work.'
show 0 'ssh-add -l' '(RSA)'

title 'A certificate for a key on the token'
say 'The server trusts only certificates of a CA.'
show 255 "$ssh_at_first whoami" 'Permission denied'
say 'The CA signs the key.'
show 0 'ssh-add -L | grep ssh-rsa >card.pub'
show 0 "ssh-keygen -q -s ca -I alice -n $user -z 1 -V +1h card.pub"
say 'Adding the certificate needs no PIN.'
show 0 'SSH_ASKPASS=false ssh-add --cert-for-card card-cert.pub' 'Certificate added: card-cert.pub (alice)'
show 0 'ssh-add -l' '(RSA)' '(RSA-CERT)' '(ECDSA)' '(ED25519)'
show 0 "$ssh_at_first"' '"'"'whoami; cut -d " " -f 1,2 $SSH_USER_AUTH'"'" \
  "$user" 'publickey ssh-rsa-cert-v01@openssh.com'

title 'The forwarded agent has the certificate, too'
show 0 "ssh -A -F ssh_config first ssh -F $folder/ssh_config second whoami" "$user"

title 'Renewing the certificate, without a PIN'
show 0 "ssh-keygen -q -s ca -I 'alice, renewed' -n $user -z 2 -V +8h card.pub"
show 0 'SSH_ASKPASS=false ssh-add --cert-for-card card-cert.pub' \
  'Certificate added: card-cert.pub (alice, renewed)'
show 0 'ssh-add -l | grep CERT' '(RSA-CERT)'
[ "$(wc -l <"$output")" -eq 1 ] || fail 'the old certificate is still there.'
show 0 "$ssh_at_first whoami" "$user"
say "The server's log:"
show 0 'grep -o "RSA-CERT .*" sshd.log | tail -n 1' 'ID alice, renewed (serial 2)'

title 'Loading the token with its certificate'
show 0 'ssh-add -q -D' '!identities'
show 0 'ssh-add -s $LIB --cert-for-card card-cert.pub' "Card added: $LIB"
show 0 'ssh-add -l' '(RSA)' '(RSA-CERT)'
show 0 "$ssh_at_first whoami" "$user"

title 'After -D, the agent is empty'
show 0 'ssh-add -D' 'Card removed: ' 'All identities removed.'
show 255 "$ssh_at_first whoami" 'Permission denied'
show 0 'ssh-agent -k' 'unset SSH_AUTH_SOCK'
unset SSH_AGENT_PID

printf '\n%sAll steps succeeded.%s\n' "$green" "$plain"
