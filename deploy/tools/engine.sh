#!/usr/bin/env bash
# Fetches the ClickHouse engine (libchdb) into .tools/engine, by npm, pinned by version and checksum.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=26.7.3-stable.1
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64)
    package=@chdb/lib-linux-x64-gnu
    sha512=XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw==
    ;;
  *)
    echo "No engine is pinned for $(uname -s) $(uname -m): put a libchdb.so $version in place and name it in PENSTOCK_ENGINE." >&2
    exit 1
    ;;
esac

target=.tools/engine
if [ "$(cat "$target/version" 2>/dev/null)" = "$package@$version" ]; then exit 0; fi
command -v npm >/dev/null || { echo "npm (Node.js) is needed to fetch the engine." >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "fetching the engine, 178 MB: $package@$version"
(cd "$work" && npm pack --silent "$package@$version" >/dev/null)
archive=$(ls "$work"/*.tgz)
if [ "$(openssl dgst -sha512 -binary "$archive" | base64 -w0)" != "$sha512" ]; then
  echo "the engine's checksum is not the pinned one; nothing was installed" >&2
  exit 1
fi
tar -xzf "$archive" -C "$work" package/libchdb.so
mkdir -p "$target"
mv "$work/package/libchdb.so" "$target/libchdb.so"
echo "$package@$version" > "$target/version"
