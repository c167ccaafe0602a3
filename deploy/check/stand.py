"""The stand of deploy/stand for a check: every role in processes of its own, with Prometheus beside it. PENSTOCK names the program."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
STACK = ROOT / "deploy/stand/stack.sh"
PATIENCE = 300.0


def until(what, check):
    """The first true answer of `check`; the end of the run if none comes."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        answer = check()
        if answer:
            return answer
        time.sleep(0.5)
    raise SystemExit(f"in vain: {what}")


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


class Stand:
    def __init__(self, home, **environment):
        self.dir = home / "stand"
        subprocess.run([STACK, "up", self.dir], check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PARENT": str(os.getpid()), **environment})
        self.gateways = (self.dir / "gateways").read_text().split()
        self.key = (self.dir / "admin-1/demo.key").read_text().strip()

    def do(self, command, name, **environment):
        """start, stop or kill one process."""
        subprocess.run([STACK, command, self.dir, name], check=True, env={**os.environ, **environment})

    def part(self, script, *arguments):
        """Runs the script of Kafka, PostgreSQL or Redis on its part."""
        command, *rest = arguments
        subprocess.run([STACK.with_name(f"{script}.sh"), command, self.dir / script, *rest], check=True, stdout=subprocess.DEVNULL)

    def pid(self, name):
        return int((self.dir / name / "pid").read_text())


@contextlib.contextmanager
def watched():
    """A stand and its Prometheus, gone afterwards however it ends."""
    programs = subprocess.run([ROOT / "deploy/tools/prometheus.sh"], check=True, capture_output=True, text=True).stdout.strip()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    home = pathlib.Path(tempfile.mkdtemp(prefix="penstock-monitoring-"))
    home.chmod(0o755)  # PostgreSQL runs as a user of its own
    prometheus = None
    try:
        stand = Stand(home)
        prometheus = Prometheus(programs, stand.dir, home / "prometheus")
        yield stand, prometheus
    finally:
        if prometheus:
            prometheus.process.terminate()
            prometheus.process.wait()
        subprocess.run([STACK, "down", home / "stand"], stdout=subprocess.DEVNULL)
        shutil.rmtree(home, ignore_errors=True)
