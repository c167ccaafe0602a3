#!/usr/bin/env python3
"""Whether every `penstock ...` that the documentation speaks of exists: commands and flags in its texts and blocks, held against what the program completes in a shell.
`spoken.py PROGRAM`. Words in capitals stand for something, as in `penstock help COMMAND`; `a|b` is either."""

import itertools
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What was said of older versions stays said.
HISTORY = {"CHANGELOG.md"}
SPANS = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
BLOCKS = re.compile(r"^ *```(?:sh|console)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# Where a command can begin.
BEGINS = re.compile(r"(?:^|[|;&(]|--)\s*(?:target/release/)?penstock(?=\s|$)", re.MULTILINE)
EITHER = "\N{BROKEN BAR}"
# What can be a command, and not an option's value.
NAME = re.compile(f"[A-Za-z][A-Za-z{EITHER}-]*")


def grammar(program):
    """What may follow each command."""
    script = subprocess.run([program, "completions", "bash"], check=True, capture_output=True, text=True).stdout
    return dict(re.findall(r'^ +([\w]+)\)\n +opts="(.*)"$', script, re.MULTILINE))


def at(path):
    """As the script calls a command."""
    return "__subcmd__".join(["penstock", *path]).replace("-", "__subcmd__")


def wrong(known, words, path=()):
    """What of a command the program doesn't have."""
    may = known[at(path)].split()
    for place, word in enumerate(words):
        if word.startswith("--") and word.split("=")[0] not in may:
            yield f"{' '.join(['penstock', *path])} has no {word}"
        elif NAME.fullmatch(word) and any(at((*path, name)) in known for name in may):
            for name in word.split(EITHER) if word.islower() else ():
                if name in may:
                    yield from wrong(known, words[place + 1 :], (*path, name))
                else:
                    yield f"{' '.join(['penstock', *path])} has no {name}"
            return


def words_of(said):
    """A command's words, up to where the shell ends it."""
    lexer = shlex.shlex(re.sub(r"(?<=\w)\|(?=\w)", EITHER, said), posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.whitespace_split = " \t", True
    words = list(itertools.takewhile(lambda word: not set(word) <= set("();<>|&\n") or not word, lexer))
    return words[: words.index("--")] if "--" in words else words


def commands(text):
    spans = [" ".join(match[1].split()) for match in SPANS.finditer(BLOCKS.sub("", text))]
    for source in [match[1] for match in BLOCKS.finditer(text)] + spans:
        source = source.replace("\\\n", " ").replace("\\|", "|")
        yield from (words_of(source[begin.end() :]) for begin in BEGINS.finditer(source))


def main():
    known = grammar(sys.argv[1])
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    count, faults = 0, []
    for page in sorted(set(listed) - HISTORY):
        for words in commands((ROOT / page).read_text()):
            count += 1
            faults += [f"{page}: {what}" for what in wrong(known, words)]
            if "-v" in sys.argv:
                print(page, words)
    if count < 50:
        faults.append(f"only {count} commands are found in the documentation")
    sys.exit("\n".join(faults) if faults else 0)


if __name__ == "__main__":
    main()
