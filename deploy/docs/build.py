#!/usr/bin/env python3
"""Builds the documentation into target/docs, strictly: what links to nowhere fails. `build.py IMAGE`, where IMAGE is the contracts as `buf build` writes them in JSON.

The site loads nothing from elsewhere. Its search works in pages that are opened as files by a small script, which the generator would load from a CDN: that
comes out of the package `iframe-worker` in place of it.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import contracts

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SITE, SOURCE = ROOT / "target/docs", ROOT / "target/docs-source"
TOOLS = ROOT / ".tools/docs"
SHIM = re.compile(r'https://[^"\s]*/iframe-worker/shim')

shutil.rmtree(SOURCE, ignore_errors=True)
shutil.rmtree(SITE, ignore_errors=True)
shutil.copytree(ROOT / "docs", SOURCE / "docs")
(SOURCE / "docs/reference").mkdir(exist_ok=True)
(SOURCE / "docs/reference/api.md").write_text(contracts.page(json.loads(pathlib.Path(sys.argv[1]).read_text())))
shutil.copy(HERE / "mkdocs.yml", SOURCE)
made = subprocess.run([TOOLS / "bin/zensical", "build", "--strict", "-f", SOURCE / "mkdocs.yml"], env={**os.environ, "NO_COLOR": "1"})
if made.returncode:
    sys.exit("the documentation is not whole")

(SOURCE / "site").rename(SITE)
shutil.copy(TOOLS / "node_modules/iframe-worker/shim/index.js", SITE / "assets/search-in-files.js")
foreign = set()
for path in SITE.rglob("*.html"):
    up = "../" * len(path.relative_to(SITE).parents[:-1])
    text = SHIM.sub(f"{up}assets/search-in-files.js", path.read_text())
    path.write_text(text)
    foreign |= set(re.findall(r'<(?:script|img|iframe|source)[^>]* src="?(https?:[^"\s>]+)', text))
    foreign |= set(re.findall(r'<link[^>]* href="?(https?:[^"\s>]+)', text))
if foreign:
    sys.exit(f"the documentation would load from elsewhere: {', '.join(sorted(foreign))}")
print(f"file://{SITE}/index.html")
