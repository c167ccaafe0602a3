#!/usr/bin/env bash
# amtool, Alertmanager's own check of its configuration, built once into .tools/amtool, pinned; prints its path.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=0.28.1

target=$PWD/.tools/amtool
if [ "$(cat "$target/version" 2>/dev/null)" != "$version" ]; then
  command -v go >/dev/null || { echo "Go 1.21 or later is needed to build amtool." >&2; exit 1; }
  echo "building amtool $version" >&2
  GOBIN=$target go install -ldflags=-w "github.com/prometheus/alertmanager/cmd/amtool@v$version" >&2
  echo "$version" > "$target/version"
fi
echo "$target/amtool"
