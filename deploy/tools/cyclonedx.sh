#!/usr/bin/env bash
# cargo-cyclonedx, built once into .tools/cargo, pinned: it writes what a program is made of (CycloneDX).
set -euo pipefail
cd "$(dirname "$0")/../.."
version=0.5.9
if [ "$(cat .tools/cargo/cyclonedx-version 2>/dev/null)" = "$version" ]; then exit 0; fi
CARGO_TARGET_DIR=.tools/cargo/build cargo install --quiet cargo-cyclonedx --version "$version" --locked --debug --root .tools/cargo
rm -rf .tools/cargo/build
echo "$version" > .tools/cargo/cyclonedx-version
