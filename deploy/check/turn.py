#!/usr/bin/env python3
"""Whether pods wait for their turn in an upgrade (deploy/images/turn), in the order of docs/upgrading.md and on the way back in its reverse: asks it beside processes that say of
themselves at `/metrics` what those of a release say."""

import http.server
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURN = ROOT / "deploy/images/turn"
HOSTS = [f"127.0.0.{n}" for n in range(2, 6)]
SELF = "127.0.0.9"  # where nothing answers yet
# The pod's role and version, what the others are, and whether it waits.
CASES = [
    ("an install, where nobody answers", "gateway", "0.2.0", [], False),
    ("the first of an upgrade", "pipeline", "0.2.0", ["pipeline 0.1.0", "query 0.1.0", "gateway 0.1.0"], False),
    ("one of many is older", "gateway", "0.2.0", ["pipeline 0.2.0", "ingest 0.2.0", "ingest 0.1.0"], True),
    ("versions are numbers", "ingest", "0.10.0", ["pipeline 0.9.0"], True),
    ("a candidate is older than its release", "gateway", "0.2.0", ["query 0.2.0-rc.1"], True),
    ("all before are there", "gateway", "0.2.0", ["pipeline 0.2.0", "metrics 0.2.0", "ingest 0.2.0", "gateway 0.1.0"], False),
    ("those beside don't matter", "query", "0.2.0", ["pipeline 0.2.0", "metrics 0.1.0", "admin 0.1.0"], False),
    ("on the way back the gateway is first", "gateway", "0.1.0", ["pipeline 0.2.0", "ingest 0.2.0"], False),
    ("and the pipeline last", "pipeline", "0.1.0", ["gateway 0.1.0", "admin 0.2.0"], True),
    ("the same version, as with other settings", "pipeline", "0.1.0", ["gateway 0.1.0", "query 0.1.0"], False),
]


def answers(text):
    class Process(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    return Process


def waits(place, role, version, others):
    """Why it waits, or nothing."""
    servers = []
    for host, other in zip(HOSTS, others):
        theirs, its = other.split()
        text = f'# TYPE penstock_build_info gauge\npenstock_build_info{{version="{its}",roles="{theirs}"}} 1\nanother 1\n'
        port = servers[0].server_port if servers else 0
        servers.append(http.server.ThreadingHTTPServer((host, port), answers(text)))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
    port = servers[0].server_port if servers else 1
    for name, said in {"getent": "".join(f"{host} STREAM\n{host} DGRAM\n" for host in [*HOSTS, SELF]), "penstock": f"penstock {version}\n", "sleep": ""}.items():
        stand_in = place / name
        stand_in.write_text(f"#!/bin/sh\n{'kill $PPID' if name == 'sleep' else f'cat <<END{chr(10)}{said}END'}\n")
        stand_in.chmod(0o755)
    try:
        done = subprocess.run([TURN, role, "processes", SELF, str(port)], env={**os.environ, "PATH": f"{place}:{os.environ['PATH']}"}, capture_output=True, text=True, timeout=60)
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
    if done.stderr:
        sys.exit(f"{TURN.name}: {done.stderr}")
    return done.stdout.strip()


def main():
    rows = re.findall(r"^ *\| (\d+) \| ([a-z, ]+) \|", (ROOT / "docs/upgrading.md").read_text(), re.MULTILINE)
    page = {role: step for step, roles in rows for role in roles.split(", ")}
    if not page or page != dict(re.findall(r"\[(\w+)\]=(\d)", TURN.read_text())):
        sys.exit(f"{TURN.name} has another order than docs/upgrading.md: {page}")
    with tempfile.TemporaryDirectory() as place:
        for what, role, version, others, waiting in CASES:
            why = waits(pathlib.Path(place), role, version, others)
            if bool(why) != waiting:
                sys.exit(f"{what}: {role} {version} beside {others} {'does not wait' if waiting else why}")


if __name__ == "__main__":
    main()
