#!/usr/bin/env bash
# The client libraries, with the contracts generated from proto/: Python as its users get it and Go in .tools/clients, TypeScript in its folder.
# Wants the venv that venv.sh makes and the generators of stubs.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$PWD/.tools/clients
key=$(git ls-files -z --cached --others --exclude-standard proto libs/client-{go,python,typescript} deploy/test/clients.txt deploy/tools/{clients,go-contracts}.sh | xargs -0 sha256sum | sha256sum)
if [ "$(cat "$work/made-of" 2>/dev/null)" = "$key" ]; then exit 0; fi

pip() { .tools/venv/bin/python -m pip --quiet --disable-pip-version-check "$@"; }
wanted=deploy/test/clients.txt
if ! cmp -s "$wanted" "$work/python/tools/installed.txt"; then
  rm -rf "$work/python/tools"
  pip install --target "$work/python/tools" -r "$wanted"
  cp "$wanted" "$work/python/tools/installed.txt"
fi
rm -rf "$work/python/site"
PYTHONPATH=$work/python/tools pip install --no-deps --no-build-isolation --target "$work/python/site" ./libs/client-python

(
  cd libs/client-typescript
  npm ci --silent --no-fund --no-audit
  npm run --silent build
)

deploy/tools/go-contracts.sh --check
(
  cd libs/client-go
  mkdir -p "$work/go"
  go vet ./...
  go build -buildvcs=false -o "$work/go/" ./internal/story ./examples/...
  go test -c -o "$work/go/queue.test" .
)

echo "$key" > "$work/made-of"
