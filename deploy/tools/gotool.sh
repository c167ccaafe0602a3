#!/usr/bin/env bash
# Tools of deploy's checks that are written in Go, each built once into .tools/NAME, pinned: gotool.sh amtool | helm prints its path.
set -euo pipefail
cd "$(dirname "$0")/../.."
name=${1:-}
case "$name" in
  amtool) module=github.com/prometheus/alertmanager/cmd/amtool@v0.28.1 ;; # Alertmanager's own check of its configuration
  helm) module=helm.sh/helm/v3/cmd/helm@v3.18.6 ;; # takes four minutes
  *) echo "gotool.sh amtool | helm" >&2; exit 2 ;;
esac

target=$PWD/.tools/$name
if [ "$(cat "$target/version" 2>/dev/null)" != "$module" ]; then
  command -v go >/dev/null || { echo "Go 1.21 or later is needed to build $name." >&2; exit 1; }
  echo "building $module" >&2
  GOBIN=$target go install -ldflags=-w "$module" >&2
  echo "$module" > "$target/version"
fi
echo "$target/$name"
