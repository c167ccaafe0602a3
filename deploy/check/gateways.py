#!/usr/bin/env python3
"""One gateway at 100 % of its CPU beside another: how long calls by the other take. On the stand, with one core for the first gateway and those who call it, and one for all
else, so that it is the mesh that the calls share and not the core. The same calls go to both all the while; in every second turn others hammer the first one without a
pause, with a key that nobody has, and want its core for themselves. PENSTOCK names the program; `gateways.py SECONDS TURNS` says how long a turn takes (10) and how many of each there are (6).
Writes target/gateways.md."""

import contextlib
import http.client
import json
import multiprocessing
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from stand import ROOT, Stand

APP, BATCH, PACE = "xyz123", 20, 0.04
SQL = f"SELECT event_type, COUNT(*) AS events, SUM(n) FROM events WHERE app_id = '{APP}' GROUP BY event_type"
HAMMERS = 4
# Written again and again, while the answers are read and dropped: there is always a call that the gateway has not come to.
REFUSED = b"POST /v1/sql HTTP/1.1\r\nhost: x\r\nauthorization: Bearer nobody\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}" * 64


def pin(pid, cores):
    """The process with all of its threads; those to come have what their makers have."""
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(task.name), cores)


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def hammer(core, address, hammering):
    """One connection full of calls, and all the time of the core that is left."""
    os.sched_setaffinity(0, {core})
    host, port = address.split(":")

    def read(connection):
        with contextlib.suppress(OSError):
            while connection.recv(1 << 20):
                pass

    def write():
        while hammering.wait():
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=30) as connection:
                threading.Thread(target=read, args=(connection,), daemon=True).start()
                while hammering.is_set():
                    connection.sendall(REFUSED)

    threading.Thread(target=write, daemon=True).start()
    while hammering.wait():
        pass


def call(core, address, key, turns, results):
    """Two who send and two who ask, each when it is due; for each turn the seconds of each kind, from when it was due, and the errors."""
    os.sched_setaffinity(0, {core})
    host, port = address.split(":")
    for seconds in iter(turns.get, None):
        taken, errors, end = {"sending": [], "asking": []}, [], time.monotonic() + seconds

        def work(kind):
            connection = http.client.HTTPConnection(host, int(port), timeout=60)
            due = time.monotonic() + random.random() * PACE
            while due < end:
                time.sleep(max(0.0, due - time.monotonic()))
                if kind == "sending":
                    events = [{"app_id": APP, "event_type": "starved", "user_id": f"u{random.randrange(1_000)}", "properties": {"n": i}} for i in range(BATCH)]
                    path, body = "/v1/events", events
                else:
                    path, body = "/v1/sql", {"sql": SQL, "app_id": APP}
                connection.request("POST", path, json.dumps(body), {"authorization": f"Bearer {key}"})
                response = connection.getresponse()
                text = response.read()
                if response.status != 200:
                    errors.append(text.decode())
                taken[kind].append(time.monotonic() - due)
                # One that took longer than the pace isn't made up for by many at once.
                due = max(due + PACE, time.monotonic())
            connection.close()

        threads = [threading.Thread(target=work, args=(kind,)) for kind in ("sending", "asking") * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        results.put((taken, errors))


def measure(stand, seconds, rounds):
    context = multiprocessing.get_context("fork")
    own, shared = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    if own == shared:
        raise SystemExit("it needs two cores")
    children = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            children.setdefault(int(path.read_text().rsplit(") ", 1)[1].split()[1]), []).append(int(path.parent.name))
    # The roles, Kafka, PostgreSQL, Redis, and what they started.
    all = [int(path.read_text().split()[0]) for path in stand.dir.rglob("*pid")]
    while all:
        pid = all.pop()
        all += children.get(pid, [])
        with contextlib.suppress(OSError):
            pin(pid, {shared})
    busy = stand.pid("gateway-1")
    pin(busy, {own})
    hammering = context.Event()
    helpers = [context.Process(target=hammer, args=(own, stand.gateways[0], hammering), daemon=True) for _ in range(HAMMERS)]
    lanes = [(context.Queue(), context.Queue()) for _ in stand.gateways]
    helpers += [
        context.Process(target=call, args=(core, address, stand.key, *lane), daemon=True)
        for core, address, lane in zip((own, shared), stand.gateways, lanes)
    ]
    for helper in helpers:
        helper.start()
    seen = {(gateway, loud, kind): [] for gateway in range(2) for loud in (False, True) for kind in ("sending", "asking")}
    shares, failed = {False: [], True: []}, []
    for turn in range(-1, 2 * rounds):
        loud = turn % 2 == 1 and turn > 0
        (hammering.set if loud else hammering.clear)()
        began, used = time.monotonic(), cpu(busy)
        for turns, _ in lanes:
            turns.put(seconds)
        for gateway, (_, results) in enumerate(lanes):
            taken, errors = results.get()
            # The first turn opens connections and makes the app known.
            if turn < 0:
                continue
            failed += errors
            for kind, all in taken.items():
                seen[gateway, loud, kind] += all
        if turn >= 0:
            shares[loud].append((cpu(busy) - used) / (time.monotonic() - began))
    hammering.clear()
    return seen, shares, failed


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    seconds, rounds = (int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((1, 10), (2, 6)))
    home = pathlib.Path(tempfile.mkdtemp(prefix="penstock-gateways-"))
    home.chmod(0o755)  # PostgreSQL runs as a user of its own
    try:
        seen, shares, failed = measure(Stand(home), seconds, rounds)
    finally:
        subprocess.run([ROOT / "deploy/stand/stack.sh", "down", home / "stand"], stdout=subprocess.DEVNULL)
        shutil.rmtree(home, ignore_errors=True)
    at = lambda all, part: sorted(all)[min(len(all) - 1, int(len(all) * part))] * 1000
    lines = ["| gateway | calls | of each | P50 ms: idle / hammered | P99 ms: idle / hammered | ratio of P99 |", "|---|---|---:|---:|---:|---:|"]
    for gateway, name in enumerate(("the hammered one", "the other")):
        for kind in ("sending", "asking"):
            idle, loud = seen[gateway, False, kind], seen[gateway, True, kind]
            p50, p99 = ([at(all, part) for all in (idle, loud)] for part in (0.5, 0.99))
            shown = [f"{len(idle)}, {len(loud)}", f"{p50[0]:.1f} / {p50[1]:.1f}", f"{p99[0]:.1f} / {p99[1]:.1f}", f"{p99[1] / p99[0]:.2f}"]
            lines.append(f"| {name} | {kind} | {' | '.join(shown)} |")
    mean = lambda all: sum(all) / len(all) * 100
    lines += ["", f"CPU of the first gateway: {mean(shares[False]):.0f} % of a core, hammered {mean(shares[True]):.0f} %; {len(failed)} calls failed."]
    text = "\n".join(lines) + "\n"
    (ROOT / "target").mkdir(exist_ok=True)
    (ROOT / "target/gateways.md").write_text(text)
    print(text, end="")
    if failed:
        sys.exit("\n".join(failed[:5]))


if __name__ == "__main__":
    main()
