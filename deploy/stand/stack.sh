#!/usr/bin/env bash
# Penstock as a cluster on this machine: real Kafka, PostgreSQL and Redis, and every role in processes of its own.
#
#   stack.sh up DIR           start it all, with what was kept in DIR; say what to try
#   stack.sh start DIR NAME   start one process again, where it was
#   stack.sh stop DIR NAME    end it in an orderly way, and wait until it has
#   stack.sh kill DIR NAME    kill -9
#   stack.sh down DIR         stop it all; the data stays
#
# BROKERS=3 for a Kafka that stands the loss of one. EXTRA is added to every configuration. With PARENT=PID, everything ends
# and DIR is removed once that process is gone. METASTORE, CACHE and WAREHOUSE are addresses that the roles are told in the place of the real ones, as of proxies.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/deploy/stand
. "$here/alive.sh"
penstock=${PENSTOCK:-$root/target/release/penstock}
usage() { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }

names=(warehouse admin-1 ingest-1 ingest-2 pipeline-1 pipeline-2 pipeline-3 query-1 query-2 metrics-1 gateway-1 gateway-2)

taken=' '
free_address() { # into $address: below the ephemeral ports, so that no client socket takes it between two lives of a process
  local port=$((20000 + (RANDOM * 32768 + RANDOM) % 6000))
  if [[ $taken == *" $port "* ]] || (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then free_address; return; fi
  taken+="$port "
  address=127.0.0.1:$port
}

secret() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

configure() { # BOOTSTRAP POSTGRES REDIS
  local name role address warehouse password
  declare -A listen mesh ops upstreams
  free_address; warehouse=$address
  password=$(secret)
  mkdir -p "$dir/warehouse"
  (umask 077 && echo "$password" > "$dir/warehouse/access.key")
  "$penstock" certs --dir "$dir/certs" > /dev/null
  for name in "${names[@]}"; do
    role=${name%-*}
    free_address; listen[$name]=$address
    free_address; mesh[$name]=$address
    free_address; ops[$name]=$address
    upstreams[$role]+="${upstreams[$role]:+,}${mesh[$name]}"
  done
  umask 077
  for name in "${names[@]}"; do
    role=${name%-*}
    mkdir -p "$dir/$name"
    echo "${ops[$name]}" > "$dir/$name/ops"
    if [ "$role" = warehouse ]; then
      cat > "$dir/$name/penstock.toml" <<CONFIG
roles = ["warehouse"]
data = "$dir/$name"
ops_listen = "${ops[$name]}"
warehouse = "embedded:$dir/warehouse"
warehouse_listen = "$warehouse"
CONFIG
    else
      cat > "$dir/$name/penstock.toml" <<CONFIG
roles = ["$role"]
data = "$dir/$name"
listen = "${listen[$name]}"
mesh_listen = "${mesh[$name]}"
ops_listen = "${ops[$name]}"
log = "kafka://$1/events"
log_partitions = 8
metastore = "${METASTORE:-$2}"
cache = "${CACHE:-$3}"
warehouse = "${WAREHOUSE:-http://$warehouse}"
warehouse_password = "$password"

[upstreams]
ingest = "${upstreams[ingest]}"
query = "${upstreams[query]}"
metrics = "${upstreams[metrics]}"
admin = "${upstreams[admin]}"

[pipeline]
# Three workers and their warehouse share one machine: when it is slow, larger blocks help it more than fresher ones their readers.
block_interval_busy_ms = 4000

[mesh_tls]
authority = "$dir/certs/authority.pem"
certificate = "$dir/certs/$role.pem"
key = "$dir/certs/$role.key"
CONFIG
    fi
    if [ -n "${EXTRA:-}" ]; then echo "$EXTRA" >> "$dir/$name/penstock.toml"; fi
  done
  echo "${listen[gateway-1]} ${listen[gateway-2]}" > "$dir/gateways"
}

launch() { # NAME
  local demo=()
  if [ "${1%-*}" = admin ]; then demo=(--demo); fi
  wc -l 2>/dev/null < "$dir/$1/log" > "$dir/$1/lines" || echo 0 > "$dir/$1/lines"
  setsid "$penstock" serve --config "$dir/$1/penstock.toml" "${demo[@]}" </dev/null >"$dir/$1/out" 2>>"$dir/$1/log" &
  echo $! > "$dir/$1/pid"
}

ready() { # NAME: an address that answers 200 to /readyz
  local status
  exec 3<>"/dev/tcp/${1%:*}/${1#*:}" || return 1
  printf 'GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n' >&3
  read -r _ status _ <&3 || true
  exec 3>&- 3<&-
  [ "$status" = 200 ]
} 2>/dev/null

await() { # NAME
  local turn ended=''
  for ((turn = 0; turn < 1200; turn++)); do
    if (ready "$(cat "$dir/$1/ops")"); then return; fi
    alive "$dir/$1/pid" || { ended=' and has ended'; break; }
    sleep 0.1
  done
  echo "$1 is not ready${ended:-}. What this life of it logged:" >&2
  tail -n +$(($(cat "$dir/$1/lines") + 1)) "$dir/$1/log" | tail -n 30 >&2
  exit 1
}

gone() { # NAME
  local turn
  for ((turn = 0; turn < 600; turn++)); do alive "$dir/$1/pid" || return 0; sleep 0.1; done
  return 1
}

down() { # callers before those they call, the warehouse last
  local group name
  for group in 'gateway-1 gateway-2' 'metrics-1 query-1 query-2 ingest-1 ingest-2 admin-1' 'pipeline-1 pipeline-2 pipeline-3' warehouse; do
    for name in $group; do if alive "$dir/$name/pid"; then kill "$(cat "$dir/$name/pid")"; fi; done
    for name in $group; do gone "$name" || kill -9 "$(cat "$dir/$name/pid")"; done
  done
  "$here/kafka.sh" down "$dir/kafka"
  "$here/redis.sh" down "$dir/redis"
  "$here/postgres.sh" down "$dir/postgres"
}

command=${1:-} dir=${2:-} name=${3:-}
[ -n "$dir" ] || usage
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
case "$command" in
  up)
    if [ -n "${PARENT:-}" ]; then
      # Whatever ends the caller, by its group too, leaves the one that cleans up.
      ( trap '' HUP INT TERM
        while kill -0 "$PARENT" 2>/dev/null; do sleep 0.5; done
        for pid in "$dir"/*/pid; do kill -9 "$(cat "$pid")" || true; done
        "$here/kafka.sh" down "$dir/kafka"; "$here/redis.sh" down "$dir/redis"; "$here/postgres.sh" down "$dir/postgres"
        rm -rf "$dir" ) </dev/null >/dev/null 2>&1 &
    fi
    bootstrap=$("$here/kafka.sh" up "$dir/kafka" "${BROKERS:-1}")
    postgres=$("$here/postgres.sh" up "$dir/postgres")
    redis=$("$here/redis.sh" up "$dir/redis")
    [ -f "$dir/gateways" ] || configure "$bootstrap" "$postgres" "$redis"
    for name in "${names[@]}"; do alive "$dir/$name/pid" || launch "$name"; done
    for name in "${names[@]}"; do await "$name"; done
    read -r first second < "$dir/gateways"
    key="$dir/admin-1/demo.key"
    cat <<TEXT

Penstock runs as ${#names[@]} processes on Kafka, PostgreSQL and Redis. Its gateways: http://$first and http://$second
Logs, configurations and certificates: $dir/NAME/{log,penstock.toml}, $dir/certs

curl http://$first/v1/events -H "authorization: Bearer \$(cat $key)" -d '{"app_id": "xyz123", "event_type": "purchase", "user_id": "u1", "properties": {"purchase_amount": 12.5}}'
curl http://$second/v1/sql -H "authorization: Bearer \$(cat $key)" -d '{"sql": "SELECT event_type, COUNT(*) AS events FROM events WHERE app_id = '"'xyz123'"' GROUP BY event_type"}'
TEXT
    ;;
  start)
    [ -f "$dir/$name/penstock.toml" ] || usage
    alive "$dir/$name/pid" || launch "$name"
    await "$name"
    ;;
  stop | kill)
    [ -f "$dir/$name/pid" ] || usage
    case $command in stop) kill "$(cat "$dir/$name/pid")" ;; kill) kill -9 "$(cat "$dir/$name/pid")" ;; esac
    gone "$name"
    ;;
  down) down ;;
  *) usage ;;
esac
