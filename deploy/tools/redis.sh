#!/usr/bin/env bash
# Makes sure that Redis's server is there and prints its path.
set -euo pipefail

command -v redis-server && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  exec 9>/var/lock/penstock-install && flock 9 # tests may ask at the same time
  command -v redis-server && exit 0
  echo "installing Redis" >&2
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server; } >&2
  command -v redis-server && exit 0
fi
echo "redis-server (6 or later) is missing: install the package redis-server, or put it on PATH." >&2
exit 1
