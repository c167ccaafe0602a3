#!/usr/bin/env bash
# A release: release.sh TARGET puts penstock, what it is made of (CycloneDX), all licences, the changelog and SHA256SUMS into TARGET/dist. The same commit
# is to give the same program in whatever folder it is built, by the toolchain of rust-toolchain.toml and one C compiler: no path and no time is in it.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p "$1"
target=$(cd "$1" && pwd)
home=${CARGO_HOME:-$HOME/.cargo}

[ -e services/console/dist/index.html ] || { echo "the console isn't built: make console" >&2; exit 1; }
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=$target
# Of those that fit the last one counts, and TARGET is mostly in this folder.
export RUSTFLAGS="--remap-path-prefix=$home=/cargo --remap-path-prefix=$PWD=/penstock --remap-path-prefix=$target=/target"
export CFLAGS="-ffile-prefix-map=$home=/cargo -ffile-prefix-map=$PWD=/penstock -ffile-prefix-map=$target=/target"
export CXXFLAGS=$CFLAGS
cargo build --release --locked -p penstock
unset RUSTFLAGS

dist=$target/dist
rm -rf "$dist"
mkdir -p "$dist"
install -m 755 "$target/release/penstock" "$dist/penstock"
install -m 644 LICENSE CHANGELOG.md "$dist"
# It writes beside the manifest.
.tools/cargo/bin/cargo-cyclonedx cyclonedx --manifest-path services/penstock/Cargo.toml --format json --spec-version 1.5 \
  --override-filename penstock.cdx --quiet
# It names the crates of this repository by the folder that it was made in.
sed "s#path+file://$PWD#path+file:///penstock#g" services/penstock/penstock.cdx.json > "$dist/penstock.cdx.json"
find libs services -name penstock.cdx.json -delete
deploy/tools/contents.py "$dist/penstock.cdx.json" "$dist/THIRD-PARTY-NOTICES.txt"
(cd "$dist" && sha256sum CHANGELOG.md LICENSE THIRD-PARTY-NOTICES.txt penstock penstock.cdx.json > SHA256SUMS)
echo "$dist"
