#!/usr/bin/env bash
# Whether a release is the same wherever it is built: builds the commit in two folders of different lengths and compares what is in them. Takes two
# release builds and 5 GB a build, one after the other, in PLACE (default: a new folder in $TMPDIR), which is removed.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
commit=$(git rev-parse HEAD)
place=$(mktemp -d "${1:-${TMPDIR:-/tmp}}/reproducible.XXXXXX")
trap 'rm -rf "$place"' EXIT

build() { # FOLDER: prints the checksums
  git clone --quiet --shared --no-checkout "$root" "$1"
  git -C "$1" checkout --quiet --detach "$commit" # whatever is committed meanwhile: its time is in the build
  # What isn't compiled here comes as it is: tools, and the console, whose own checksum is what it was built of.
  ln -s "$root/.tools" "$1/.tools"
  cp -r "$root/services/console/dist" "$1/services/console/dist"
  ln -s "$root/services/console/node_modules" "$1/services/console/node_modules"
  "$1/deploy/tools/release.sh" "$1/target" >&2
  cat "$1/target/dist/SHA256SUMS"
  rm -rf "$1"
}

first=$(build "$place/a")
second=$(build "$place/another/folder/further/down")
if [ "$first" != "$second" ]; then
  echo "two builds of $commit differ:" >&2
  diff <(echo "$first") <(echo "$second") >&2
  exit 1
fi
echo "reproducible:"
echo "$first"
