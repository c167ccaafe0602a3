#!/usr/bin/env bash
# Makes sure that promtool and prometheus are there and prints their directory: on PATH, or unpacked from Debian's package into .tools/prometheus, where
# nothing is installed and nothing started.
set -euo pipefail
cd "$(dirname "$0")/../.."

if command -v promtool >/dev/null && command -v prometheus >/dev/null; then dirname "$(command -v promtool)"; exit 0; fi
target=$PWD/.tools/prometheus
if [ ! -x "$target/usr/bin/promtool" ]; then
  command -v apt-get >/dev/null || { echo "promtool and prometheus (2.42 or later) are missing: put them on PATH." >&2; exit 1; }
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  echo "fetching Prometheus" >&2
  (
    cd "$work"
    fetch() { apt-get download -qq -o APT::Sandbox::User=root prometheus; }
    fetch || { apt-get update -qq && fetch; }
    dpkg -x prometheus_*.deb unpacked
  ) >&2
  rm -rf "$target"
  mkdir -p .tools
  mv "$work/unpacked" "$target"
fi
echo "$target/usr/bin"
