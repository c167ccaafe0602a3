#!/usr/bin/env python3
"""Rehearses an upgrade as docs/upgrading.md has it: on the stand, under load, each process of the program of before is drained and this one's started in its place, in the
page's order. Says what users saw, role by role, in target/upgrade.md, and fails if anything acknowledged was lost or counted twice, if an answer was wrong, or if users saw
anything but that a gateway or the warehouse was away for as long as it took to start. PENSTOCK names this program, BEFORE the one of before."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from chaos import CUT, Users
from stand import ROOT, STACK, Stand

PAGE = ROOT / "docs/upgrading.md"
# How long there is load before, after, and between two processes.
AROUND = 5.0


def order():
    """The roles in the page's order; the stand's warehouse, which elsewhere is no process of ours, last."""
    rows = re.findall(r"^ *\| \d+ \| ([a-z, ]+) \|", PAGE.read_text(), re.MULTILINE)
    return [role for row in rows for role in row.split(", ")] + ["warehouse"]


def upgraded(stand, users, role, program):
    """Replaces the role's processes one by one; the row of the table, and what is wrong with it."""
    names = sorted(path.parent.name for path in stand.dir.glob(f"{role}*/pid"))
    users.phase, began = role, time.monotonic()
    before = {kind: codes.copy() for kind, codes in users.errors.items()}
    for name in names:
        stand.do("stop", name)
        stand.do("start", name, PENSTOCK=program)
        if os.readlink(f"/proc/{stand.pid(name)}/exe") != program:
            raise SystemExit(f"{name} runs another program than {program}")
        time.sleep(AROUND)
    seconds = time.monotonic() - began - AROUND * len(names)
    with users.lock:
        saw = {kind: codes - before[kind] for kind, codes in users.errors.items()}
        answered = {kind: sorted(users.seconds[kind, role]) for kind in saw}
    may = {"gateway": {CUT}, "warehouse": {"UNAVAILABLE", "DEADLINE_EXCEEDED"}}.get(role, set())
    wrong = [f"{role}: {kind} saw {code}, {count} times" for kind, codes in saw.items() for code, count in codes.items() if code not in may]
    said = lambda codes: ", ".join(f"{code} {count}" for code, count in codes.most_common()) or "none"
    p99 = lambda taken: f"{taken[min(len(taken) - 1, int(len(taken) * 0.99))] * 1000:,.0f}" if taken else "-"
    row = [role, str(len(names)), f"{seconds:.1f}", *(said(saw[kind]) for kind in ("sending", "asking")), *(p99(answered[kind]) for kind in ("sending", "asking"))]
    print(" | ".join(row), flush=True)
    return row, wrong


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    now = str(pathlib.Path(os.environ.get("PENSTOCK", ROOT / "target/release/penstock")).resolve())
    before = os.environ.get("BEFORE") or sys.exit("BEFORE names the program that is upgraded")
    home = pathlib.Path(tempfile.mkdtemp(prefix="penstock-upgrade-"))
    home.chmod(0o755)  # PostgreSQL runs as a user of its own
    rows, wrong = [], []
    try:
        stand = Stand(home, PENSTOCK=before)
        users = Users(stand)
        time.sleep(AROUND)
        for role in order():
            row, faulty = upgraded(stand, users, role, now)
            rows.append(row)
            wrong += faulty
        users.phase = "after"
        if users.comes_back() is None:
            wrong.append("it did not come back")
        lost, doubled = users.settle()
        total = sum(count for count, _ in users.acknowledged.values())
        wrong += users.wrong + [f"{lost} acknowledged events are lost"] * bool(lost) + [f"{doubled} events count twice"] * bool(doubled)
    finally:
        subprocess.run([STACK, "down", home / "stand"], stdout=subprocess.DEVNULL)
        shutil.rmtree(home, ignore_errors=True)
    head = ["role", "processes", "seconds", "sending saw", "asking saw", "P99 of sending, ms", "P99 of asking, ms"]
    lines = [head, ["---", "---:", "---:", "---", "---", "---:", "---:"], *rows]
    target = ROOT / "target/upgrade.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n" + "".join(f"\n{what}" for what in wrong))
    if wrong:
        sys.exit("\n".join(wrong[:20]))
    print(f"{total} events acknowledged, each there once, and every answer right; target/upgrade.md")


if __name__ == "__main__":
    main()
