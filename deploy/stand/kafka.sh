#!/usr/bin/env bash
# Apache Kafka on loopback, for tests and for the stand:
#
#   kafka.sh up DIR N      start brokers 1 to N on free ports, data under DIR; print the bootstrap servers
#   kafka.sh start DIR I   start broker I again, on the port that it had
#   kafka.sh kill DIR I    kill -9 broker I
#   kafka.sh down DIR      stop all of them; the data stays
#
# With SECURE=1, clients need TLS (trust DIR/authority.pem) and SASL PLAIN as user penstock (password in DIR/password).
# With PARENT=PID, the brokers end and DIR is removed as soon as that process is gone, however it went.
# Several brokers: topics get 3 replicas, of which 2 must have a record before it is acknowledged.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/deploy/stand/alive.sh"
cluster=cGVuc3RvY2stc3RhbmQtMQ # 16 bytes, base64url

usage() { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }

jvm=(java -Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$root/.tools/kafka/libs/*"
  -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info)

taken=' '
free_port() { # into $port: below the ephemeral ports, so that no client socket takes it between two lives of a broker
  port=$((26000 + (RANDOM * 32768 + RANDOM) % 3000))
  if [[ $taken == *" $port "* ]] || (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then free_port; fi
  taken+="$port "
}

secure() { # DIR: what clients are shown and asked
  local dir=$1
  (umask 077
    od -An -N16 -tx1 /dev/urandom | tr -d ' \n' > "$dir/password"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=penstock \
      -addext subjectAltName=IP:127.0.0.1 -keyout "$dir/key.pem" -out "$dir/authority.pem" 2> /dev/null
    cat "$dir/key.pem" "$dir/authority.pem" > "$dir/identity.pem")
}

configure() { # DIR N
  local dir=$1 n=$2 voters='' bootstrap='' protocol=PLAINTEXT replicas=$(($2 < 3 ? $2 : 3)) i port
  local -a client controller broker
  if [ -n "${SECURE:-}" ]; then protocol=SASL_SSL; secure "$dir"; fi
  for ((i = 1; i <= n; i++)); do
    free_port; client[i]=$port
    free_port; controller[i]=$port
    free_port; broker[i]=$port
    voters+="${voters:+,}$i@127.0.0.1:${controller[i]}" bootstrap+="${bootstrap:+,}127.0.0.1:${client[i]}"
  done
  for ((i = 1; i <= n; i++)); do
    mkdir -p "$dir/$i/data"
    cat > "$dir/$i/server.properties" <<CONFIG
process.roles=broker,controller
node.id=$i
controller.quorum.voters=$voters
controller.listener.names=CONTROLLER
listeners=CLIENT://127.0.0.1:${client[i]},BROKER://127.0.0.1:${broker[i]},CONTROLLER://127.0.0.1:${controller[i]}
listener.security.protocol.map=CLIENT:$protocol,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
log.dirs=$dir/$i/data
auto.create.topics.enable=false
default.replication.factor=$replicas
min.insync.replicas=$((replicas < 3 ? 1 : 2))
offsets.topic.replication.factor=$replicas
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=$replicas
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=100
group.min.session.timeout.ms=1000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
replica.lag.time.max.ms=5000
controlled.shutdown.enable=true
log.retention.check.interval.ms=5000
CONFIG
    if [ -n "${SECURE:-}" ]; then
      cat >> "$dir/$i/server.properties" <<CONFIG
ssl.keystore.type=PEM
ssl.keystore.location=$dir/identity.pem
listener.name.client.sasl.enabled.mechanisms=PLAIN
listener.name.client.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_penstock="$(cat "$dir/password")";
CONFIG
    fi
    # What `kafka-storage format` writes, without a Java machine for it.
    printf 'version=1\ncluster.id=%s\nnode.id=%s\ndirectory.id=%s\n' "$cluster" "$i" \
      "$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=')" > "$dir/$i/data/meta.properties"
  done
  echo "$bootstrap" > "$dir/bootstrap"
}

launch() { # DIR I
  local home=$1/$2
  if [ -f "$home/log" ]; then mv "$home/log" "$home/log.old"; fi
  setsid "${jvm[@]}" kafka.Kafka "$home/server.properties" </dev/null >"$home/log" 2>&1 &
  echo $! > "$home/pid"
}

await() { # DIR I
  local home=$1/$2 turn
  for ((turn = 0; turn < 1200; turn++)); do
    grep -q 'Kafka Server started' "$home/log" && return
    alive "$home/pid" || break
    sleep 0.1
  done
  echo "broker $2 did not start:" >&2
  tail -n 30 "$home/log" >&2
  exit 1
}

brokers() { find "$1" -mindepth 2 -maxdepth 2 -name server.properties -printf '%h\n' | sort; }

watch() { # DIR PARENT: outlives this script, and what ends the caller's group
  trap '' HUP INT TERM
  while kill -0 "$2" 2>/dev/null; do sleep 0.5; done
  for pid in "$1"/*/pid; do kill -9 "$(cat "$pid")" 2>/dev/null || true; done
  rm -rf "$1"
}

command=${1:-} dir=${2:-} number=${3:-}
[ -n "$dir" ] || usage
case "$command" in
  up)
    [[ "$number" =~ ^[1-9]$ ]] || usage
    "$root/deploy/tools/kafka.sh" >&2
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    if [ -n "${PARENT:-}" ]; then watch "$dir" "$PARENT" </dev/null >/dev/null 2>&1 & fi
    [ -f "$dir/bootstrap" ] || configure "$dir" "$number"
    for home in $(brokers "$dir"); do alive "$home/pid" || launch "$dir" "${home##*/}"; done
    for home in $(brokers "$dir"); do await "$dir" "${home##*/}"; done
    cat "$dir/bootstrap"
    ;;
  start)
    [ -f "$dir/$number/server.properties" ] || usage
    alive "$dir/$number/pid" || launch "$dir" "$number"
    await "$dir" "$number"
    ;;
  kill)
    [ -f "$dir/$number/pid" ] || usage
    kill -9 "$(cat "$dir/$number/pid")"
    while alive "$dir/$number/pid"; do sleep 0.05; done
    ;;
  down)
    for home in $(brokers "$dir"); do if alive "$home/pid"; then kill "$(cat "$home/pid")"; fi; done
    for home in $(brokers "$dir"); do
      for ((turn = 0; turn < 100; turn++)); do alive "$home/pid" || continue 2; sleep 0.1; done
      kill -9 "$(cat "$home/pid")" # a quorum that ends at once has nobody to hand over to
    done
    ;;
  *) usage ;;
esac
