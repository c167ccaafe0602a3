#!/usr/bin/env python3
"""Rehearses the morning: on the stand, ten times the usual events and questions from 9 to 11, with as many pipeline workers as the autoscaler of the chart would start,
by the very metric that it reads. A minute of the day takes a second. Afterwards every event that was acknowledged must be there once. Writes what was
seen to target/spike.csv and target/spike.svg. PENSTOCK names the program; `spike.py EVENTS` says how many events a second are usual (4000: one worker is enough for ten times 1000)."""

import csv
import json
import math
import random
import sys
import threading
import time
import urllib.error
import urllib.request

from stand import ROOT, until, watched

WORKERS = ["pipeline-1", "pipeline-2", "pipeline-3"]
# The chart's: records a worker, and for how long fewer must have been enough (600 s), in the day's minutes.
LAG = 1000
CALM = 10
BATCH = 500
BEGIN, END = 8 * 60 + 30, 12 * 60


def times(minute):
    """How many times the usual load there is at a minute of the day."""
    climb = min(1, max(0, (minute - 9 * 60) / 10))
    fall = min(1, max(0, (minute - 11 * 60) / 10))
    return 1 + 9 * (climb - fall)


class Morning:
    """What is sent and asked, and what came of it."""

    def __init__(self, stand, usual):
        self.stand, self.usual, self.factor = stand, usual, 1.0
        self.stopped, self.lock = threading.Event(), threading.Lock()
        self.accepted, self.refused, self.seconds = 0, 0, []
        # Sent again and again: an event without an id gets one.
        self.bodies = [json.dumps([self.event() for _ in range(BATCH)]).encode() for _ in range(20)]
        self.count = 0

    @staticmethod
    def event():
        kind = random.choice(["purchase", "view"])
        return {"app_id": "xyz123", "event_type": kind, "user_id": f"u{random.randrange(10_000)}", "properties": {"purchase_amount": round(random.random() * 100, 2)}}

    def call(self, path, body):
        url = f"http://{random.choice(self.stand.gateways)}{path}"
        request = urllib.request.Request(url, body, {"authorization": f"Bearer {self.stand.key}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def paced(self, a_second, work):
        """`work` as often as it is due; what can't keep up is not made up for."""
        while not self.stopped.is_set():
            began = time.monotonic()
            work()
            self.stopped.wait(max(0.0, 1 / (a_second() * self.factor) - (time.monotonic() - began)))

    def send(self):
        try:
            accepted = self.call("/v1/events", random.choice(self.bodies))["accepted"]
        except (urllib.error.HTTPError, OSError):
            # Not acknowledged, perhaps there: then the count at the end is no proof.
            with self.lock:
                self.refused += 1
            return
        with self.lock:
            self.accepted += accepted

    def ask(self):
        hours = random.randrange(1, 24)
        sql = f"SELECT event_type, COUNT(*) AS n FROM events WHERE timestamp > now() - INTERVAL {hours} HOUR GROUP BY event_type"
        began = time.monotonic()
        try:
            self.call("/v1/sql", json.dumps({"sql": sql, "app_id": "xyz123"}).encode())
        except (urllib.error.HTTPError, OSError):
            return
        with self.lock:
            self.seconds.append(time.monotonic() - began)

    def start(self):
        senders, askers = 4, 4
        work = [(lambda: self.usual / BATCH / senders, self.send)] * senders + [(lambda: 1 / askers, self.ask)] * askers
        threads = [threading.Thread(target=self.paced, args=it, daemon=True) for it in work]
        for thread in threads:
            thread.start()
        return threads

    def p99(self):
        """Of the questions answered since it was asked last."""
        with self.lock:
            taken, self.seconds = sorted(self.seconds), []
        return taken[min(len(taken) - 1, int(len(taken) * 0.99))] if taken else None

    def stored(self):
        answer = self.call("/v1/sql", json.dumps({"sql": "SELECT COUNT(*) AS n FROM events", "app_id": "xyz123"}).encode())
        return answer["result"]["rows"][0]["values"][0]["integer"]


class Autoscaler:
    """The chart's: as many workers as the lag divided by LAG, more at once, fewer one by one after a calm."""

    def __init__(self, stand):
        self.stand, self.running, self.calm_since = stand, 1, None

    def look(self, lag, minute):
        wanted = min(len(WORKERS), max(1, math.ceil(lag / LAG)))
        if wanted > self.running:
            for name in WORKERS[self.running : wanted]:
                self.stand.do("start", name)
            self.running, self.calm_since = wanted, None
        elif wanted == self.running:
            self.calm_since = None
        elif self.calm_since is None:
            self.calm_since = minute
        elif minute - self.calm_since >= CALM:
            self.running -= 1
            self.stand.do("stop", WORKERS[self.running])
            self.calm_since = minute


def plot(rows):
    """Each column over the day, below one another."""
    shown = [("times the usual load", "times"), ("records behind", "lag"), ("workers", "workers"), ("P99 of questions, ms", "p99_ms")]
    width, height, left = 900, 140, 150
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + left + 20}" height="{len(shown) * (height + 30) + 20}" font-family="sans-serif" font-size="12">']
    for i, (title, name) in enumerate(shown):
        values = [(row["minute"], float(row[name])) for row in rows if row[name] != ""]
        most, top = max(value for _, value in values) or 1, i * (height + 30) + 10
        points = " ".join(f"{left + (minute - BEGIN) / (END - BEGIN) * width:.1f},{top + height - value / most * height:.1f}" for minute, value in values)
        parts.append(f'<text x="5" y="{top + 12}">{title}</text><text x="5" y="{top + 28}">most: {most:,.0f}</text>')
        parts.append(f'<polyline fill="none" stroke="#268" stroke-width="1.5" points="{points}"/>')
        for hour in range(9, 13):
            x = left + (hour * 60 - BEGIN) / (END - BEGIN) * width
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + height}" stroke="#ccc"/><text x="{x - 14:.1f}" y="{top + height + 14}">{hour}:00</text>')
    return "\n".join([*parts, "</svg>\n"])


