#!/usr/bin/env bash
# Whether a release is the same wherever it is built: builds the commit in two folders of different lengths and compares what is in them. Takes two
# release builds and 5 GB a build, one after the other, in PLACE (default: a new folder in $TMPDIR), which is removed; where they differ, what was built
# stays.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
commit=$(git rev-parse HEAD)
place=$(mktemp -d "${1:-${TMPDIR:-/tmp}}/reproducible.XXXXXX")
trap 'rm -rf "$place"' EXIT

build() { # FOLDER KEPT: prints the checksums
  git clone --quiet --shared --no-checkout "$root" "$1"
  git -C "$1" checkout --quiet --detach "$commit" # whatever is committed meanwhile: its time is in the build
  # What isn't compiled here comes as it is: tools, and the console, whose own checksum is what it was built of.
  ln -s "$root/.tools" "$1/.tools"
  cp -r "$root/services/console/dist" "$1/services/console/dist"
  ln -s "$root/services/console/node_modules" "$1/services/console/node_modules"
  "$1/deploy/tools/release.sh" "$1/target" >&2
  mv "$1/target/dist" "$2"
  rm -rf "$1"
  cat "$2/SHA256SUMS"
}

first=$(build "$place/a" "$place/first")
second=$(build "$place/another/folder/further/down" "$place/second")
if [ "$first" != "$second" ]; then
  trap - EXIT
  echo "two builds of $commit differ:" >&2
  diff <(echo "$first") <(echo "$second") >&2 || true
  echo "they are in $place" >&2
  # What is in one alone mostly says where it comes from.
  diff <(strings -n 6 "$place/first/penstock") <(strings -n 6 "$place/second/penstock") | head -n 40 >&2 || true
  exit 1
fi
echo "reproducible:"
echo "$first"
