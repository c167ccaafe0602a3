#!/usr/bin/env bash
# Makes sure that PostgreSQL's server is there and prints the directory of its programs.
set -euo pipefail

find_programs() {
  local dir
  for dir in $(dirname "$(readlink -f "$(command -v pg_ctl || command -v postgres)" 2>/dev/null)" 2>/dev/null) \
    $(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null | sort -Vr); do
    if [ -x "$dir/initdb" ] && [ -x "$dir/pg_ctl" ] && [ -x "$dir/postgres" ]; then echo "$dir"; return 0; fi
  done
  return 1
}

find_programs && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  exec 9>/var/lock/penstock-install && flock 9 # tests may ask at the same time
  find_programs && exit 0
  echo "installing PostgreSQL" >&2
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql; } >&2
  find_programs && exit 0
fi
echo "PostgreSQL's server is missing (initdb, pg_ctl, postgres, 14 or later): install the package postgresql, or put them on PATH." >&2
exit 1
