"""Whether a program that asks for a key on a terminal hides it, and leaves the terminal as it was when Ctrl-C comes: its arguments are the command."""

import pty
import signal
import subprocess
import sys
import termios

ours, its = pty.openpty()


def is_shown():
    return bool(termios.tcgetattr(ours)[3] & termios.ECHO)


child = subprocess.Popen(sys.argv[1:], stdin=its, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
asked = b""
while not asked.endswith(b": "):
    more = child.stderr.read(1)
    assert more, asked
    asked += more
assert not is_shown()
child.send_signal(signal.SIGINT)
assert child.wait(timeout=60) == 130, child.returncode
assert is_shown()
