#!/usr/bin/env python3
"""What a house needs and costs, from what was measured and what is assumed: `sizing.py write` puts the tables into docs/sizing.md, `sizing.py check` says
whether they are up to date. `sizing.py print BENCH.json` takes the measures from a run of `make bench` of yours instead."""

import json
import math
import pathlib
import sys
import tomllib
from dataclasses import dataclass

HERE = pathlib.Path(__file__).parent
PAGE = HERE.parents[1] / "docs/sizing.md"
BEGIN, END = "<!-- sizing.py: -->\n", "<!-- :sizing.py -->\n"
DAY = 86_400


@dataclass(frozen=True)
class House:
    name: str
    events_a_day: float
    tenants: int
    # Who look at dashboards at the same time in the busiest hour.
    viewers: int


@dataclass(frozen=True)
class Assumed:
    """Not measured: each is a number to put your own in for. Those that `penstock cost` needs too stand in prices.toml, and are said there."""

    busy: float
    full: float
    disk_days: float
    bucket_days: float
    log_days: float
    log_copies: int
    warehouse_copies: int
    crossings: float

    # Events in the busiest hour against the mean.
    event_peak: float = 2
    # Questions of one who looks: a dashboard of ten tiles, anew every five minutes.
    questions_a_minute: float = 2
    # What the pipeline keeps of an event's identity for a day, in memory: as its source says (seen.rs), and as `make soak` sees it.
    identity_bytes: float = 27
    # A cluster against one process: Kafka's client, TLS between roles. Not measured.
    apart: float = 2
    # Of twenty questions nineteen are put together from what is kept, and read the events of the last hour; one reads a week.
    kept: float = 0.95
    kept_hours: float = 1
    raw_hours: float = 7 * 24


HOUSES = [
    House("a small house", 1_000 * DAY, 20, 100),
    House("the seed", 2e9, 200, 3_000),
    House("ten times the seed", 2e10, 2_000, 30_000),
]


def from_bench(path):
    bench = json.loads(pathlib.Path(path).read_text())
    penstock, stored, seed = bench["penstock"], bench["stored"], bench["readings"][0]
    return {
        "events": penstock["events"],
        "roles_cpu_s": penstock["cpu"]["server_s"],
        "warehouse_cpu_s": penstock["cpu"]["warehouse_s"],
        "json_bytes": stored["json_bytes"] / stored["events"],
        "stored_bytes": stored["disk_bytes"] / stored["events"],
        "rows_read": bench["events_read"],
        "seed_query_s": seed["cold"]["p50_ms"] / 1000,
        "cores": bench["machine"]["cores"],
        "queryable_per_second": penstock["queryable_per_second"],
        "partitions": 4,
    }


def size(house, measured, assumed):
    """The needs of a house; every line is one formula of docs/sizing.md."""
    mean = house.events_a_day / DAY
    peak = mean * assumed.event_peak
    questions = house.viewers * assumed.questions_a_minute / 60
    a_core_reads = measured["rows_read"] / measured["seed_query_s"] / measured["cores"]
    rows_an_hour = mean * 3600 / house.tenants
    rows_a_question = rows_an_hour * (assumed.kept * assumed.kept_hours + (1 - assumed.kept) * assumed.raw_hours)
    roles = peak / (measured["events"] / measured["roles_cpu_s"]) * assumed.apart / assumed.busy
    inserts = peak / (measured["events"] / measured["warehouse_cpu_s"]) * assumed.warehouse_copies / assumed.busy
    reads = questions * rows_a_question / a_core_reads / assumed.busy
    gb = house.events_a_day * measured["stored_bytes"] / 1e9
    a_partition_takes = measured["queryable_per_second"] / measured["partitions"]
    return {
        "events a second, mean and peak": f"{mean:,.0f} / {peak:,.0f}",
        "questions a second, peak": questions,
        "rows that a question reads, mean": rows_a_question,
        "cores for the roles": roles,
        "GB of memory for a day's identities": house.events_a_day * assumed.identity_bytes / 1e9,
        "cores of ClickHouse for inserts": inserts,
        "cores of ClickHouse for questions": reads,
        "partitions, at least": 2 ** math.ceil(math.log2(max(8, 4 * peak / a_partition_takes))),
        "TB on ClickHouse's disks": gb * assumed.disk_days * assumed.warehouse_copies / assumed.full / 1000,
        "TB in the bucket": gb * assumed.bucket_days / 1000,
        "TB in Kafka": house.events_a_day * measured["json_bytes"] * assumed.log_days * assumed.log_copies / assumed.full / 1e12,
        "TB a month across zones": house.events_a_day * 30 * measured["json_bytes"] * assumed.crossings / 1e12,
    }


