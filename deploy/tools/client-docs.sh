#!/usr/bin/env bash
# The documentation of the client libraries out of their sources, in target/client-docs: typedoc's, pdoc's, rustdoc's, and Go's, whose pages deploy/docs/client_go writes.
# What they export without saying what it is fails. Wants the clients as clients.sh builds them.
set -euo pipefail
cd "$(dirname "$0")/../.."
typedoc=0.28.20
typescript=6.0.3 # the newest that typedoc reads
pdoc=16.0.0

tools=$PWD/.tools/client-docs out=$PWD/target/client-docs
key=$(git ls-files -z --cached --others --exclude-standard libs/client libs/client-{go,python,typescript} proto Cargo.lock rust-toolchain.toml deploy/docs/client_{go,python.py} deploy/tools/client-docs.sh |
  grep -zvx libs/client/proto | xargs -0 sha256sum | sha256sum)
if [ "$(cat "$out/made-of" 2>/dev/null)" = "$key" ]; then exit 0; fi

wanted="typedoc $typedoc typescript $typescript pdoc $pdoc"
if [ "$(cat "$tools/installed.txt" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$tools"
  npm install --silent --no-fund --no-audit --prefix "$tools/typescript" "typedoc@$typedoc" "typescript@$typescript"
  .tools/venv/bin/python -m pip install --quiet --disable-pip-version-check --target "$tools/python" "pdoc==$pdoc"
  echo "$wanted" > "$tools/installed.txt"
fi

rm -rf "$out"
go run deploy/docs/client_go/main.go libs/client-go "$out/go"
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=.tools/clients/python/site:$tools/python .tools/venv/bin/python deploy/docs/client_python.py "$out/python"
(cd libs/client-typescript && "$tools/typescript/node_modules/.bin/typedoc" --logLevel Warn --out "$out/typescript")
# Among those of whatever else was documented here it would be found in the search of each.
rm -rf target/doc
RUSTDOCFLAGS=-Dwarnings cargo doc --quiet -p penstock-client --no-deps --locked
cp -R target/doc "$out/rust"
echo '<!doctype html><meta http-equiv="refresh" content="0; url=penstock_client/index.html">' > "$out/rust/index.html"
echo "$key" > "$out/made-of"
for language in typescript python go rust; do echo "file://$out/$language/index.html"; done
