#!/usr/bin/env python3
"""The dashboards, one panel a line; `dashboards.py write` makes the JSON that Grafana reads, `dashboards.py check` says whether it is up to date.

A query that a well house of one's own gives no series for says so (`rare`): nothing was refused yet, no ClickHouse server is there to scrape.
"""

import json
import pathlib
import sys
from dataclasses import dataclass

HERE = pathlib.Path(__file__).parent


# Histograms whose buckets name the trace of a call in them.
LED = ["penstock_call_seconds", "penstock_query_seconds"]


@dataclass(frozen=True)
class Panel:
    title: str
    unit: str
    # What a series is called -> its query.
    queries: dict[str, str]
    # Where the threshold of the alert, or the objective, is drawn.
    line: float | None = None
    kind: str = "timeseries"
    rare: bool = False


def stat(title, unit, query, line=None):
    return Panel(title, unit, {"": query}, line, "stat")


def top(query):
    return {"{{tenant}}": f"topk(20, {query})"}


def share(query):
    return top(f"{query} / on () group_left () (sum({query}) > 0)")


QUERY_CALLS = 'target=~"query|metrics"'

DASHBOARDS = {
    "overview": (
        "Penstock: overview",
        [
            stat("Events accepted", "cps", "penstock:accepted:rate5m"),
            stat("Records behind", "short", "penstock:lag_records:sum", 5000),
            stat("Queries failing", "percentunit", 'penstock:slo_burn:5m{slo="query-errors"} * on (slo) penstock:slo_budget:ratio', 0.001),
            stat("Processes away", "short", 'count(up{job="penstock"}) - sum(up{job="penstock"})', 1),
            Panel("Budget burnt, times too fast (1 h)", "short", {"{{slo}}": "penstock:slo_burn:1h"}, 1),
            Panel("Calls", "reqps", {"{{target}}": "penstock:calls:rate5m"}),
            Panel("Calls that failed by the house's fault", "reqps", {"{{target}}": "penstock:calls_failed:rate5m"}),
            Panel("Alerts", "short", {"{{alertname}} {{severity}}": 'sum by (alertname, severity) (ALERTS{alertstate="firing"})'}, rare=True),
            Panel("Processes that answer", "short", {"{{component}}": 'sum by (component) (up{job="penstock"})'}),
            Panel("Processes well, as their callers see it", "short", {"{{role}}": "min by (role) (sum by (role, instance) (penstock_upstream_healthy))"}),
            Panel("Calls tried again", "reqps", {"{{role}}": "sum by (role) (rate(penstock_upstream_retries_total[5m]))"}, rare=True),
            Panel("Cache failures", "ops", {"{{operation}}": "sum by (operation) (rate(penstock_cache_failures_total[5m]))"}, rare=True),
            Panel("Metastore failures", "ops", {"{{instance}}": "rate(penstock_metastore_failures_total[5m])"}, rare=True),
            Panel("Cores in use", "short", {"{{component}}": "penstock:cpu:rate5m"}),
            Panel("Memory", "bytes", {"{{component}} {{instance}}": 'process_resident_memory_bytes{job="penstock"}'}),
            Panel("Open files, of those allowed", "percentunit", {"{{instance}}": "penstock:open_files:ratio"}, 0.8),
            Panel("Disk left", "percentunit", {"{{instance}}": "penstock:disk_free:ratio"}),
        ],
    ),
    # The house has hundreds of tenants: each panel shows those that take most.
    "tenants": (
        "Penstock: tenants",
        [
            Panel("Events accepted", "cps", top("penstock:tenant_events:rate5m")),
            Panel("Bytes of events", "Bps", top("penstock:tenant_event_bytes:rate5m")),
            Panel(
                "Events rejected",
                "cps",
                top('sum by (tenant) (rate(penstock_tenant_events_total{verdict="rejected"}[5m]))'),
            ),
            Panel("Calls", "reqps", top("sum by (tenant) (rate(penstock_tenant_calls_total[5m]))")),
            Panel("Calls refused", "reqps", top('sum by (tenant) (rate(penstock_tenant_calls_total{outcome="refused"}[5m]))')),
            Panel("Calls failed", "reqps", top('sum by (tenant) (rate(penstock_tenant_calls_total{outcome="failed"}[5m]))')),
            Panel(
                "Calls that took longer than 0.5 s",
                "percentunit",
                top(
                    '1 - sum by (tenant) (rate(penstock_tenant_call_seconds_bucket{le="0.5"}[5m]))'
                    " / sum by (tenant) (rate(penstock_tenant_call_seconds_count[5m]))"
                ),
            ),
            Panel("Queries running, in the mean", "short", top("penstock:tenant_query_seconds:rate5m")),
            Panel("Bytes read by queries", "Bps", top("penstock:tenant_read_bytes:rate5m")),
        ],
    ),
    # `penstock cost` puts prices to these.
    "cost": (
        "Penstock: cost",
        [
            Panel("Cores in use", "short", {"{{component}}": "penstock:cpu:rate5m"}),
            Panel(
                "Core seconds for a million events accepted",
                "s",
                {"all processes": "1e6 * sum(penstock:cpu:rate5m) / (penstock:accepted:rate5m > 0)"},
            ),
            Panel("Share of the events' bytes", "percentunit", share("penstock:tenant_event_bytes:rate5m")),
            Panel("Share of the queries' time", "percentunit", share("penstock:tenant_query_seconds:rate5m")),
            Panel("Share of the bytes read", "percentunit", share("penstock:tenant_read_bytes:rate5m")),
            Panel(
                "Bytes on the wire of one event",
                "bytes",
                top("penstock:tenant_event_bytes:rate5m / (penstock:tenant_events:rate5m > 0)"),
            ),
        ],
    ),
    "ingest": (
        "Penstock: ingest and pipeline",
        [
            stat("Accepted", "cps", "penstock:accepted:rate5m"),
            stat("Stored or accounted for", "cps", "penstock:processed:rate5m"),
            stat("Records behind", "short", "penstock:lag_records:sum", 5000),
            stat("Age of the oldest event not yet to be queried", "s", "max(penstock_ingest_pipeline_lag_seconds)", 5),
            Panel("Events by verdict", "cps", {"{{verdict}}": "sum by (verdict) (rate(penstock_ingest_events_total[5m]))"}),
            Panel("Events by outcome", "cps", {"{{outcome}}": "sum by (outcome) (rate(penstock_pipeline_events_total[5m]))"}),
            Panel("Lag by partition", "short", {"{{partition}}": "max by (partition) (penstock_pipeline_lag_records)"}, 5000),
            Panel("Kafka's lag by partition, of committed offsets", "short", {"{{partition}}": "max by (partition) (penstock_log_group_lag_records)"}),
            Panel(
                "From arrival to stored, by block",
                "s",
                {
                    f"p{p}": f"histogram_quantile({p / 100}, sum by (le) (rate(penstock_pipeline_delay_seconds_bucket[5m])))"
                    for p in (50, 95, 99)
                },
                5,
            ),
            Panel(
                "Time to acknowledge",
                "s",
                {f"p{p}": f'penstock:call_seconds:p{p}_5m{{target="ingest"}}' for p in (50, 95, 99)},
            ),
            Panel(
                "Bytes in hand, by process",
                "bytes",
                {
                    "in flight {{instance}}": "penstock_ingest_in_flight_bytes",
                    "receiving {{instance}}": "penstock_ingest_receiving_bytes",
                },
            ),
            Panel("Batches refused", "reqps", {"{{by}}": "sum by (by) (rate(penstock_ingest_refused_total[5m]))"}, rare=True),
            Panel("Records that can't be read or lie wrong", "short", {"records": "penstock:unreadable_records:sum"}, 1),
            Panel("Tee: events too large for a topic", "cps", {"left out": "sum(rate(penstock_pipeline_tee_too_large_total[5m]))"}, rare=True),
        ],
    ),
    "query": (
        "Penstock: queries",
        [
            stat("Median", "s", 'penstock:call_seconds:p50_5m{target="query"}', 0.2),
            stat("P95", "s", 'penstock:call_seconds:p95_5m{target="query"}', 0.5),
            stat("P99", "s", 'penstock:call_seconds:p99_5m{target="query"}', 2),
            stat("Failing", "percentunit", 'penstock:slo_burn:5m{slo="query-errors"} * on (slo) penstock:slo_budget:ratio', 0.001),
            Panel(
                "Time to the head of the answer",
                "s",
                {f"p{p}": f'penstock:call_seconds:p{p}_5m{{target="query"}}' for p in (50, 95, 99)},
                2,
            ),
            Panel("Calls by outcome", "reqps", {"{{code}}": f"sum by (code) (rate(penstock_calls_total{{{QUERY_CALLS}}}[5m]))"}),
            Panel(
                "Queries in hand",
                "short",
                {
                    "{{class}}, running": "sum by (class) (penstock_query_running)",
                    "{{class}}, waiting": "sum by (class) (penstock_query_waiting)",
                },
            ),
            Panel(
                "Waited for a place, P99",
                "s",
                {"{{class}}": "histogram_quantile(0.99, sum by (class, le) (rate(penstock_query_wait_seconds_bucket[5m])))"},
            ),
            Panel("Answers by route", "reqps", {"{{route}}": "sum by (route) (rate(penstock_query_seconds_count[5m]))"}),
            Panel(
                "Time to the whole answer by route, P95",
                "s",
                {"{{route}}": "histogram_quantile(0.95, sum by (route, le) (rate(penstock_query_seconds_bucket[5m])))"},
            ),
            Panel("Refused, as the house was full", "reqps", {"{{class}}": "sum by (class) (rate(penstock_query_refused_total[5m]))"}, rare=True),
            Panel("Computed once for several", "reqps", {"shared": "sum(rate(penstock_query_shared_total[5m]))"}),
            Panel("Subscriptions", "short", {"{{instance}}": "penstock_query_subscriptions"}),
            Panel(
                "States of aggregates",
                "ops",
                {
                    "buckets built": "sum(rate(penstock_states_built_total[5m]))",
                    "questions answered from them": "sum(rate(penstock_states_used_total[5m]))",
                },
            ),
            Panel("States refused: too many groups", "ops", {"refused": "sum(rate(penstock_states_refused_total[5m]))"}, rare=True),
            Panel("Warehouse away, as a query process sees it", "short", {"{{instance}}": "penstock_query_warehouse_away"}, 1, rare=True),
            Panel("ClickHouse: cores in use", "percentunit", {"{{instance}}": "clickhouse:cpu:ratio"}, 0.7, rare=True),
            Panel("ClickHouse: memory in use", "percentunit", {"{{instance}}": "clickhouse:memory:ratio"}, 0.85, rare=True),
            Panel("ClickHouse: disk in use", "percentunit", {"{{instance}}": "clickhouse:disk:ratio"}, 0.8, rare=True),
        ],
    ),
}