def main():
    usual = float(sys.argv[1]) if len(sys.argv) > 1 else 4000.0
    with watched() as (stand, prometheus):
        for name in WORKERS[1:]:
            stand.do("stop", name)
        morning, scaler, rows = Morning(stand, usual), Autoscaler(stand), []
        threads = morning.start()
        began = time.monotonic()
        while (minute := BEGIN + time.monotonic() - began) < END:
            morning.factor = times(minute)
            lag = sum(float(sample["value"][1]) for sample in prometheus.series("max(penstock:lag_records:sum)"))
            scaler.look(lag, minute)
            p99 = morning.p99()
            rows.append({"minute": round(minute, 1), "times": morning.factor, "lag": lag, "workers": scaler.running, "p99_ms": "" if p99 is None else round(p99 * 1000)})
            time.sleep(1)
        morning.stopped.set()
        for thread in threads:
            thread.join()
        if morning.refused:
            sys.exit(f"{morning.refused} batches were not acknowledged")
        until("all that was acknowledged is there", lambda: morning.stored() >= morning.accepted)
        if (stored := morning.stored()) != morning.accepted:
            sys.exit(f"{morning.accepted} events were acknowledged, {stored} are there")
    target = ROOT / "target"
    target.mkdir(exist_ok=True)
    with (target / "spike.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (target / "spike.svg").write_text(plot(rows))
    if (most := max(row["workers"] for row in rows)) == 1:
        sys.exit("one worker was enough: rehearse with more events")
    ended = rows[-1]
    print(f"{morning.accepted} events acknowledged and there once; up to {most} workers, at the end {ended['workers']}; most behind: {max(row['lag'] for row in rows):,.0f}; target/spike.svg")


if __name__ == "__main__":
    main()
