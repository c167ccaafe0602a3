#!/usr/bin/env bash
# Python packages of the tests (clients, the oracle, the public data set) in .tools/venv, pinned.
set -euo pipefail
cd "$(dirname "$0")/../.."
wanted=deploy/test/requirements.txt
if cmp -s "$wanted" .tools/venv/installed.txt; then exit 0; fi
python3 -m venv .tools/venv
.tools/venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$wanted"
cp "$wanted" .tools/venv/installed.txt
