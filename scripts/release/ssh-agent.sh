#!/bin/sh
# ssh-agent: starts an agent for a shell with one start of Node.js, where the program itself needs two,
# because Node.js cannot fork. Whatever is not as usual is left to the program.
program=$0
if [ -L "$program" ]; then program=$(readlink -f "$program"); fi
case $program in
  */*) agent=${program%/*}/../lib/ssh-agent ;;
  *) agent=../lib/ssh-agent ;;
esac
# Runs the program. A shell adds PWD, and passes on no variable with a name that it could not have itself,
# such as a function of bash. Those, and the ones that control Node.js, go along in hexadecimal; see
# agent/host/node-environment.ts.
run_agent() {
  grep -zaq '^PWD=' "/proc/$$/environ" || unset PWD
  CARDAGENT_VARIABLES=$(
    grep -zaE -e '^(NODE_|OPENSSL_CONF=)' -e '^[^=]*[^=A-Za-z0-9_]' -e '^[0-9]' "/proc/$$/environ" |
      od -An -v -tx1 | tr -d ' \n'
  )
  unset OPENSSL_CONF $(export -p | sed -n 's/^export \(NODE_[A-Za-z0-9_]*\).*/\1/p')
  [ -z "$CARDAGENT_VARIABLES" ] || export CARDAGENT_VARIABLES
  exec "$agent" "$@"
}

case $#$1 in
  0 | 1-c | 1-s) ;;
  *) run_agent "$@" ;;
esac
# Paths that a shell would have to quote.
case $HOME$TMPDIR in
  *[!A-Za-z0-9/._-]*) run_agent "$@" ;;
esac
# Variables that control Node.js.
case $(export -p) in
  *' NODE_'* | *' OPENSSL_CONF'*) run_agent "$@" ;;
esac
# Open files that this shell cannot close; it has its script as 10 or 255.
for descriptor in "/proc/$$/fd"/[1-9][0-9]*; do
  case ${descriptor##*/} in
    10 | 255 | *'*') ;;
    *) run_agent "$@" ;;
  esac
done

newline='
'
# The agent's process ID, and its reports, which end when it serves or has failed; see
# agent/start-report.ts.
reports=$(
  exec 3>&1 >/dev/null 2>&1 </dev/null 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
  setsid "$agent" "--serve=0,$PPID" &
  echo "$!" >&3
)
case $reports in
  *'{"type":"serving"}') ;;
  *) run_agent "$@" ;; # which tells why, since it fails, too
esac
pid=${reports%%"$newline"*}
socket=${reports##*'"givenPath":"'}
socket=${socket%%'"'*}
case ${1-$SHELL} in
  -c | *csh)
    text="setenv SSH_AUTH_SOCK $socket;${newline}setenv SSH_AGENT_PID $pid;"
    ;;
  *)
    text="SSH_AUTH_SOCK=$socket; export SSH_AUTH_SOCK;${newline}SSH_AGENT_PID=$pid; export SSH_AGENT_PID;"
    ;;
esac
trap '' PIPE
printf '%s\necho Agent pid %s;\n' "$text" "$pid" 2>/dev/null && exit
# Nobody knows of it.
kill "$pid"
run_agent "$@"
