#!/usr/bin/env python3
"""Whether the commands of the documentation do what it says: every ```sh block of a page is run in order, as printed, on a server of its own with a demo tenant.
`commands.py PROGRAM [-v] [PAGE...]`; with -v it says how long each part took. Commands that aren't to be run on one stand in ```console, and below who runs them; what a
page shows of a program in a client's language stands in one of the clients' examples too, which run in tests. `commands.py check` runs nothing and says whether that is so."""

import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", "docs/*.md", "docs/**/*.md", "libs/client*/README.md"]
# Pages whose ```sh is not run, and why.
UNRUN: dict[str, str] = {}
# Who runs a line of ```console.
ELSEWHERE = {
    "make run": "deploy/docs/commands.py",  # starts the same program the same way
    "make test": ".ci/run",
    "make stack": "services/penstock/tests/e2e/stand.rs",  # by deploy/stand/stack.sh
    "make stack-down": "services/penstock/tests/e2e/stand.rs",
    "helm install penstock deploy/helm/penstock -n penstock -f deploy/helm/sizes/seed.yaml -f ours.yaml": "deploy/check/chart.py",
    # From registries that don't have them yet: the same packages, out of files.
    "npm install @penstock/client": "deploy/tools/packages.sh",
    "pip install penstock-client": "deploy/tools/packages.sh",
    "go get penstock.dev/client": "deploy/tools/packages.sh",
}
# Who runs a page's programs that no example of a client has, by a word that is in them.
PROGRAMS = {
    ("README.md", "127.0.0.1:7070"): "services/penstock/tests/e2e/readme.rs",
    ("libs/client-typescript/README.md", "directory:"): "deploy/tools/packages.sh",  # looks at its types; kept.mjs of the console's browser does as much
}
LANGUAGES = {"python", "ts", "go", "rust", "rust,no_run"}
# A client in Rust is compiled.
PATIENCE_S = 600
# What commands find where they are run: the sources of the clients, and of what these are generated.
SOURCES = ["proto", "libs/client-go", "libs/client-python", "libs/client-typescript"]
# By itself curl ends well where the server refuses.
CURL = 'curl() { command curl --fail-with-body "$@"; }'


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def pages():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "--", *PAGES], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(set(listed.splitlines()))


def fenced(page):
    """Each block of a page: what it stands under, its language, and its text."""
    heading = ""
    for found in re.finditer(r"^#+ ([^\n]+)$|^ *```([\w,]*)\n(.*?)^ *```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL):
        if found[1]:
            heading = found[1]
        else:
            yield heading, found[2], textwrap.dedent(found[3])


def blocks(page):
    """A page's commands, and after each block how long it all took up to there, into `took`."""
    return "".join(f"{text}echo $SECONDS {shlex.quote(heading)} >> \"$TOOK\"\n" for heading, language, text in fenced(page) if language == "sh")


def seconds(took):
    """What each part of a page took of what was written down."""
    at, parts = 0, {}
    for line in took.splitlines():
        now, _, heading = line.partition(" ")
        parts[heading] = parts.get(heading, 0) + int(now) - at
        at = int(now)
    return ", ".join(f"{heading} {part} s" for heading, part in parts.items())


def lines(console):
    """Commands of a ```console, without what is said about them."""
    return [line for line in (re.sub(r"\s+#.*", "", line) for line in console.splitlines()) if line]


def unknown():
    """What of the pages nobody runs, and what is said of pages and lines that aren't there."""
    makefile = (ROOT / "Makefile").read_text()
    sources = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "--", "libs/client*/examples/*"], cwd=ROOT, check=True, capture_output=True, text=True)
    # Indented alike, since a page shows a part of a program at its edge.
    examples = ["\n".join(map(str.strip, (ROOT / path).read_text().splitlines())) for path in sources.stdout.splitlines()]
    unsaid = {*ELSEWHERE, *UNRUN, *PROGRAMS}
    for page in pages():
        for goal in set(re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text())):
            if not re.search(rf"^[a-z -]*\b{goal}\b[a-z -]*:", makefile, re.MULTILINE):
                yield f"{page}: there is no `make {goal}`"
        for _, language, text in fenced(page):
            if language in ("bash", "shell", "zsh"):
                yield f"{page}: commands stand in ```sh or ```console, not in ```{language}"
            elif language == "sh":
                unsaid.discard(page)
            elif language == "console":
                for line in lines(text):
                    unsaid.discard(line)
                    if line not in ELSEWHERE:
                        yield f"{page}: nobody runs `{line}`"
            elif language in LANGUAGES and not any("\n".join(map(str.strip, text.strip().splitlines())) in example for example in examples):
                known = {(name, word) for name, word in PROGRAMS if name == page and word in text}
                unsaid.difference_update(known)
                if not known:
                    yield f"{page}: no example of a client has this program, so nobody runs it:\n{textwrap.indent(text, '    ')}"
    for name in sorted(map(str, unsaid)):
        yield f"commands.py speaks of {name}, which stands nowhere"
    for path in sorted({*ELSEWHERE.values(), *PROGRAMS.values()}):
        if not (ROOT / path).exists():
            yield f"commands.py says that {path} runs something, which is not there"


