#!/usr/bin/env python3
"""Whether the Helm chart holds: Helm lints it and renders it in every size, Kubernetes' schemas take what comes, the program takes the configuration of
every role, the pieces fit each other, and checkov finds nothing but what is said here. PENSTOCK names the program."""

import functools
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.parse
import xml.etree.ElementTree

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/penstock"
SIZES = sorted((ROOT / "deploy/helm/sizes").glob("*.yaml"))
CASES = ROOT / "deploy/check/chart"
KUBERNETES = "1.33"
ROLES = ("gateway", "ingest", "pipeline", "query", "metrics", "admin")
PENSTOCK = os.environ.get("PENSTOCK", ROOT / "target/release/penstock")
# Their schemas are their operators'. (Checked once by hand, as docs/production.md says.)
OPERATORS = ("cert-manager.io/", "clickhouse.altinity.com/", "clickhouse-keeper.altinity.com/", "monitoring.coreos.com/")
# Secrets that the cases name and a house brings.
OURS = {"ours", "edge-example-com", "edge-example-org"}
CHECKOV = {
    "CKV_K8S_11": "no CPU limits: a process that may not use idle cores answers late, and requests share them fairly",
    "CKV_K8S_15": "no pull at every start: a node without the registry must be able to start what it has, and a digest names one image",
}


@functools.cache
def tool():
    return subprocess.run([ROOT / "deploy/tools/gotool.sh", "helm"], check=True, capture_output=True, text=True).stdout.strip()


