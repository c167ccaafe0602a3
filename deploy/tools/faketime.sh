#!/usr/bin/env bash
# Makes sure that libfaketime is there, which gives a process a clock of its own, and prints its path. Without it `make chaos` leaves out the clocks that jump.
set -euo pipefail

find_it() { find /usr/lib -name libfaketime.so.1 2>/dev/null | head -1 | grep .; }
find_it && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libfaketime; } >&2
  find_it && exit 0
fi
echo "libfaketime is missing: install the package libfaketime" >&2
exit 0