def cost(needs, prices):
    hours, node = prices["hours_a_month"], prices["roles_node"]
    of_memory = needs["GB of memory for a day's identities"] / node["gb"] / prices["assumed"]["busy"]
    role_nodes = max(3, math.ceil(needs["cores for the roles"] / node["cores"]), math.ceil(of_memory))
    # Half of the roles' nodes may be spot: pipeline and query.
    role_hour = node["hour"]
    on_spot = role_nodes // 2
    servers = math.ceil((needs["cores of ClickHouse for inserts"] + needs["cores of ClickHouse for questions"]) / prices["warehouse_node"]["cores"])
    brokers = max(3, math.ceil(needs["TB in Kafka"] / 16))
    return {
        "nodes of the roles": (role_nodes - on_spot + on_spot * prices["spot_of_list"]) * role_hour * hours,
        "ClickHouse": servers * prices["warehouse_node"]["hour"] * hours,
        "ClickHouse's disks": needs["TB on ClickHouse's disks"] * 1000 * prices["disk_gb_month"],
        "the bucket": needs["TB in the bucket"] * 1000 * prices["bucket_gb_month"],
        "Kafka": brokers * prices["kafka_broker_hour"] * hours + needs["TB in Kafka"] * 1000 * prices["kafka_gb_month"],
        "PostgreSQL, Redis, the cluster": (prices["postgres_hour"] + prices["redis_hour"] + prices["cluster_hour"]) * hours,
        "between zones": needs["TB a month across zones"] * 1000 * prices["between_zones_gb"],
    }, {"nodes of the roles": role_nodes, "servers of ClickHouse": servers, "brokers of Kafka": brokers}


def shown(value):
    match value:
        case str():
            return value
        case int():
            return f"{value:,}"
        case _:
            return f"{value:,.2f}" if value < 1 else f"{value:,.1f}" if value < 10 else f"{value:,.0f}"


def table(head, rows):
    lines = [f"| | {' | '.join(head)} |", f"|---|{'---:|' * len(head)}"]
    return "\n".join(lines + [f"| {name} | {' | '.join(map(shown, values))} |" for name, values in rows]) + "\n"


def tables(measured):
    prices = tomllib.loads((HERE / "prices.toml").read_text())
    head = [house.name for house in HOUSES]
    needs = [size(house, measured, Assumed(**prices["assumed"])) for house in HOUSES]
    costs, counts = zip(*(cost(need, prices) for need in needs))
    sums = [sum(it.values()) for it in costs]
    a_million = [f"{total / (house.events_a_day * 30 / 1e6):.3f}" for total, house in zip(sums, HOUSES)]
    return "\n".join(
        [
            table(head, [(name, [need[name] for need in needs]) for name in needs[0]]),
            table(head, [(name, [count[name] for count in counts]) for name in counts[0]]),
            table(
                [f"{name}, $ a month" for name in head],
                [(name, [f"{it[name]:,.0f}" for it in costs]) for name in costs[0]]
                + [("**all**", [f"{total:,.0f}" for total in sums]), ("$ a million events", a_million)],
            ),
        ]
    )


def page():
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    return before + BEGIN + "\n" + tables(json.loads((HERE / "measured.json").read_text())) + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write"]:
            PAGE.write_text(page())
        case ["check"]:
            if page() != PAGE.read_text():
                sys.exit("docs/sizing.md is not what deploy/sizing says; run deploy/sizing/sizing.py write")
        case ["print", bench]:
            print(tables(from_bench(bench)))
        case _:
            sys.exit(__doc__)
