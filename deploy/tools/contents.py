#!/usr/bin/env python3
"""What a release is made of, beside what cargo-cyclonedx says: `contents.py SBOM NOTICES` adds to SBOM (CycloneDX, of the crates) the packages that the console's pages are
made of and the engine that the program loads, and writes NOTICES, the licences of all three; without arguments it only tries. Wants the crates' sources, as a build leaves
them, and the console's node_modules."""

import base64
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONSOLE = ROOT / "services/console"
# Needed for building alone, but what they have is in the pages: the map's shapes and the countries' names.
IN_PAGES = {"world-atlas", "i18n-iso-countries"}
TEXTS = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)([-._].*)?", re.IGNORECASE)
ENGINE_LICENCE = "Apache-2.0"


def crates():
    """What is in the program: all that it is linked with, not what only its build and its tests use."""
    asked = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"]
    told = json.loads(subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    packages = {it["id"]: it for it in told["packages"]}
    nodes = {it["id"]: it for it in told["resolve"]["nodes"]}
    found, open_ = set(), [id for id, it in packages.items() if it["name"] == "penstock" and not it["source"]]
    while open_:
        id = open_.pop()
        if id not in found:
            found.add(id)
            open_ += [dep["pkg"] for dep in nodes[id]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
    for it in (packages[id] for id in found):
        if it["source"]:
            # Crates that link a library of C mostly bring its sources in folders below.
            yield it["name"], it["version"], it["license"] or "see below", pathlib.Path(it["manifest_path"]).parent, bool(it["links"])


def console():
    for path, it in json.loads((CONSOLE / "package-lock.json").read_text())["packages"].items():
        name = path.removeprefix("node_modules/")
        if path and (not it.get("dev") or name in IN_PAGES):
            yield name, it["version"], it["license"].strip("()"), CONSOLE / path, it["integrity"]


def engine():
    script = (ROOT / "deploy/tools/engine.sh").read_text()
    name, version, sha512 = (re.search(rf"^ *{word}=(\S+)$", script, re.MULTILINE)[1] for word in ("package", "version", "sha512"))
    return name, version, ENGINE_LICENCE, f"sha512-{sha512}"


def component(name, version, licence, integrity, **more):
    """A package of npm, with the checksum of its archive."""
    algorithm, _, sum_ = integrity.partition("-")
    purl = f"pkg:npm/{name.replace('@', '%40')}@{version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        **more,
        "hashes": [{"alg": f"SHA-{algorithm[3:]}", "content": base64.b64decode(sum_).hex()}],
        "licenses": [{"expression": licence}],
        "purl": purl,
    }


def beside():
    """What there is beside crates."""
    for name, version, licence, _, integrity in console():
        yield component(name, version, licence, integrity, scope="required")
    yield component(*engine(), description="ClickHouse as a library, which the program loads where its warehouse is embedded; not in the program", scope="optional")


def complete(sbom, added):
    """The crates' SBOM, and what else the program needs."""
    told = json.loads(sbom.read_text())
    told["components"] += added
    root = told["metadata"]["component"]["bom-ref"]
    needs = next(it for it in told["dependencies"] if it["ref"] == root)
    needs["dependsOn"] = needs.get("dependsOn", []) + [it["bom-ref"] for it in added]
    told["dependencies"] += [{"ref": it["bom-ref"]} for it in added]
    sbom.write_text(json.dumps(told, indent=2) + "\n")


def texts(folder, deep):
    paths = folder.rglob("*") if deep else folder.iterdir()
    for path in sorted(path for path in paths if TEXTS.fullmatch(path.name) and path.is_file() and path.suffix not in (".rs", ".py", ".h", ".c", ".spdx")):
        yield path.read_text(errors="replace").replace("\r\n", "\n").strip()


def notices():
    name, version, licence, _ = engine()
    yield "What Penstock is made of, and under which licences: the engine, the crates and the console's packages, then their texts, each once.\n\n"
    yield f"{name} {version} (ClickHouse as a library, loaded by the program where its warehouse is embedded, with licences of its own parts in its sources): {licence}\n"
    of = {}
    packages = sorted([*crates(), *((name, version, licence, folder, False) for name, version, licence, folder, _ in console())], key=lambda it: it[:2])
    for name, version, licence, folder, deep in packages:
        if not folder.is_dir():
            sys.exit(f"{folder} is not there: build the program and the console first")
        found = list(texts(folder, deep))
        yield f"{name} {version}: {licence}{'' if found else ', of which its package has no text'}\n"
        for text in found:
            of.setdefault(" ".join(text.split()), (text, []))[1].append(f"{name} {version}")
    for text, names in of.values():
        yield f"\n{'=' * 100}\n{', '.join(dict.fromkeys(names))}\n\n{text}\n"


def main():
    added, text = list(beside()), "".join(notices())
    if len(sys.argv) > 1:
        complete(pathlib.Path(sys.argv[1]), added)
        pathlib.Path(sys.argv[2]).write_text(text)


if __name__ == "__main__":
    main()