def helm(*arguments):
    done = subprocess.run([tool(), *arguments], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def template(*values, change=()):
    files = [part for file in values for part in ("-f", str(file))]
    return ["template", "penstock", str(CHART), "--namespace", "penstock", "--kube-version", KUBERNETES, *files, *(part for it in change for part in ("--set", it))]


def render(*values, change=()):
    return [it for it in yaml.safe_load_all(helm(*template(*values, change=change))) if it]


def check_refused(change, why):
    done = subprocess.run([tool(), *template(CASES / "all.yaml", change=[change])], capture_output=True, text=True)
    if done.returncode == 0 or why not in done.stderr:
        sys.exit(f"{change} is to be refused and told {why!r}: {done.stderr or 'it was rendered'}")


def validate(what, objects):
    for it in objects:
        if it["apiVersion"].startswith(OPERATORS):
            continue
        try:
            kubernetes_validate.validate(it, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            sys.exit(f"{what}: {it['kind']} {it['metadata']['name']}: {list(error.path)}: {error.message}")


def of(objects, kind):
    return {it["metadata"]["name"]: it for it in objects if it["kind"] == kind}


def check_roles(what, objects):
    """Each role's configuration is one that the program takes, and what it names is there."""
    secrets, services, certificates = (of(objects, kind) for kind in ("Secret", "Service", "Certificate"))
    pods = of(objects, "Deployment") | of(objects, "StatefulSet")
    made = {it["spec"]["secretName"] for it in certificates.values()}
    for name, workload in pods.items():
        pod = workload["spec"]["template"]["spec"]
        container = pod["containers"][0]
        for volume in pod["volumes"]:
            secret = volume.get("secret", {}).get("secretName")
            if secret and secret not in made | set(secrets) | OURS:
                sys.exit(f"{what}: {name} wants the secret {secret}, which nothing makes")
    for name in of(objects, "HorizontalPodAutoscaler"):
        if name not in pods or "replicas" in pods[name]["spec"]:
            sys.exit(f"{what}: the autoscaler {name} and its Deployment disagree about who says how many")
    if "penstock-config" not in secrets:
        return
    texts = secrets["penstock-config"]["stringData"]
    for host in re.findall(r'= "([a-z-]+):7080"', texts["penstock.toml"]):
        if host not in services:
            sys.exit(f"{what}: {host} is called, and no service of that name is there")
    for name, workload in pods.items():
        pod = workload["spec"]["template"]["spec"]
        key = next(volume["secret"]["items"][0]["key"] for volume in pod["volumes"] if volume["name"] == "config")
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(texts[key])
            file.flush()
            arguments = ["config", *(file.name if part.endswith(".toml") else part for part in pod["containers"][0]["args"][1:])]
            taken = subprocess.run([PENSTOCK, *arguments], capture_output=True, text=True)
        if taken.returncode != 0:
            sys.exit(f"{what}: {name}: {taken.stderr}")


def check_egress(what, objects):
    """What the configuration has each role call on its own is open to it: its receivers of traces and errors."""
    policies = {it["spec"]["podSelector"]["matchLabels"].get("app.kubernetes.io/component"): it for it in of(objects, "NetworkPolicy").values()}
    secrets = of(objects, "Secret")
    if not policies or "penstock-config" not in secrets:
        return
    telemetry = tomllib.loads(secrets["penstock-config"]["stringData"]["penstock.toml"]).get("telemetry", {})
    called = [urllib.parse.urlsplit(telemetry[name]).port or 443 for name in ("otlp_endpoint", "sentry_dsn") if name in telemetry]
    for role in ROLES:
        anywhere = {port["port"] for rule in policies[role]["spec"]["egress"] if "to" not in rule for port in rule["ports"]}
        if closed := set(called) - anywhere:
            sys.exit(f"{what}: {role} may not reach the ports {closed}, where its configuration sends traces and errors")


def check_order(what, objects):
    """Each pod waits for its turn in an upgrade, by the name that all processes of the release have, and may ask them."""
    processes = of(objects, "Service")["penstock-processes"]["spec"]
    if not processes["publishNotReadyAddresses"]:
        sys.exit(f"{what}: who isn't ready yet can't be found by those who wait")
    policies, peer = of(objects, "NetworkPolicy"), {"podSelector": {"matchLabels": processes["selector"]}}
    for name, workload in (of(objects, "Deployment") | of(objects, "StatefulSet")).items():
        pod = workload["spec"]["template"]
        turn, labels = pod["spec"]["initContainers"][0], pod["metadata"]["labels"]
        role = labels["app.kubernetes.io/component"]
        if turn["image"] != pod["spec"]["containers"][0]["image"] or turn["args"] != [role, "penstock-processes", "$(POD_IP)"]:
            sys.exit(f"{what}: {name} doesn't wait for its turn: {turn}")
        if not processes["selector"].items() <= labels.items():
            sys.exit(f"{what}: {name} is not among the processes that others wait for")
        for way, end in ("ingress", "from"), ("egress", "to"):
            rules = policies[name]["spec"][way] if policies else []
            if policies and not any(rule["ports"] == [{"port": "ops"}] and rule.get(end) == [peer] for rule in rules):
                sys.exit(f"{what}: {name}'s network policy keeps those apart who wait for each other ({way})")


def check_cluster(what, objects):
    """Several ClickHouse servers are all used: each shard's first for inserts, and for reads those that the servers themselves know as `readers`."""
    installation = next((it for it in objects if it["kind"] == "ClickHouseInstallation"), None)
    secret = of(objects, "Secret").get("penstock-config")
    if not installation or not secret:
        return
    config, spec = tomllib.loads(secret["stringData"]["penstock.toml"]), installation["spec"]["configuration"]
    layout = spec["clusters"][0]["layout"]
    made = [[f"chi-penstock-main-{s}-{r}" for r in range(layout["replicasCount"])] for s in range(layout["shardsCount"])]
    if sum(map(len, made)) == 1:
        if config["warehouse"] != f"http://{made[0][0]}:8123" or "cluster" in config:
            sys.exit(f"{what}: the warehouse is {config['warehouse']}, not the one server that is made")
        return
    host = lambda url: urllib.parse.urlsplit(url).hostname
    writers = [[host(url) for url in urls.split(",")] for urls in config["cluster"]["shards"]]
    readers = {host(url) for url in config["cluster"]["replicas"]}
    known = xml.etree.ElementTree.fromstring(spec["files"]["config.d/readers.xml"]).findall("./remote_servers/readers/shard")
    known = [{replica.findtext("host") for replica in shard} for shard in known]
    if len(writers) != len(made) or any(servers != all[: len(servers)] for servers, all in zip(writers, made)):
        sys.exit(f"{what}: inserts go to {writers}, of {made}")
    if set().union(*known) != readers or len(known) != len(made) or any(not shard or not shard <= set(all) for shard, all in zip(known, made)):
        sys.exit(f"{what}: {readers} are asked, the servers know {known}, of {made}")
    idle = {server for shard in made for server in shard} - readers - {server for shard in writers for server in shard}
    if idle:
        sys.exit(f"{what}: nobody uses {idle}")


def check_scaling(objects):
    """What autoscalers ask for is what the adapter offers, and the adapter what Prometheus records."""
    adapter = yaml.safe_load((ROOT / "deploy/helm/prometheus-adapter.yaml").read_text())
    offered = {rule["name"]["as"]: rule["seriesQuery"] for rule in adapter["rules"]["external"]}
    asked = {
        metric["external"]["metric"]["name"]
        for it in of(objects, "HorizontalPodAutoscaler").values()
        for metric in it["spec"]["metrics"]
        if metric["type"] == "External"
    }
    if asked != set(offered):
        sys.exit(f"autoscalers ask for {asked}, the adapter offers {set(offered)}")
    recorded = (ROOT / "deploy/monitoring/prometheus/rules/recording.yml").read_text()
    for query in offered.values():
        name = re.search(r'__name__="([^"]+)"', query)[1]
        if f"record: {name}\n" not in recorded:
            sys.exit(f"the adapter wants {name}, which nothing records")


def check_page():
    """The command of docs/production.md, with values of ours for the house's own."""
    said = re.search(r"^helm install (.*?)(?: +#.*)?$", (ROOT / "docs/production.md").read_text(), re.MULTILINE)[1]
    helm("template", *said.replace("ours.yaml", str(CASES / "all.yaml")).split(), "--kube-version", KUBERNETES)


def checkov(objects):
    with tempfile.TemporaryDirectory() as home:
        file = pathlib.Path(home) / "chart.yaml"
        file.write_text(yaml.safe_dump_all(objects))
        program = ROOT / ".tools/checkov/bin/checkov"
        options = ["--framework", "kubernetes", "--quiet", "--compact", "--skip-download", "--skip-check", ",".join(CHECKOV)]
        done = subprocess.run([program, "--file", file, *options], capture_output=True, text=True, env={**os.environ, "LOG_LEVEL": "ERROR"})
        if done.returncode != 0:
            sys.exit(done.stdout + done.stderr)


def main():
    helm("lint", "--strict", str(CHART), "--kube-version", KUBERNETES, "-f", str(CASES / "all.yaml"))
    rendered = {size.stem: render(size, CASES / "all.yaml") for size in SIZES}
    rendered["least"] = render(CASES / "least.yaml")
    for what, objects in rendered.items():
        validate(what, objects)
        check_roles(what, objects)
        check_egress(what, objects)
        check_order(what, objects)
        check_cluster(what, objects)
        check_scaling(objects)
        if what != "least":  # which leaves to its house what checkov looks for
            checkov(objects)
        print(f"{what}: {len(objects)} objects hold")
    if "penstock-processes" in str(render(CASES / "all.yaml", change=["upgrade.inOrder=false"])):
        sys.exit("somebody waits for a turn although upgrade.inOrder is false")
    check_page()
    check_refused("networkPolicies.sentryPort=0", "sentryPort: extraConfig has telemetry.sentry_dsn")


if __name__ == "__main__":
    main()
