#!/usr/bin/env python3
"""Whether the product is compiled as it is tested. `cargo test` builds the whole workspace, and with it everything that any member or any test asks of a library; `make
run` and a release build the program alone. Code that needs a feature which only tests or another member ask for passes every test, and then doesn't compile for users."""

import re
import subprocess
import sys
from collections import defaultdict

# What tests alone add to libraries of the product, which its code can't take for its own.
OF_TESTS = {
    "eventlog": {"conformance"},
    "hyper-util": {"client-proxy"},
    "sync_wrapper": {"futures", "futures-core"},
    "tokio": {"test-util"},
    "tower": {"retry"},
}


def features(*of: str) -> dict[str, set[str]]:
    tree = ["cargo", "tree", "--locked", "--prefix", "none", "--no-dedupe", "--format", "{p}|{f}"]
    lines = subprocess.run([*tree, *of], check=True, capture_output=True, text=True).stdout.splitlines()
    found: dict[str, set[str]] = defaultdict(set)
    for package, given in (line.split("|", 1) for line in lines if "|" in line):
        found[re.sub(r" \(.*\)", "", package)] |= set(filter(None, given.removesuffix(" (*)").split(",")))
    return found


def main() -> int:
    product, tested = features("--package", "penstock", "--edges", "normal,build"), features("--workspace", "--edges", "normal,build,dev")
    wrong = 0
    for package in sorted(product):
        name = package.split(" ")[0]
        more = tested[package] - product[package] - OF_TESTS.get(name, set())
        if more:
            wrong += 1
            print(f"{package} has {', '.join(sorted(more))} in tests alone: ask for it in Cargo.toml's [workspace.dependencies], or note it in {sys.argv[0]}", file=sys.stderr)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