def cargo(place):
    """Cargo where all sources are: it leaves no more behind than a build does."""
    shim = place / "bin/cargo"
    shim.write_text(f"#!/bin/sh\ncd {shlex.quote(str(ROOT))} && exec {shlex.quote(shutil.which('cargo'))} \"$@\"\n")
    shim.chmod(0o755)


def run(program, page):
    """The page's commands; why they failed, if they did."""
    with tempfile.TemporaryDirectory(prefix="penstock-docs-") as temporary:
        place = pathlib.Path(temporary)
        listen, ops, host = free_ports(3)
        serve = [program, "serve", "--demo", "--text-logs", "--data", ".penstock", "--listen", f"127.0.0.1:{listen}", "--ops-listen", f"127.0.0.1:{ops}"]
        engine = os.environ.get("PENSTOCK_ENGINE", str(ROOT / ".tools/engine/libchdb.so"))
        bin = place / "bin"
        bin.mkdir()
        (bin / "penstock").symlink_to(program)
        cargo(place)
        (place / "target/release").mkdir(parents=True)
        (place / "target/release/penstock").symlink_to(program)
        (place / ".tools").symlink_to(ROOT / ".tools")
        env = {**os.environ, "PENSTOCK_ENGINE": engine, "PATH": f"{bin}:{os.environ['PATH']}", "XDG_CONFIG_HOME": f"{place}/config",
               "TOOK": f"{place}/took", "PENSTOCK_SERVER": f"http://127.0.0.1:{listen}"}
        listed = subprocess.run(["git", "ls-files", *SOURCES], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for file in map(pathlib.Path, listed.splitlines()):
            (place / file.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, place / file)
        (place / "took").touch()
        commands = blocks(page).replace("8080", str(host))
        for said, port in (7070, listen), (7071, ops):
            commands = commands.replace(f"127.0.0.1:{said}", f"127.0.0.1:{port}")
        if others := set(re.findall(r"127\.0\.0\.1:\d{1,4}\b", commands)):
            return f"they speak to {others}, where nothing is"
        with open(f"{place}/server.log", "wb") as log:
            server = subprocess.Popen(serve, cwd=place, env=env, stdout=log, stderr=log)
        try:
            key, until = place / ".penstock/demo.key", time.monotonic() + PATIENCE_S
            ready = ["curl", "-sfo", "/dev/null", f"http://127.0.0.1:{ops}/readyz"]
            while not key.exists() or subprocess.run(ready).returncode:
                if server.poll() is not None or time.monotonic() > until:
                    return "the server does not start:\n" + (place / "server.log").read_text()
                time.sleep(0.1)
            with open(f"{place}/output", "wb") as output:
                shell = subprocess.Popen(
                    ["bash", "-euo", "pipefail", "-c", f"{CURL}\n{commands}\nkill $(jobs -p) 2> /dev/null || true"],
                    cwd=place, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                )
                try:
                    failed = shell.wait(PATIENCE_S)
                except subprocess.TimeoutExpired:
                    failed = "no end"
                try:
                    os.killpg(shell.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            said = (place / "output").read_text()
            if "-v" in sys.argv:
                print(f"{page}: {seconds((place / 'took').read_text())}", flush=True)
            return f"{said}\n{failed}" if failed else None
        finally:
            server.terminate()
            server.wait()


def main():
    wrong = list(unknown())
    if sys.argv[1] != "check":
        program = str(pathlib.Path(sys.argv[1]).resolve())
        only = [argument for argument in sys.argv[2:] if argument != "-v"]
        for page in only or [page for page in pages() if blocks(page) and page not in UNRUN]:
            if why := run(program, page):
                wrong.append(f"{page}: its commands don't do what it says\n{why}")
    sys.exit("\n".join(wrong) if wrong else 0)


if __name__ == "__main__":
    main()
