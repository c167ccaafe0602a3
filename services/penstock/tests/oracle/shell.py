"""What somebody sees who sits at a terminal: a shell that completes, remembers and writes tables, bars while something is long, colours unless they are unwanted.
shell.py PROGRAM SERVER KEY APP FOLDER: the app has three events of the type `sale`, with the properties item and amount."""

import fcntl
import os
import pathlib
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

PROGRAM, SERVER, KEY, APP, FOLDER = sys.argv[1:]
FOUND = {name: os.environ[name] for name in ("PATH", "PENSTOCK_ENGINE") if name in os.environ}
ENVIRONMENT = FOUND | {"HOME": FOLDER, "TERM": "xterm", "PENSTOCK_SERVER": SERVER, "PENSTOCK_KEY": KEY}
# How long a condition may take before it fails; it bounds a hang, it measures nothing.
PATIENCE_S = 240
PROMPT = "penstock> "
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
UP, CTRL_D, CTRL_U = "\x1b[A", "\x04", "\x15"


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, *arguments, **environment):
        self.ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
        self.child = subprocess.Popen(
            [PROGRAM, *arguments], stdin=its, stdout=its, stderr=its, env=ENVIRONMENT | environment, start_new_session=True
        )
        os.close(its)
        self.bytes = b""

    def more(self, deadline):
        """Whether anything else was written."""
        assert select.select([self.ours], [], [], max(0, deadline - time.monotonic()))[0], self.text()
        try:
            read = os.read(self.ours, 65536)
        except OSError:  # so a terminal says that its program is gone
            read = b""
        self.bytes += read
        return bool(read)

    def text(self):
        return self.bytes.decode(errors="replace")

    def until(self, wanted):
        """What was written since the last time, once it has this."""
        deadline = time.monotonic() + PATIENCE_S
        while not re.search(wanted, self.text(), re.DOTALL):
            assert self.more(deadline), f"{wanted} never came: {self.text()!r}"
        seen, self.bytes = self.text(), b""
        return seen

    def type(self, text):
        os.write(self.ours, text.encode())

    def end(self):
        """How it ends, and all that it wrote up to then."""
        deadline = time.monotonic() + PATIENCE_S
        while self.more(deadline):
            pass
        return self.child.wait(timeout=PATIENCE_S), self.text()


def shell():
    terminal = Terminal("sql")
    terminal.until(PROMPT)
    terminal.type("SELECT cou\t\t")
    terminal.until("count_distinct.*country")
    terminal.type(CTRL_U + "SELECT item, amo\t")
    terminal.until("SELECT item, amount")
    terminal.type(" FROM events WHERE event_type = 'sale' ORDER BY item;\r")
    table = terminal.until(r"\(3 rows\).*" + PROMPT)
    assert "item  amount\r\n----  ------\r\n" in table, table
    terminal.type("\\timing\r")
    terminal.until("timing is on.*" + PROMPT)
    # A mistake is said with what to do, and the next line is read.
    terminal.type("\\app nowhere\r")
    terminal.until("penstock.*PERMISSION_DENIED: .*next: .*" + PROMPT)
    terminal.type(f"\\app {APP}\r")
    terminal.until(f"{APP}.*\n.*{PROMPT}")
    # A statement may have more than a line.
    terminal.type("SELECT COUNT(*) AS n\r")
    terminal.until("-> ")
    terminal.type("FROM events WHERE event_type = 'sale';\r")
    terminal.until(r"\(1 row\).*Time: [0-9.]+ ms.*" + PROMPT)
    terminal.type("\\explain\r")
    terminal.until("route: .*estimated rows: .*" + PROMPT)
    terminal.type("SELECT MAX(amount) AS most FROM events;\r")
    terminal.until(r"\(1 row\).*" + PROMPT)
    terminal.type(CTRL_D)
    code, _ = terminal.end()
    assert code == 0, code

    again = Terminal("sql")
    again.until(PROMPT)
    again.type(UP)
    again.until("SELECT MAX.amount. AS most FROM events;")
    again.type("\r")
    again.until(r"most.*\(1 row\).*" + PROMPT)
    again.type("\\q\r")
    assert again.end()[0] == 0


def colours():
    for command in ["doctor"], ["whoami", "--key", "nobody"]:
        _, plain = Terminal(*command, NO_COLOR="1").end()
        _, coloured = Terminal(*command).end()
        assert plain and not COLOUR.search(plain), plain
        assert COLOUR.search(coloured), coloured


def bars():
    def bar(words):
        return rf"\r[━─]{{24}} \d+ %  {words}"

    line = '{"event_type":"view","properties":{"page":"home"}}\n'
    views = pathlib.Path(FOLDER, "views.ndjson")
    views.write_text(line * 20_000)
    code, said = Terminal("send", str(views)).end()
    assert code == 0 and re.search(bar(r"\d+ accepted, 0 refused, \d+ a second"), said), said
    # The bar leaves its line to what is said at the end.
    assert said.split("\x1b[K")[-1].startswith("20000 accepted, 0 refused in "), said

    # What is refused stands in lines of its own.
    views.write_text("nothing\n" + line)
    code, said = Terminal("send", str(views)).end()
    assert code == 1 and "\r\x1b[Kline 1: MALFORMED: " in said, said

    code, said = Terminal("bench", "--app", APP, "--events", "2000", "--rate", "100", "--seconds", "1").end()
    for words in r"\d+ events are taken, \d+ a second", "100 events a second: \\d+ of 1 s", "10 questions a second: \\d+ of 1 s":
        assert re.search(bar(words), said), said
    assert code == 0, said

    code, said = Terminal("restore", "20200101T000000Z-000000", "--data", f"{FOLDER}/restored").end()
    assert re.search(bar(r"the warehouse starts: \d+ s"), said), said
    assert code == 1 and "20200101T000000Z-000000" in said, said


shell()
colours()
bars()
