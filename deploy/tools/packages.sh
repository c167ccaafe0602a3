#!/usr/bin/env bash
# The client libraries as their users get them: each is packed, looked into, put into an empty place and used from there.
# Wants the clients as clients.sh builds them, and the React package as console.sh does.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/../.."
root=$PWD work=$PWD/target/packages

key=$(git ls-files -z --cached --others --exclude-standard libs/client libs/client-{go,python,typescript} services/console/{react,src/embed} proto Cargo.toml deploy/tools/packages.sh |
  grep -zv '^libs/client/proto$' | xargs -0 sha256sum | sha256sum)
if [ "$(cat "$work/made-of" 2>/dev/null)" = "$key" ]; then exit 0; fi
rm -rf "$work"
mkdir -p "$work"

fail() { echo "packages.sh: $*" >&2; exit 1; }
# holds PACK WANTED...: what is in a pack, a path a line on stdin, has its licence, its README and these, and nothing that is only ours.
holds() {
  local pack=$1 list wanted rubbish
  shift
  list=$(cat)
  for wanted in LICENSE README.md "$@"; do
    grep -qxF -- "$wanted" <<< "$list" || fail "the package of $pack has no $wanted"
  done
  rubbish=$(grep -E '(^|/)(tests?/story|node_modules|__pycache__|target|\.tools|\.penstock|\.env|\.gitignore|\.npmrc)|\.(pyc|tgz|log|tsbuildinfo)$' <<< "$list" || true)
  [ -z "$rubbish" ] || fail "the package of $pack has" $rubbish
}
# as_tracked FOLDER PATH...: what git has of these in FOLDER: what is made here by other builds is in no package, and isn't disturbed.
as_tracked() {
  mkdir -p "$1"
  git ls-files -z --cached --others --exclude-standard "${@:2}" | xargs -0 cp --parents -P -t "$1"
}

rust() {
  cargo package -p penstock-client --list --locked --allow-dirty --quiet > "$work/rust.txt"
  holds Rust Cargo.toml build.rs src/lib.rs examples/first_answer.rs proto/penstock/v1/{common,ingest,metrics,query}.proto \
    proto/google/api/{annotations,http}.proto < "$work/rust.txt"
  if grep '^tests/' "$work/rust.txt"; then fail "the package of Rust has tests"; fi
  cargo metadata --no-deps --locked --format-version 1 | python3 -c '
import json, sys
[told] = [it for it in json.load(sys.stdin)["packages"] if it["name"] == "penstock-client"]
lacks = [name for name in ("description", "license", "readme", "keywords", "categories", "rust_version") if not told[name]]
# One that has only a path can be had by nobody.
lacks += ["a version of " + it["name"] for it in told["dependencies"] if it["kind"] != "dev" and (it.get("path") or it["req"] == "*")]
if lacks or told["publish"] == []:
    sys.exit(f"packages.sh: the package of Rust can not be published, or lacks {lacks}")'
}

# npm_package FOLDER FILE...: packs what is built in FOLDER, looks for these files in it, and installs it into an empty folder, whose path it prints.
npm_package() {
  local folder=$1 pack into
  into=$work/$(basename "$folder")
  mkdir -p "$into"
  pack=$into/$(cd "$folder" && npm pack --silent --ignore-scripts --pack-destination "$into")
  tar -tzf "$pack" | sed 's#^package/##' > "$into/list.txt"
  holds "$folder" package.json "${@:2}" < "$into/list.txt"
  if grep -E '(^|/)(tests?|examples)/|\.test\.' "$into/list.txt" >&2; then fail "the package of $folder has tests"; fi
  # A build doesn't take away what has gone: whatever is made has a source.
  sed -nE 's#^dist/(src/)?(.*)\.d\.ts$#\2#p' "$into/list.txt" | while read -r name; do
    compgen -G "$folder/src/$name.ts*" > /dev/null || fail "the package of $folder has $name, which has no source: remove dist and build it again"
  done
  tar -xzOf "$pack" package/package.json | node -e '
const { readFileSync } = require("node:fs");
const told = JSON.parse(readFileSync(0, "utf8")), list = readFileSync(process.argv[1], "utf8").split("\n");
const lacks = ["name", "version", "description", "license", "keywords", "exports", "files"].filter((name) => !told[name]?.length && typeof told[name] !== "object");
const targets = (it) => (typeof it === "string" ? [it] : Object.values(it).flatMap(targets));
for (const path of targets(told.exports)) {
  const fits = new RegExp(`^${path.slice(2).replaceAll(".", "\\.").replace("*", ".+")}$`);
  if (!list.some((it) => fits.test(it))) lacks.push(path);
}
if (told.private || lacks.length) throw new Error(`packages.sh: ${told.name} can not be published, or lacks ${lacks}`);' "$into/list.txt"
  echo '{ "private": true, "type": "module" }' > "$into/package.json"
  npm install --silent --no-fund --no-audit --ignore-scripts --prefer-offline --prefix "$into" "$pack"
  echo "$into"
}

