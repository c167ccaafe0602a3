#!/usr/bin/env python3
"""Whether deploy/compose loads, as `docker compose config` would load it, and the program takes the configuration of every role in it. PENSTOCK names
the program."""

import os
import pathlib
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE = ROOT / "deploy/compose/compose.yaml"
LOADER = ROOT / ".tools/compose"
PENSTOCK = os.environ.get("PENSTOCK", ROOT / "target/release/penstock")


def load():
    subprocess.run(["go", "build", "-o", LOADER, "."], cwd=ROOT / "deploy/check/compose", check=True)
    example = (ROOT / "deploy/compose/.env.example").read_text()
    names = [line.split("=")[0] for line in example.splitlines() if "=" in line and not line.startswith("#")]
    # Nothing but what the example says has to be there.
    environment = {name: "x" for name in names} | {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    loaded = subprocess.run([LOADER, FILE], env=environment, check=True, capture_output=True, text=True).stdout
    return yaml.safe_load(loaded)


def check_role(name, service, text, home):
    path = pathlib.Path(home) / "penstock.toml"
    path.write_text(text)
    command = [str(path) if part == "/etc/penstock.toml" else part for part in service["command"][1:]]
    taken = subprocess.run([PENSTOCK, "config", *command], env=service["environment"], capture_output=True, text=True)
    if taken.returncode != 0:
        sys.exit(f"{name}: {taken.stderr}")


project = load()
roles = [(name, service) for name, service in project["services"].items() if service.get("command", [""])[0] == "serve"]
with tempfile.TemporaryDirectory() as home:
    for name, service in roles:
        check_role(name, service, project["configs"]["penstock"]["content"], home)
print(f"{len(project['services'])} services load; the program takes the configuration of {', '.join(name for name, _ in roles)}")
