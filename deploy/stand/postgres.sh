#!/usr/bin/env bash
# A private PostgreSQL in DIR on a free loopback port.
#
#   postgres.sh up DIR     starts it, makes it first if it isn't there, and prints its URL; again: the same data and address
#   postgres.sh down DIR   stops it
#   postgres.sh empty DIR  takes everything out of it
#   postgres.sh hold DIR   up; then, when standard input ends, as it does when the caller dies: down, and DIR is deleted
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/alive.sh"
usage() { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# = 2 ] || usage

# PostgreSQL doesn't run as root: there another user owns the data.
as=()
if [ "$(id -u)" = 0 ]; then
  user=$(id -un postgres 2>/dev/null || echo nobody)
  as=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --clear-groups --)
fi

up() {
  local programs port
  programs=$("$here/../tools/postgres.sh")
  mkdir -p "$dir"
  if [ ! -f "$dir/url" ]; then
    local password
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    rm -rf "$dir/data"
    install -m 700 -d "$dir/data"
    install -m 600 /dev/stdin "$dir/password" <<<"$password"
    if [ "$(id -u)" = 0 ]; then chown "$user" "$dir/data" "$dir/password"; chmod a+x "$dir"; fi
    "${as[@]}" test -w "$dir/data" || { echo "user $user can't reach $dir: name a directory that it can, as one in /tmp" >&2; exit 1; }
    "${as[@]}" "$programs/initdb" --pgdata="$dir/data" --username=postgres --pwfile="$dir/password" \
      --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-instructions >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; exit 1; }
    # A port below those that the system gives to clients. If somebody has it, another one.
    for _ in $(seq 20); do
      port=$((29000 + RANDOM % 3000))
      if start "$programs" "$port"; then
        echo "postgres://postgres:$password@127.0.0.1:$port/postgres" >"$dir/url"
        break
      fi
    done
    [ -f "$dir/url" ] || { cat "$dir/data/start.log" >&2; exit 1; }
  elif ! alive "$dir/pid"; then
    port=$(sed 's|.*:\([0-9]*\)/.*|\1|' "$dir/url")
    # After a crash the old server's processes take a moment to go.
    for _ in $(seq 50); do
      if start "$programs" "$port"; then cat "$dir/url"; return; fi
      sleep 0.2
    done
    cat "$dir/data/start.log" >&2
    exit 1
  fi
  cat "$dir/url"
}

start() {
  "${as[@]}" "$1/pg_ctl" --pgdata="$dir/data" --log="$dir/data/start.log" --silent --wait --timeout=60 \
    --options="-p $2 -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=300 -c shared_buffers=32MB" \
    start >/dev/null 2>&1 </dev/null && head -1 "$dir/data/postmaster.pid" >"$dir/pid"
}

down() {
  local programs
  programs=$("$here/../tools/postgres.sh")
  if alive "$dir/pid"; then "${as[@]}" "$programs/pg_ctl" --pgdata="$dir/data" --mode=fast --silent --wait stop; fi
}

empty() {
  local programs
  programs=$("$here/../tools/postgres.sh")
  "$programs/psql" --quiet --set=ON_ERROR_STOP=1 --dbname="$(cat "$dir/url")" \
    --command='SET client_min_messages = warning' --command='DROP SCHEMA public CASCADE' --command='CREATE SCHEMA public'
}

mkdir -p "$2"
dir=$(cd "$2" && pwd)
case "$1" in
  up) up ;;
  down) down ;;
  empty) empty ;;
  hold)
    trap '' HUP INT TERM # the end of standard input is the only end
    up
    cat >/dev/null
    down || true
    rm -rf "$dir"
    ;;
  *) usage ;;
esac
