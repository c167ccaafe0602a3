#!/usr/bin/env bash
# The contracts in Go, which are checked in since `go get` builds nothing: generates them, or with --check says whether they are stale.
# Wants the venv that venv.sh makes and the generators of stubs.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."

module=penstock.dev/client
site=$(echo .tools/venv/lib/python3.*/site-packages)
contracts=(proto/penstock/v1/{common,ingest,query,metrics}.proto)
packages=""
for file in annotations http; do packages+=,Mgoogle/api/$file.proto=google.golang.org/genproto/googleapis/api/annotations; done
for file in "${contracts[@]}"; do packages+=,M${file#proto/}=$module/penstockpb; done
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
.tools/venv/bin/python -m grpc_tools.protoc -Iproto -I"$site" \
  --plugin=.tools/polyglot/bin/protoc-gen-go --go_out="$out" --go_opt="module=$module$packages" \
  --plugin=.tools/polyglot/bin/protoc-gen-go-grpc --go-grpc_out="$out" --go-grpc_opt="module=$module$packages" "${contracts[@]}"
# Names the contracts, not who generated them: another protoc makes no other code.
sed -i '/^\/\/ 	*protoc/d; /^\/\/ - protoc/d; /^\/\/ versions:$/d' "$out"/penstockpb/*.go
if [ "${1:-}" = --check ]; then
  diff -r "$out/penstockpb" libs/client-go/penstockpb >/dev/null ||
    { echo "libs/client-go/penstockpb is stale: run deploy/tools/go-contracts.sh" >&2; exit 1; }
else
  rm -rf libs/client-go/penstockpb
  cp -R "$out/penstockpb" libs/client-go/penstockpb
fi
