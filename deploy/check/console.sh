#!/usr/bin/env bash
# Measures the console of a program, on a house of its own: how soon it can be used and has an answer, and how smooth its charts are. Fails where that is
# not within a second, or not 60 frames a second.
#   console.sh PROGRAM
set -euo pipefail
cd "$(dirname "$0")/../.."
program=$1
dir=$(mktemp -d)
trap 'kill "$house" 2>/dev/null; wait "$house" 2>/dev/null || true; rm -rf "$dir"' EXIT
port=$((20000 + RANDOM % 12000))
"$program" serve --demo --data "$dir/data" --listen "127.0.0.1:$port" --ops-listen "127.0.0.1:$((port + 1))" > "$dir/log" 2>&1 & house=$!
until curl --fail --silent --output /dev/null "http://127.0.0.1:$((port + 1))/readyz"; do
  kill -0 "$house" 2>/dev/null || { cat "$dir/log" >&2; exit 1; }
  sleep 0.2
done
CHROMIUM=$(deploy/tools/chromium.sh) PENSTOCK_ADDRESS=127.0.0.1:$port PENSTOCK_KEY=$(cat "$dir/data/demo.key")
export CHROMIUM PENSTOCK_ADDRESS PENSTOCK_KEY
cd services/console
node browser/opening.mjs
node browser/frames.mjs
