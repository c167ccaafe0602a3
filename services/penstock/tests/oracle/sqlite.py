"""Runs the SQL statements of standard input on the SQLite file that the argument names, past the program whose file it is."""

import sqlite3
import sys

with sqlite3.connect(sys.argv[1], timeout=30) as file:
    file.executescript(sys.stdin.read())
