#!/usr/bin/env python3
"""Whether the commands of the documentation do what it says: every ```sh block of a page is run in order, as printed, on a server of its own with a demo tenant.
`commands.py PROGRAM`. Commands that aren't to be run stand in ```console."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ["docs/start/index.md", "docs/reference/cli.md", "docs/operations.md", "docs/reference/language.md", "docs/sizing.md", "README.md"]
PATIENCE_S = 300
# What commands find where they are run: the sources of the clients, and of what these are generated.
SOURCES = ["proto", "libs/client-go", "libs/client-python", "libs/client-typescript"]
# By itself curl ends well where the server refuses.
CURL = 'curl() { command curl --fail-with-body "$@"; }'


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def blocks(page):
    return "".join(re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL))


def run(program, page):
    """The page's commands; why they failed, if they did."""
    with tempfile.TemporaryDirectory(prefix="penstock-docs-") as temporary:
        place = pathlib.Path(temporary)
        listen, ops, host = free_ports(3)
        serve = [program, "serve", "--demo", "--text-logs", "--data", ".penstock", "--listen", f"127.0.0.1:{listen}", "--ops-listen", f"127.0.0.1:{ops}"]
        engine = os.environ.get("PENSTOCK_ENGINE", str(ROOT / ".tools/engine/libchdb.so"))
        bin = place / "bin"
        bin.mkdir()
        (bin / "penstock").symlink_to(program)
        (place / ".tools").symlink_to(ROOT / ".tools")
        env = {**os.environ, "PENSTOCK_ENGINE": engine, "PATH": f"{bin}:{os.environ['PATH']}", "XDG_CONFIG_HOME": f"{place}/config",
               "PENSTOCK_SERVER": f"http://127.0.0.1:{listen}"}
        listed = subprocess.run(["git", "ls-files", *SOURCES], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for file in map(pathlib.Path, listed.splitlines()):
            (place / file.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, place / file)
        commands = blocks(page).replace("8080", str(host))
        for said, port in (7070, listen), (7071, ops):
            commands = commands.replace(f"127.0.0.1:{said}", f"127.0.0.1:{port}")
        if others := set(re.findall(r"127\.0\.0\.1:\d{1,4}\b", commands)):
            return f"they speak to {others}, where nothing is"
        with open(f"{place}/server.log", "wb") as log:
            server = subprocess.Popen(serve, cwd=place, env=env, stdout=log, stderr=log)
        try:
            key, until = place / ".penstock/demo.key", time.monotonic() + PATIENCE_S
            ready = ["curl", "-sfo", "/dev/null", f"http://127.0.0.1:{ops}/readyz"]
            while not key.exists() or subprocess.run(ready).returncode:
                if server.poll() is not None or time.monotonic() > until:
                    return "the server does not start:\n" + (place / "server.log").read_text()
                time.sleep(0.1)
            with open(f"{place}/output", "wb") as output:
                shell = subprocess.Popen(
                    ["bash", "-euo", "pipefail", "-c", f"{CURL}\n{commands}\nkill $(jobs -p) 2> /dev/null || true"],
                    cwd=place, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                )
                try:
                    failed = shell.wait(PATIENCE_S)
                except subprocess.TimeoutExpired:
                    failed = "no end"
                try:
                    os.killpg(shell.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            said = (place / "output").read_text()
            return f"{said}\n{failed}" if failed else None
        finally:
            server.terminate()
            server.wait()


program = str(pathlib.Path(sys.argv[1]).resolve())
wrong = []
for page in PAGES:
    if why := run(program, page):
        wrong.append(f"{page}: its commands don't do what it says\n{why}")
    elif "-v" in sys.argv:
        print(page)
sys.exit("\n".join(wrong) if wrong else 0)
