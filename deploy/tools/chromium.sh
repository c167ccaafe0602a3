#!/usr/bin/env bash
# Makes sure that Chromium is there, for the tests of the console, and prints its path.
set -euo pipefail

# The headless shell is the same engine without the windows around it: a third less work.
found() { command -v chromium-headless-shell || command -v chromium || command -v chromium-browser || command -v google-chrome; }
found && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  exec 9>/var/lock/penstock-install && flock 9 # tests may ask at the same time
  found && exit 0
  echo "installing Chromium" >&2
  install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1"; }
  { apt-get update -qq && { install chromium-headless-shell || install chromium; }; } >&2
  found && exit 0
fi
echo "Chromium is missing: install the package chromium, or put chromium or google-chrome on PATH." >&2
exit 1
