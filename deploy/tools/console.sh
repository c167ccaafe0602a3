#!/usr/bin/env bash
# The web console of services/console, built into its dist/, from which the gateway's build takes it, and its elements as a package for React, in
# react/dist/. Wants buf, as buf.sh makes it.
set -euo pipefail
cd "$(dirname "$0")/../.."
buf=$PWD/.tools/npm/node_modules/.bin/buf
of() { find "$@" -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum; }

command -v npm >/dev/null || { echo "npm (Node.js 20 or later) is needed to build the console." >&2; exit 1; }
cd services/console
packages=$(of package.json package-lock.json .npmrc)
if [ "$(cat node_modules/installed-of 2>/dev/null)" != "$packages" ]; then
  npm ci --silent --ignore-scripts
  echo "$packages" > node_modules/installed-of
fi
sources=$(of ../../proto proto src public react index.html ./*.ts ./*.json ../../deploy/tools/console.sh -not -path 'src/gen/*' -not -path 'react/dist/*')
if [ "$(cat node_modules/built-of 2>/dev/null)" = "$sources" ] && [ -e dist/index.html ] && [ -e react/dist/index.js ]; then exit 0; fi
rm -rf src/gen react/dist
"$buf" generate
npm run --silent build -- --logLevel warn
npm run --silent build:react
echo "$sources" > node_modules/built-of