def panel_json(number, panel, x, y):
    width, height = (6, 4) if panel.kind == "stat" else (12, 8)
    steps = [{"color": "green", "value": None}]
    if panel.line is not None:
        steps.append({"color": "red", "value": panel.line})
    defaults = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        shown = "off" if panel.line is None else "line"
        defaults["custom"] = {"fillOpacity": 10, "showPoints": "never", "thresholdsStyle": {"mode": shown}}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": {"type": "prometheus", "uid": "prometheus"},
        "gridPos": {"x": x, "y": y, "w": width, "h": height},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + i), "expr": query, "legendFormat": name}
            | ({"exemplar": True} if any(f"{led}_bucket" in query for led in LED) else {})
            for i, (name, query) in enumerate(panel.queries.items())
        ],
    }


def dashboard_json(name, title, panels):
    x = y = row = 0
    placed = []
    for number, panel in enumerate(panels, 1):
        width, height = (6, 4) if panel.kind == "stat" else (12, 8)
        if x + width > 24 or (x > 0 and height != row):
            x, y = 0, y + row
        row = height
        placed.append(panel_json(number, panel, x, y))
        x += width
    return {
        "uid": f"penstock-{name}",
        "title": title,
        "tags": ["penstock"],
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "links": [{"type": "dashboards", "title": "Penstock", "tags": ["penstock"], "asDropdown": False, "includeVars": False, "keepTime": True}],
        "panels": placed,
    }


def files():
    for name, (title, panels) in DASHBOARDS.items():
        yield HERE / "dashboards" / f"{name}.json", json.dumps(dashboard_json(name, title, panels), indent=1) + "\n"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write"]:
            for path, text in files():
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
        case ["check"]:
            old = [path.name for path, text in files() if not path.exists() or path.read_text() != text]
            if old:
                sys.exit(f"not what dashboards.py says: {', '.join(old)}; run deploy/monitoring/grafana/dashboards.py write")
        case _:
            sys.exit(__doc__)