# In Node.js and as a bundler of pages sees it; the types are read to the end, with those of what it needs.
typescript() {
  local into tools=$root/libs/client-typescript/node_modules
  into=$(npm_package libs/client-typescript dist/src/{node,browser}.{js,d.ts} dist/src/gen/penstock/v1/query_pb.d.ts)
  cat > "$into/node.ts" <<'END'
import { Client, PenstockError, QueueFull, type ClientOptions, type Query, type Result } from "@penstock/client";
import { QueryServiceDefinitionCheck } from "./contracts.js";

const options: ClientOptions = { address: "http://127.0.0.1:1", key: "pk_none", app: "shop", limits: { queueBytes: 1 } };
const penstock = new Client(options);
const query: Query = { measures: { revenue: "SUM(amount)" }, filters: [["status", "=", "paid"]], grain: "day" };
export const asked = (): Promise<Result<{ time: Date; revenue: number }>> => penstock.query(query);
// @ts-expect-error an event has a type
export const untyped = () => penstock.track({ userId: "u1" });
await penstock.close();
if (!(QueueFull.prototype instanceof PenstockError) || !QueryServiceDefinitionCheck) throw new Error("it is not what it says");
END
  cat > "$into/contracts.ts" <<'END'
import { QueryService } from "@penstock/client/contracts/query";

export const QueryServiceDefinitionCheck: boolean = QueryService.typeName === "penstock.v1.QueryService";
END
  cat > "$into/page.ts" <<'END'
import { Client, type BrowserOptions } from "@penstock/client";

const options: BrowserOptions = { address: "https://analytics.example.com", key: async () => "token", app: "shop", onDiskFailed: console.warn };
export async function show(element: HTMLElement): Promise<void> {
  const penstock = new Client(options);
  for await (const { rows } of penstock.subscribe<{ orders: number }>("SELECT COUNT(*) AS orders FROM events")) element.textContent = `${rows[0]?.orders}`;
}
END
  # The README's program for a browser's disk, which no example has.
  awk '/^```ts$/ { taken = 1; text = ""; next } /^```$/ { if (taken && text ~ /directory:/) printf "%s", text; taken = 0 } taken { text = text $0 "\n" }' \
    libs/client-typescript/README.md > "$into/disk.ts"
  [ -s "$into/disk.ts" ] || fail "the README for TypeScript has no program with a directory any more"
  local strict=(--strict --noEmit false --target es2022 --rootDir "$into" --typeRoots "$tools/@types" --exactOptionalPropertyTypes)
  "$tools/.bin/tsc" "${strict[@]}" --module nodenext --lib es2022,dom,dom.iterable --types node --outDir "$into/made" "$into"/{node,contracts}.ts
  "$tools/.bin/tsc" "${strict[@]}" --module esnext --moduleResolution bundler --customConditions browser --lib es2022,dom,dom.iterable --types "" \
    --outDir "$into/made" "$into"/{page,disk}.ts
  node "$into/made/node.js"
  node --conditions=browser --input-type=module -e "await import('$into/made/page.js')"
}

