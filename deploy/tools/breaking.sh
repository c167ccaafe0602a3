#!/usr/bin/env bash
# Whether the contracts still serve the clients of main: buf breaking against the last commit of main that has them.
set -euo pipefail
cd "$(dirname "$0")/../.."
base=""
for ref in origin/main main; do
  if git rev-parse --quiet --verify "$ref:proto" >/dev/null; then base=$ref; break; fi
done
if [ -z "$base" ]; then echo "no main with contracts to compare with: nothing can break"; exit 0; fi
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
git archive "$base" proto buf.yaml | tar -x -C "$before"
.tools/npm/node_modules/.bin/buf breaking --against "$before"
