#!/usr/bin/env bash
# The program as it was at a commit: before.sh REVISION builds it under target/before, and says where it is.
set -euo pipefail
cd "$(dirname "$0")/../.."
commit=$(git rev-parse --verify "$1^{commit}")
place=$PWD/target/before
program=$place/$commit/penstock
if [ ! -x "$program" ]; then
  mkdir -p "$place/$commit"
  rm -rf "$place/tree"
  git worktree prune
  git worktree add --quiet --force --detach "$place/tree" "$commit" >&2
  make -C "$place/tree" console >&2
  (cd "$place/tree" && CARGO_TARGET_DIR=$place/build cargo build --release --locked -p penstock >&2)
  cp "$place/build/release/penstock" "$program"
  git worktree remove --force "$place/tree"
fi
echo "$program"
