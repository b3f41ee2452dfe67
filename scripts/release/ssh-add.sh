#!/bin/sh
# ssh-add: by the executable that starts fastest if it can do it, else by the one of Node.js.
unset NODE_EXTRA_CA_CERTS NODE_DEBUG NODE_DEBUG_NATIVE NODE_V8_COVERAGE
case $(ulimit -n) in
  ?|1?|2?) echo "ssh-add: too few files may be open at once; try: ulimit -n 64" >&2; exit 1 ;;
esac
program=$0
if [ -L "$program" ]; then program=$(readlink -f "$program"); fi
case $program in
  */*) lib=${program%/*}/../lib ;;
  *) lib=../lib ;;
esac
case $#$1 in
  # Lists only: it reads no secret. It gets no other variable, since some control its runtime. It prints
  # nothing and ends with 125 if something is not as usual; by SIGILL, on a processor without AVX2.
  1-l|1-L)
    /usr/bin/env -i "SSH_AUTH_SOCK=$SSH_AUTH_SOCK" "$lib/list/ssh-add" "$1"
    status=$?
    case $status in
      125|132) ;;
      *) exit "$status" ;;
    esac
    ;;
esac
exec "$lib/ssh-add" "$@"
