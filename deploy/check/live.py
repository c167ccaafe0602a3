#!/usr/bin/env python3
"""Runs the monitoring for real: the stand (every role in processes of its own, on Kafka, PostgreSQL and Redis) under load, Prometheus with our
configuration beside it. Every query of every dashboard must answer with a series, every rule must be computed without an error, and a warehouse that is killed
must raise its alert. PENSTOCK names the program."""

import importlib.util
import json
import random
import sys
import threading
import time
import urllib.error
import urllib.request

from stand import ROOT, until, watched


def dashboards():
    spec = importlib.util.spec_from_file_location("dashboards", ROOT / "deploy/monitoring/grafana/dashboards.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["dashboards"] = module
    spec.loader.exec_module(module)
    return module.DASHBOARDS


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
    def event(hours=0):
        at = time.time() - random.random() * hours * 3600
        return {
            "app_id": "xyz123",
            "event_type": random.choice(["purchase", "view"]),
            "user_id": f"u{random.randrange(1000)}",
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)),
            "properties": {"purchase_amount": random.random() * 100},
        }

    def write(self):
        # Late ones at first alone: each takes what is kept of its hour.
        hours = [20] * 20
        while not self.stopped.wait(0.1):
            late = hours.pop() if hours else 0
            self.call("/v1/events", [self.event(late) for _ in range(200)] + [{"app_id": "xyz123", "event_type": ""}])

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
    stand.do("kill", "warehouse")
    until("the killed warehouse raises its alert", lambda: prometheus.series('ALERTS{alertname="PenstockWarehouseAway"}'))
    until("its process is missed", lambda: prometheus.series('ALERTS{alertname="PenstockRoleAway",component="warehouse"}'))
    until("its failed queries are counted as the house's fault", lambda: prometheus.series('penstock:calls_failed:rate5m{target="query"} > 0'))
    until("the budget of failed queries burns", lambda: prometheus.series('penstock:slo_burn:5m{slo="query-errors"} > 14.4'))
    print("a killed warehouse raises PenstockWarehouseAway and PenstockRoleAway, and its failed queries burn their budget")


def main():
    with watched() as (stand, prometheus):
        load = Load(stand.gateways, stand.key)
        try:
            check(prometheus, stand)
        finally:
            load.stopped.set()
            print("calls by path and status:", dict(sorted(load.answered.items())))


if __name__ == "__main__":
    main()
