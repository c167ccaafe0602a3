#!/usr/bin/env bash
# Python packages, pinned: of the tests (clients, the oracle, the public data set) in .tools/venv, or of the checks of deploy: with `check` in .tools/check,
# and with `checkov`, which is large, in .tools/checkov.
set -euo pipefail
cd "$(dirname "$0")/../.."
case "${1:-test}" in
  test) wanted=deploy/test/requirements.txt target=.tools/venv ;;
  check) wanted=deploy/check/requirements.txt target=.tools/check ;;
  checkov) wanted=deploy/check/checkov.txt target=.tools/checkov ;;
  *) echo "venv.sh [test | check | checkov]" >&2; exit 2 ;;
esac
if cmp -s "$wanted" "$target/installed.txt"; then exit 0; fi
python3 -m venv "$target"
"$target/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted"
cp "$wanted" "$target/installed.txt"
