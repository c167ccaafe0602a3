#!/usr/bin/env python3
"""Whether deploy/monitoring is true: every alert has a runbook that is there and a test, every metric of Penstock is one that the program has; whether every
link between documents leads somewhere, and the image has the toolchain of the repository."""

import pathlib
import re
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy/monitoring"
# Made while the documentation is built, which then looks at the links to it.
MADE = ROOT / "docs/reference/api.md"
wrong = []


def tracked(*patterns):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "--", *patterns], cwd=ROOT, check=True, capture_output=True, text=True)
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def anchors(text):
    """What `#...` can lead to in a page of Markdown, as forges make it of its headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def resolves(base, link):
    path, _, anchor = link.partition("#")
    target = (base / path) if path else None
    if target is not None and target.resolve() == MADE:
        return True
    if target is None or not target.exists():
        return False
    return not anchor or anchor in anchors(target.read_text())


def rules(name):
    groups = yaml.safe_load((MONITORING / f"prometheus/rules/{name}.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def check_alerts():
    objectives = {rule["labels"]["slo"] for rule in rules("recording") if "slo" in rule.get("labels", {})}
    tests = [yaml.safe_load(path.read_text()) for path in (MONITORING / "prometheus/tests").glob("*.yml")]
    fired = {
        case["alertname"]
        for file in tests
        for test in file["tests"]
        for case in test.get("alert_rule_test", [])
        if case.get("exp_alerts")
    }
    linked = set()
    for rule in rules("alerts"):
        name, notes = rule["alert"], rule.get("annotations", {})
        if rule.get("labels", {}).get("severity") not in ("page", "ticket"):
            wrong.append(f"{name}: severity is page or ticket")
        if not notes.get("summary"):
            wrong.append(f"{name}: has no summary")
        if name not in fired:
            wrong.append(f"{name}: no test in prometheus/tests sees it fire")
        template = notes.get("runbook", "")
        of_each = objectives if "{{ $labels.slo }}" in template else {""}
        for link in (template.replace("{{ $labels.slo }}", slo) for slo in of_each):
            linked.add(ROOT / link.partition("#")[0])
            if not resolves(ROOT, link):
                wrong.append(f"{name}: its runbook {link!r} is not there")
    for path in (ROOT / "docs/runbooks").glob("*.md"):
        if path not in linked and path.name != "README.md":
            wrong.append(f"{path.relative_to(ROOT)}: no alert leads there")


def check_metrics():
    source = "\n".join(path.read_text() for path in tracked("services/*.rs", "libs/*.rs") if "/tests/" not in str(path))
    known = set(re.findall(r'"(penstock_[a-z_]+)"', source))
    boards = [*(MONITORING / "grafana/dashboards").glob("*.json")]
    places = [*(MONITORING / "prometheus").rglob("*.yml"), *boards, *(ROOT / "docs/runbooks").glob("*.md")]
    for path in places:
        for name in set(re.findall(r"(?<![\w:])penstock_[a-z_]+", path.read_text())):
            if name not in known and re.sub(r"_(bucket|count|sum)$", "", name) not in known:
                wrong.append(f"{path.relative_to(ROOT)}: the program has no metric {name}")
    recorded = {rule["record"] for rule in rules("recording")}
    for path in [MONITORING / "prometheus/rules/alerts.yml", *boards]:
        for name in set(re.findall(r"\b(?:penstock|clickhouse):[a-z_]+:[a-z0-9_]+", path.read_text())):
            if name not in recorded:
                wrong.append(f"{path.relative_to(ROOT)}: nothing records {name}")


def check_links():
    for path in tracked("*.md"):
        text = path.read_text()
        for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            if re.match(r"[a-z]+:", link):
                continue
            if link.startswith("#"):
                link = path.name + link
            if not resolves(path.parent, link):
                wrong.append(f"{path.relative_to(ROOT)}: the link {link} leads nowhere")


def check_toolchain():
    """The image compiles with what everybody compiles with."""
    channel = re.search(r'channel = "([^"]+)"', (ROOT / "rust-toolchain.toml").read_text())[1]
    if f"FROM rust:{channel}-" not in (ROOT / "deploy/images/Dockerfile").read_text():
        wrong.append(f"deploy/images/Dockerfile: rust-toolchain.toml says {channel}")


check_alerts()
check_toolchain()
check_metrics()
check_links()
if wrong:
    sys.exit("\n".join(sorted(wrong)))
