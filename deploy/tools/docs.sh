#!/usr/bin/env bash
# The documentation of docs/, built into target/docs. Wants buf, as buf.sh makes it.
set -euo pipefail
cd "$(dirname "$0")/../.."
iframe_worker=1.0.4

wanted="$(cat deploy/docs/requirements.txt) iframe-worker $iframe_worker"
if [ "$(cat .tools/docs/installed.txt 2>/dev/null)" != "$wanted" ]; then
  python3 -m venv .tools/docs
  .tools/docs/bin/python -m pip install --quiet --disable-pip-version-check -r deploy/docs/requirements.txt
  npm install --silent --no-save --ignore-scripts --prefix .tools/docs "iframe-worker@$iframe_worker"
  echo "$wanted" > .tools/docs/installed.txt
fi
.tools/npm/node_modules/.bin/buf build -o .tools/docs/contracts.json
.tools/docs/bin/python deploy/docs/build.py .tools/docs/contracts.json
