#!/usr/bin/env bash
# cargo-deny, built once into .tools/cargo, pinned.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=0.20.2
if [ "$(.tools/cargo/bin/cargo-deny --version 2>/dev/null)" = "cargo-deny $version" ]; then exit 0; fi
CARGO_TARGET_DIR=.tools/cargo/build cargo install --quiet cargo-deny --version "$version" --locked --debug --no-default-features --root .tools/cargo
rm -rf .tools/cargo/build
