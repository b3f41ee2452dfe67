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
      BUN_JSC_useConcurrentJIT=0 BUN_JSC_useRegExpJIT=0 BUN_JSC_useConcurrentGC=0 "$lib/list/ssh-add" "$1"
    ;;
esac
case $(ulimit -n) in
  ?|1?|2?) echo "ssh-add: too few files may be open at once; try: ulimit -n 64" >&2; exit 1 ;;
esac
unset NODE_EXTRA_CA_CERTS NODE_DEBUG NODE_DEBUG_NATIVE NODE_V8_COVERAGE
exec "$lib/ssh-add" "$@"
