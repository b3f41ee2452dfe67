# Read by scripts that start ssh-add and ssh-agent: takes "--programs FOLDER" out of their arguments. The
# programs of that folder, such as a release's bin, are then tested in place of those in dist/bin.
# fixtures/programs.ts reads the variable.
words=$#
while [ "$words" -gt 0 ]; do
  word=$1
  shift
  words=$((words - 1))
  case $word in
  --programs)
    if [ ! -x "${1-}/ssh-add" ] || [ ! -x "${1-}/ssh-agent" ]; then
      echo "--programs: there are no ssh-add and ssh-agent in the folder ${1:-of no name}" >&2
      exit 1
    fi
    CARDAGENT_PROGRAMS=$(cd "$1" && pwd -P)
    export CARDAGENT_PROGRAMS
    shift
    words=$((words - 1))
    ;;
  *) set -- "$@" "$word" ;;
  esac
done
