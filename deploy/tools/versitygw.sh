#!/usr/bin/env bash
# versitygw, an S3 server over a directory, built once into .tools/versitygw, pinned. For tests.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=1.8.0

target=.tools/versitygw
if [ "$(cat "$target/version" 2>/dev/null)" = "$version" ]; then exit 0; fi

if ! command -v go >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  { apt-get update -qq && apt-get install -qq --no-install-recommends -y golang-go; } >/dev/null
fi
command -v go >/dev/null || { echo "Go 1.21 or later is needed to build versitygw, an S3 server." >&2; exit 1; }
echo "building versitygw $version"
rm -rf "$target"
mkdir -p "$target"
GOBIN=$PWD/$target go install -ldflags=-w "github.com/versity/versitygw/cmd/versitygw@v$version"
echo "$version" > "$target/version"
