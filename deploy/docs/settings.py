#!/usr/bin/env python3
"""The reference of settings, docs/reference/configuration.md, of what `penstock config` prints and what the sources say of each setting: `settings.py write PROGRAM`, or
`settings.py check PROGRAM`."""

import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reference/configuration.md"
# Where a table's settings are explained; tables inside them are found by their fields' types.
TOP = "Config", "services/penstock/src/config.rs"
SOURCES = ["services/*/src/**/*.rs", "libs/mesh/src/**/*.rs", "libs/eventlog/src/**/*.rs"]
# Defaults that come of the machine, in words.
OF_MACHINE = dict.fromkeys(("query.background_concurrent", "query.shared_tenant_concurrent"), "one for each two cores")
INTRODUCTION = """# Configuration

`penstock config` prints every setting with its default, as a file that `penstock serve --config FILE` takes. A setting that a file doesn't have keeps its default; one
that doesn't exist is refused. `_ms`, `_seconds`, `_days` and `_bytes` are units. This page is made of that command and of the sources.
"""


def structs():
    """The fields of each struct that a file may set, by crate and name: what is said of them, and their types."""
    found = {}
    for path in (path for pattern in SOURCES for path in ROOT.glob(pattern)):
        text = path.read_text()
        crate = path.relative_to(ROOT).parts[1]
        for name, body in re.findall(r"serde\([^)]*deny_unknown_fields[^)]*\)\]\n(?:#\[.*\n)*pub(?:\(crate\))? struct (\w+) \{\n(.*?)\n\}", text, re.DOTALL):
            fields = re.findall(r"((?: +///.*\n)+)(?: +#\[.*\n)* +pub(?:\(crate\))? (\w+): ([\w:<>, ]+),", body + "\n")
            found[crate, name] = {field: (" ".join(re.findall(r"/// ?(.*)", said)), kind) for said, field, kind in fields}
    return found


def fields_of(found, crate, kind):
    """Those of a type as it is named in a crate: `ingest::Limits`, or one of its own or that it uses."""
    *path, name = kind.split("::")
    at = [key for key in found if key[1] == name and key[0] == (path[0] if path else crate)] or [key for key in found if key[1] == name]
    if len(at) != 1:
        sys.exit(f"{kind} of {crate} is in {at or 'no crate'}")
    return at[0][0], found[at[0]]


def shown(value):
    if value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:,}`".replace(",", "_") if isinstance(value, int) else f"`{value}`"


def table(found, name, values, crate, fields):
    rows = [field for field in values if not isinstance(values[field], dict)]
    yield from ("", f"## {f'`[{name}]`' if name else 'Of the process'}", "")
    yield from ("| setting | default | |", "|---|---|---|")
    for field in rows:
        if field not in fields:
            sys.exit(f"nothing is said of {name}.{field}")
        yield f"| `{field}` | {OF_MACHINE.get(f'{name}.{field}') or shown(values[field])} | {fields[field][0].replace('|', chr(92) + '|')} |"
    for field, inside in values.items():
        if isinstance(inside, dict):
            said, kind = fields[field]
            whole = f"{name}.{field}".lstrip(".")
            if not inside:
                yield from ("", f"## `[{whole}]`", "", said)
                continue
            yield from table(found, whole, inside, *fields_of(found, crate, kind))


def page(program):
    printed = tomllib.loads(subprocess.run([program, "config"], check=True, capture_output=True, text=True, env={}).stdout)
    found = structs()
    return "\n".join([INTRODUCTION.rstrip(), *table(found, "", printed, "penstock", found["penstock", TOP[0]])]) + "\n"


made = page(pathlib.Path(sys.argv[2]).resolve())
if sys.argv[1] == "write":
    PAGE.write_text(made)
elif PAGE.read_text() != made:
    sys.exit(f"{PAGE.relative_to(ROOT)} is not what the program says; run deploy/docs/settings.py write PROGRAM")