# A wheel out of the sdist, as registries' users who build for themselves get it, in an environment that has nothing else.
python() {
  local into=$work/python hatch tools=$root/.tools/clients/python/tools
  as_tracked "$into/source" proto libs/client-python
  hatch() { PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$tools "$root/.tools/venv/bin/python" -m hatchling build "$@" > "$into/built.txt" 2>&1 || { cat "$into/built.txt" >&2; exit 1; }; }
  (cd "$into/source/libs/client-python" && hatch -t sdist -d "$into/packs")
  mkdir "$into/sdist"
  tar -xzf "$into"/packs/*.tar.gz -C "$into/sdist" --strip-components 1
  rm -r "$into/source"
  (cd "$into/sdist" && find . -type f -printf '%P\n' | sort > "$into/sdist.txt" && hatch -t wheel -d "$into/packs")
  holds "Python's source" PKG-INFO pyproject.toml build_contracts.py src/penstock/{__init__.py,py.typed,v1/query_pb2.py,v1/query_pb2.pyi} < <(grep -vx .gitignore "$into/sdist.txt")

  python3 -m venv "$into/venv"
  "$into/venv/bin/pip" install --quiet --disable-pip-version-check "$into"/packs/*.whl
  "$into/venv/bin/pip" --quiet --disable-pip-version-check check
  "$into/venv/bin/python" -I - <<'END'
import importlib.metadata
import sys

import penstock
from penstock import AsyncClient, Client, Filter, PenstockError, Query, v1

told = importlib.metadata.metadata("penstock-client")
wanted = ["Name", "Version", "Summary", "License-Expression", "License-File", "Requires-Python", "Keywords", "Classifier", "Description-Content-Type"]
lacks = [name for name in wanted if not told[name]]
files = [str(path) for path in importlib.metadata.files("penstock-client") or []]
lacks += [path for path in ("penstock/py.typed", "penstock/v1/query_pb2.pyi") if path not in files]
lacks += [name for name in penstock.__all__ if not hasattr(penstock, name)]
foreign = [path for path in files if not path.startswith(("penstock/", "penstock_client-")) or "test" in path]
if lacks or foreign or "From zero to a first answer" not in str(told.get_payload()):
    sys.exit(f"packages.sh: the wheel lacks {lacks}, has {foreign}, or has no README")
with Client("127.0.0.1:1", "pk_none", app="shop"):
    Query(measures={"revenue": "SUM(amount)"}, filters=[Filter("status", "=", "paid")], grain="day")
END
  cat > "$into/typed.py" <<'END'
from penstock import Client, Query, Result

def asked(client: Client) -> Result:
    return client.query(Query(measures={"orders": "COUNT(*)"}, grain="day"), timeout=1.0)

def mistyped(client: Client) -> Result:
    return client.sql(1)  # type: ignore[arg-type]
END
  (cd "$into" && PYTHONPATH=$tools "$root/.tools/venv/bin/python" -m mypy --strict --no-error-summary --cache-dir /dev/null --python-executable venv/bin/python typed.py)
}

# A module of somebody else's; until there is an address to fetch ours from, it stands in a `replace`.
go_module() {
  local into=$work/go
  as_tracked "$into/source" libs/client-go
  (cd "$into/source/libs/client-go" && find . -type f -printf '%P\n') | holds Go go.mod go.sum client.go penstockpb/query_grpc.pb.go examples/first-answer/main.go
  mkdir "$into/theirs"
  cd "$into/theirs"
  cat > main.go <<'END'
package main

import (
	"context"
	"errors"
	"log"

	penstock "penstock.dev/client"
	"penstock.dev/client/penstockpb"
)

type row struct{ Revenue float64 }

func asked(ctx context.Context, client *penstock.Client) (*penstock.Result[row], error) {
	return penstock.SQL[row](ctx, client, "SELECT SUM(amount) AS revenue FROM events")
}

func main() {
	client, err := penstock.New(penstock.Options{Address: "127.0.0.1:1", Key: "pk_none", App: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	if err := client.Close(context.Background()); err != nil || errors.Is(err, penstock.ErrClosed) {
		log.Fatal(err)
	}
	_, _ = asked, penstockpb.Event{}
}
END
  go mod init -C . example.com/theirs 2> /dev/null
  go mod edit -require penstock.dev/client@v0.1.0 -replace "penstock.dev/client=$into/source/libs/client-go"
  cp "$into/source/libs/client-go/go.sum" .
  GOFLAGS=-mod=mod go vet ./...
  GOFLAGS=-mod=mod go build -buildvcs=false -o theirs .
  ./theirs
}

# Of what `make console` built.
react() { npm_package services/console/react dist/index.{js,d.ts} > /dev/null; }

# Each in a shell of its own, where a failure ends it.
for pack in rust typescript react python go_module; do
  ( "$pack" )
done
echo "$key" > "$work/made-of"
