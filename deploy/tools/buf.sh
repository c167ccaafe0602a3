#!/usr/bin/env bash
# buf, by npm, in .tools/npm, pinned.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=1.75.0
if [ "$(cat .tools/npm/buf-version 2>/dev/null)" = "$version" ]; then exit 0; fi
mkdir -p .tools/npm
npm install --silent --no-fund --no-audit --prefix .tools/npm "@bufbuild/buf@$version"
echo "$version" > .tools/npm/buf-version
