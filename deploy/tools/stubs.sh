#!/usr/bin/env bash
# The polyglot clients of deploy/test/polyglot, in .tools/polyglot: stubs from proto/ by each language's own generator, built.
# Wants the venv that venv.sh makes.
set -euo pipefail
cd "$(dirname "$0")/../.."
protoc_gen_go=1.36.12
protoc_gen_go_grpc=1.6.2

work=$PWD/.tools/polyglot
key=$(find proto deploy/test deploy/tools/stubs.sh -type f -not -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum)
if [ "$(cat "$work/stubs-of" 2>/dev/null)" = "$key" ]; then exit 0; fi

if ! command -v go >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -qq && apt-get install -qq --no-install-recommends -y golang-go >/dev/null
fi
# From 1.21 on Go fetches the very version that a module wants.
case "$(go env GOVERSION 2>/dev/null)" in
  go1.2[1-9]* | go1.[3-9][0-9]* | go[2-9]*) ;;
  *) echo "Go 1.21 or later is needed for the tests' Go client; here is $(go version 2>/dev/null || echo none)." >&2; exit 1 ;;
esac
command -v npm >/dev/null || { echo "npm (Node.js 20 or later) is needed for the tests' TypeScript client." >&2; exit 1; }

mkdir -p "$work"
rm -rf "$work"/{go,python} "$work"/typescript/{gen,dist}
cp -R deploy/test/polyglot/{go,python,typescript} "$work"
(
  export GOBIN=$work/bin
  go install "google.golang.org/protobuf/cmd/protoc-gen-go@v$protoc_gen_go"
  go install "google.golang.org/grpc/cmd/protoc-gen-go-grpc@v$protoc_gen_go_grpc"
)
npm install --silent --no-fund --no-audit --no-package-lock --prefix "$work/typescript"

# protoc comes with grpcio-tools, google/rpc/error_details.proto with googleapis-common-protos. Go and Python have Google's
# packages ready-made; TypeScript generates what it imports.
site=$(echo .tools/venv/lib/python3.*/site-packages)
contracts=(proto/penstock/v1/*.proto)
protoc() { .tools/venv/bin/python -m grpc_tools.protoc -Iproto -I"$site" "$@"; }
module=penstock.test/polyglot
packages=""
for file in annotations http; do packages+=,Mgoogle/api/$file.proto=google.golang.org/genproto/googleapis/api/annotations; done
for file in "${contracts[@]}"; do packages+=,M${file#proto/}=$module/penstock/v1; done
mkdir -p "$work/typescript/gen"
protoc --plugin="$work/bin/protoc-gen-go" --go_out="$work/go" --go_opt="module=$module$packages" \
  --plugin="$work/bin/protoc-gen-go-grpc" --go-grpc_out="$work/go" --go-grpc_opt="module=$module$packages" "${contracts[@]}"
protoc --python_out="$work/python" --grpc_python_out="$work/python" "${contracts[@]}"
protoc --plugin="$work/typescript/node_modules/.bin/protoc-gen-es" --es_out="$work/typescript/gen" \
  --es_opt=target=ts,import_extension=js "${contracts[@]}" proto/google/api/*.proto "$site/google/rpc/error_details.proto"

(cd "$work/go" && go build -buildvcs=false -o ../bin/polyglot-go .)
(cd "$work/typescript" && node_modules/.bin/tsc)
echo "$key" > "$work/stubs-of"
