#!/usr/bin/env python3
"""Runs the monitoring for real: the stand (every role in processes of its own, on Kafka, PostgreSQL and Redis) under load, Prometheus with our
configuration beside it. Every query of every dashboard must answer with a series, every rule must be computed without an error, and a warehouse that is killed
must raise its alert. PENSTOCK names the program."""

import importlib.util
import json
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
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
STACK = ROOT / "deploy/stand/stack.sh"
PATIENCE = 180.0


def dashboards():
    spec = importlib.util.spec_from_file_location("dashboards", ROOT / "deploy/monitoring/grafana/dashboards.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["dashboards"] = module
    spec.loader.exec_module(module)
    return module.DASHBOARDS


def until(what, check):
    """The first true answer of `check`; the end of the run if none comes."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        answer = check()
        if answer:
            return answer
        time.sleep(0.5)
    raise SystemExit(f"in vain: {what}")


class Load:
    """Events, queries, metrics and a subscription, over both gateways, until it is stopped."""

    def __init__(self, gateways, key):
        self.gateways, self.key, self.stopped = gateways, key, threading.Event()
        self.answered = {}
        metric = {
            "name": "revenue",
            "formula": "SUM(purchase_amount)",
            "materialize": True,
            "filters": [{"field": "event_type", "op": "FILTER_OP_EQ", "values": [{"string": "purchase"}]}],
        }
        self.call("/v1/events", [self.event()])  # the property must be known
        until("the metric is defined", lambda: self.call("/v1/apps/xyz123/metrics", {"definition": metric}) in (200, 409))
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self.write, self.ask, self.ask, self.evaluate, self.follow)]
        for thread in self.threads:
            thread.start()

    def request(self, path, body):
        url = f"http://{random.choice(self.gateways)}{path}"
        return urllib.request.Request(url, json.dumps(body).encode(), {"authorization": f"Bearer {self.key}"})

    def call(self, path, body):
        try:
            with urllib.request.urlopen(self.request(path, body), timeout=30) as answer:
                answer.read()
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
        except OSError:
            status = 0
        self.answered[path, status] = self.answered.get((path, status), 0) + 1
        return status

    @staticmethod
    def event():
        at = time.time() - random.random() * 20 * 3600
        return {
            "app_id": "xyz123",
            "event_type": random.choice(["purchase", "view"]),
            "user_id": f"u{random.randrange(1000)}",
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)),
            "properties": {"purchase_amount": random.random() * 100},
        }

    def write(self):
        while not self.stopped.wait(0.1):
            self.call("/v1/events", [self.event() for _ in range(200)] + [{"app_id": "xyz123", "event_type": ""}])

    def ask(self):
        # The two who ask send the same text at about the same time: computed once.
        while not self.stopped.wait(0.2):
            sql = "SELECT event_type, COUNT(*) AS events, COUNT(DISTINCT user_id) AS users FROM events GROUP BY event_type"
            self.call("/v1/sql", {"sql": sql, "app_id": "xyz123"})

    def evaluate(self):
        while not self.stopped.wait(0.5):
            self.call("/v1/apps/xyz123/metrics/revenue:evaluate", {"evaluation": {"range": {"last": "72000s"}}})

    def follow(self):
        body = {"query": {"app_id": "xyz123", "measures": [{"name": "n", "formula": "COUNT(*)"}]}}
        while not self.stopped.wait(1):
            try:
                with urllib.request.urlopen(self.request("/v1/subscribe", body), timeout=30) as answer:
                    while not self.stopped.is_set() and answer.readline():
                        pass
            except OSError:
                pass


class Prometheus:
    def __init__(self, programs, stand, home):
        ours = ROOT / "deploy/monitoring/prometheus"
        (home / "targets").mkdir(parents=True)
        shutil.copytree(ours / "rules", home / "rules")
        # Minutes instead of hours: everything is looked at every two seconds.
        for path in (home / "rules").glob("*.yml"):
            path.write_text(path.read_text().replace("interval: 30s", "interval: 2s"))
        text = (ours / "prometheus.yml").read_text()
        (home / "prometheus.yml").write_text(text.replace("scrape_interval: 15s", "scrape_interval: 2s").replace("evaluation_interval: 30s", "evaluation_interval: 2s"))
        targets = [
            {"targets": [path.read_text().strip()], "labels": {"component": path.parent.name.rsplit("-", 1)[0]}}
            for path in sorted(stand.glob("*/ops"))
        ]
        (home / "targets/stand.yml").write_text(json.dumps(targets))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.log = (home / "log").open("w")
        self.process = subprocess.Popen(
            [f"{programs}/prometheus", "--config.file", home / "prometheus.yml", "--storage.tsdb.path", home / "data", "--web.listen-address", self.url.removeprefix("http://")],
            stdout=self.log,
            stderr=self.log,
        )
        until("Prometheus is ready", self.is_ready)

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def get(self, path, **parameters):
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{parameters}: {error.read().decode()}") from error

    def series(self, query):
        return [sample for sample in self.get("query", query=query)["result"] if sample["value"][1] != "NaN"]


def check(prometheus, stand):
    panels = [(title, panel) for title, panels in dashboards().values() for panel in panels]
    queries, empty = 0, []
    for title, panel in panels:
        for query in panel.queries.values():
            queries += 1
            if panel.rare:
                if not prometheus.series(query):
                    empty.append(f"{title}, {panel.title}")
            else:
                until(f"{title}, {panel.title}: a series of {query}", lambda query=query: prometheus.series(query))
    print(f"{queries} queries of {len(panels)} panels answer; without a series, as they may be on a well stand: {'; '.join(empty) or 'none'}")

    def computed():
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        failed = [f"{rule['name']}: {rule['lastError']}" for rule in rules if rule["health"] == "err"]
        if failed:
            raise SystemExit("\n".join(failed))
        return rules if all(rule["health"] == "ok" for rule in rules) else None

    print(f"{len(until('every rule is computed', computed))} rules are computed")
    up = prometheus.series('up{job="penstock"} == 0')
    if up:
        raise SystemExit(f"not scraped: {up}")
    firing = prometheus.series('ALERTS{alertstate="firing",severity="page"}')
    if firing:
        raise SystemExit(f"pages on a well stand: {firing}")
    subprocess.run([STACK, "kill", stand, "warehouse"], check=True)
    until("the killed warehouse raises its alert", lambda: prometheus.series('ALERTS{alertname="PenstockWarehouseAway"}'))
    until("its process is missed", lambda: prometheus.series('ALERTS{alertname="PenstockRoleAway",component="warehouse"}'))
    print("a killed warehouse raises PenstockWarehouseAway and PenstockRoleAway")


def main():
    programs = subprocess.run([ROOT / "deploy/tools/prometheus.sh"], check=True, capture_output=True, text=True).stdout.strip()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    home = pathlib.Path(tempfile.mkdtemp(prefix="penstock-monitoring-"))
    home.chmod(0o755)  # PostgreSQL runs as a user of its own
    stand = home / "stand"
    prometheus = load = None
    try:
        subprocess.run([STACK, "up", stand], check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PARENT": str(os.getpid())})
        load = Load((stand / "gateways").read_text().split(), (stand / "admin-1/demo.key").read_text().strip())
        prometheus = Prometheus(programs, stand, home / "prometheus")
        check(prometheus, stand)
    finally:
        if load:
            load.stopped.set()
            print("calls by path and status:", dict(sorted(load.answered.items())))
        if prometheus:
            prometheus.process.terminate()
            prometheus.process.wait()
        subprocess.run([STACK, "down", stand], stdout=subprocess.DEVNULL)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
