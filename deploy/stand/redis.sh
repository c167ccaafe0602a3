#!/usr/bin/env bash
# A private Redis in DIR on a free loopback port. It keeps nothing on disk.
#
#   redis.sh up DIR     starts it and prints its URL; again: the same address
#   redis.sh down DIR   stops it
#   redis.sh hold DIR   up; then, when standard input ends, as it does when the caller dies: down, and DIR is deleted
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/alive.sh"
usage() { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# = 2 ] || usage

up() {
  local port
  if [ -f "$dir/url" ]; then
    port=$(sed 's|.*:||' "$dir/url")
    alive "$dir/pid" || start "$port" || { cat "$dir/redis.log" >&2; exit 1; }
  else
    od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$dir/password"
    # A port below those that the system gives to clients. If somebody has it, another one.
    for _ in $(seq 20); do
      port=$((29000 + RANDOM % 3000))
      if start "$port"; then
        echo "redis://:$(cat "$dir/password")@127.0.0.1:$port" >"$dir/url"
        break
      fi
    done
    [ -f "$dir/url" ] || { cat "$dir/redis.log" >&2; exit 1; }
  fi
  cat "$dir/url"
}

# Started when it says so in its log, or gone.
start() {
  local server
  server=$("$here/../tools/redis.sh")
  : >"$dir/redis.log"
  printf 'bind 127.0.0.1\nport %s\nrequirepass %s\nsave ""\nappendonly no\ndir "%s"\n' "$1" "$(cat "$dir/password")" "$dir" \
    >"$dir/redis.conf"
  setsid "$server" "$dir/redis.conf" >>"$dir/redis.log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  disown # its end is no news to this shell
  for _ in $(seq 200); do
    if grep -q "Ready to accept connections" "$dir/redis.log"; then return 0; fi
    alive "$dir/pid" || return 1
    sleep 0.05
  done
  return 1
}

down() {
  alive "$dir/pid" || return 0
  kill "$(cat "$dir/pid")"
  for _ in $(seq 200); do
    alive "$dir/pid" || return 0
    sleep 0.05
  done
  kill -9 "$(cat "$dir/pid")"
}

mkdir -p "$2"
dir=$(cd "$2" && pwd)
case "$1" in
  up) up ;;
  down) down ;;
  hold)
    trap '' HUP INT TERM # the end of standard input is the only end
    up
    cat >/dev/null
    down || true
    rm -rf "$dir"
    ;;
  *) usage ;;
esac
