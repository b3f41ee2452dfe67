#!/bin/sh
# ssh-add: by the executable that starts fastest if it can do it, else by the one of Node.js.
program=$0
if [ -L "$program" ]; then program=$(readlink -f "$program"); fi
case $program in
  */*) lib=${program%/*}/../lib ;;
  *) lib=../lib ;;
esac
case $#$1 in
  # Lists only: it reads no secret. It gets no other variable of the user's, since some control its runtime;
  # these keep it from preparing for a longer run.
  1-l|1-L)
    exec /usr/bin/env -i "SSH_AUTH_SOCK=$SSH_AUTH_SOCK" BUN_JSC_useBaselineJIT=0 BUN_JSC_useDFGJIT=0 \
      BUN_JSC_useConcurrentJIT=0 BUN_JSC_useRegExpJIT=0 BUN_JSC_useConcurrentGC=0 "$lib/quick/ssh-add" "$1"
    ;;
  # With the PIN from a program, which gets the user's environment. Variables that control the runtime, and
  # a terminal, which would show the progress, are left to the ssh-add of Node.js.
  2-s)
    if [ "$SSH_ASKPASS_REQUIRE" = force ] && [ ! -t 2 ]; then
      case $(export -p) in
        *' BUN_'* | *' JSC_'* | *' JavaScriptCore'* | *' Malloc'* | *' NODE_CHANNEL_FD'* | *' WTF_'* | *' WebKit'*) ;;
        *) exec "$lib/quick/ssh-add" "$@" ;;
      esac
    fi
    ;;
esac
case $(ulimit -n) in
  ?|1?|2?) echo "ssh-add: too few files may be open at once; try: ulimit -n 64" >&2; exit 1 ;;
esac
unset NODE_EXTRA_CA_CERTS NODE_DEBUG NODE_DEBUG_NATIVE NODE_V8_COVERAGE
exec "$lib/ssh-add" "$@"
