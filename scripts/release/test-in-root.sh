# Runs in the root folder that scripts/test-release.sh makes.
set -eu
passed=0 failed=0

# check NAME COMMAND...: a check passes if the command succeeds.
check() {
  name=$1
  shift
  if "$@" >/tmp/output 2>&1 </dev/null; then
    passed=$((passed + 1))
    echo "ok - $name"
  else
    failed=$((failed + 1))
    echo "not ok - $name"
    cat /tmp/output
  fi
}

# Each file outside dpkg's own folders, with its hash.
list_files() {
  find / -xdev \( -path /proc -o -path /dev -o -path /test -o -path /tmp -o -path /run -o -path /var/lib/dpkg \
    -o -path /var/log -o -path /var/cache \) -prune -o -type f -print0 | sort -z | xargs -0 sha256sum
  find / -xdev \( -path /proc -o -path /dev -o -path /test -o -path /tmp -o -path /run -o -path /var/lib/dpkg \
    -o -path /var/log -o -path /var/cache \) -prune -o ! -type f -print | sort
}

has_none() {
  for program in node npm bun gcc cc make; do
    if command -v "$program"; then return 1; fi
  done
}

# hostile LINE COMMAND...: in a folder, and an environment, that control Node.js and bun where they can, the
# command prints the line, and nothing of the folder was loaded.
hostile() (
  line=$1
  shift
  mkdir -p /tmp/hostile
  cd /tmp/hostile
  echo 'require("fs").writeFileSync("/tmp/hostile/loaded", "")' >code.cjs
  echo 'preload = ["/tmp/hostile/code.cjs"]' >bunfig.toml
  echo 'SSH_AUTH_SOCK=/tmp/hostile/socket' >.env
  echo '{ "type": "module", "bin": "./code.cjs" }' >package.json
  echo '{ "extends": "/tmp/hostile/none.json" }' >tsconfig.json
  cp bunfig.toml .bunfig.toml
  export HOME=/tmp/hostile XDG_CONFIG_HOME=/tmp/hostile BUN_BE_BUN=1 BUN_OPTIONS='--preload /tmp/hostile/code.cjs' \
    NODE_OPTIONS='--require /tmp/hostile/code.cjs' NODE_PATH=/tmp/hostile NODE_V8_COVERAGE=/tmp/hostile/coverage \
    NODE_DEBUG=net,module BUN_INSPECT=ws://127.0.0.1:9229/ BUN_INSPECT_PRELOAD=/tmp/hostile/code.cjs
  "$@" >/tmp/printed 2>&1 || true
  cat /tmp/printed
  grep -qx "$line" /tmp/printed && [ ! -e loaded ] && [ ! -e coverage ]
)

no_keys='The agent has no identities\.'
version='cardagent [0-9.]*'
refused='reason: There is no file "/none.so"\.'
# Loads no token, with an empty PIN from a program.
add_card() { SSH_ASKPASS=true SSH_ASKPASS_REQUIRE=force ssh-add -s /none.so; }
# The same without the variables for which it is left to Node.js.
add_card_by_bun() { unset BUN_BE_BUN BUN_OPTIONS BUN_INSPECT BUN_INSPECT_PRELOAD; add_card; }

check 'there is neither Node.js nor a compiler' has_none
list_files >/tmp/before
check 'it is installed' dpkg --install /test/cardagent.deb
check "OpenSSH's programs are as they were" dpkg --verify openssh-client
check "without another PATH, OpenSSH's programs are used" sh -c '[ "$(command -v ssh-add)" = /usr/bin/ssh-add ]'
check 'nothing is enabled' sh -c '! find /etc | grep cardagent'
PATH=/usr/lib/cardagent/bin:$PATH
if sh /test/scripts/demo.sh /usr/lib/cardagent/bin >/tmp/demo 2>&1; then
  check 'the demo' true
else
  cat /tmp/demo
  check 'the demo' false
fi
eval "$(ssh-agent)" >/dev/null
check 'listing is not affected by files and variables' hostile "$no_keys" ssh-add -l
check 'neither is loading a token' hostile "$refused" add_card
check 'nor loading it by bun' hostile "$refused" add_card_by_bun
check 'nor ssh-add' hostile "$version" ssh-add --version
check 'nor ssh-agent' hostile "$version" ssh-agent -V
check 'nor a command of ssh-agent' hostile "$no_keys" ssh-agent ssh-add -L
ssh-agent -k >/dev/null
rm -rf /root/.ssh
check 'it is removed' dpkg --purge cardagent
list_files >/tmp/after
check 'nothing is left' diff /tmp/before /tmp/after

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
