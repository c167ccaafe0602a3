"""What is queued: records in memory, or in files that outlive the process. Neither is safe for several threads by itself.

A record is one byte, what it is, and then a message of the contracts.

In files a record is a header, the record's length and its CRC-32, both four bytes, little endian, and then the record. Files are
named by number; `sent` says up to where in which file all was acknowledged. What a crash cut off at the end of the last file is
cut off at the next start. The clients in other languages keep the same form.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Protocol

EVENT, IDENTIFY = 0, 1

OVERHEAD = 96
"""What a record takes in memory beside its bytes, about."""

_HEADER = struct.Struct("<II")
_SENT = struct.Struct("<QQI")
_FILE_BYTES = 4 << 20


class Store(Protocol):
    """A queue of records, first in first out."""

    records: int
    """How many there are."""
    size: int
    """What they take, in bytes."""

    def append(self, record: bytes) -> None:
        """Puts a record at the end. Raises OSError if it can't be written: then it isn't queued."""

    def first(self, most: int, most_bytes: int) -> list[bytes]:
        """The first records, at least one if there are any."""

    def drop(self, count: int) -> None:
        """Forgets the first `count` records: they are acknowledged."""

    def close(self) -> None:
        """Lets go of what the system gave."""


class Memory:
    """Records in memory."""

    def __init__(self) -> None:
        self.records = 0
        self.size = 0
        self._queue: deque[bytes] = deque()

    def append(self, record: bytes) -> None:
        self._queue.append(record)
        self.records += 1
        self.size += len(record) + OVERHEAD

    def first(self, most: int, most_bytes: int) -> list[bytes]:
        return list(islice(self._queue, _fit(map(len, islice(self._queue, most)), most_bytes)))

    def drop(self, count: int) -> None:
        for _ in range(count):
            self.size -= len(self._queue.popleft()) + OVERHEAD
        self.records -= count

    def close(self) -> None:
        pass


class Files:
    """Records in the files of a directory, which one process has at a time. Memory holds where they are, not what they say."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._dir = Path(directory)
        self._dir.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self._dir / "lock")
        self.records = 0
        self.size = 0
        self._sizes: deque[int] = deque()
        """Of each record, with its header."""
        numbers = sorted(int(file.stem) for file in self._dir.glob("*.queue") if file.stem.isdigit())
        sent_file, sent_at = self._read_sent()
        self._files: deque[tuple[int, int]] = deque()
        """The number of each file, and how many of its records are still there."""
        self._at = 0
        """Where the first record lies in the first file."""
        for number in numbers:
            if number < sent_file:
                self._path(number).unlink()
                continue
            start = sent_at if number == sent_file else 0
            sizes = self._scan(number, start)
            if not self._files:
                self._at = start
            self._files.append((number, len(sizes)))
            self._sizes.extend(sizes)
            self.records += len(sizes)
            self.size += sum(sizes)
        # Always a new file: the end of an old one is never written again.
        self._open(max([sent_file, *numbers]) + 1)
        self._reading: tuple[int, int] | None = None
        self._tidy()

    def append(self, record: bytes) -> None:
        if self._tail_bytes >= _FILE_BYTES:
            self._tail.close()
            self._open(self._files[-1][0] + 1)
        written = _HEADER.pack(len(record), zlib.crc32(record)) + record
        try:
            if self._tail.write(written) != len(written):
                raise OSError("the disk is full")
        except OSError:
            # Half a record would hide what follows.
            self._tail.truncate(self._tail_bytes)
            self._tail.seek(self._tail_bytes)
            raise
        self._tail_bytes += len(written)
        number, there = self._files[-1]
        self._files[-1] = (number, there + 1)
        self._sizes.append(len(written))
        self.records += 1
        self.size += len(written)

    def first(self, most: int, most_bytes: int) -> list[bytes]:
        number, there = self._files[0]
        most = min(most, there)
        sizes = list(islice(self._sizes, _fit(islice(self._sizes, most), most_bytes)))
        data = os.pread(self._reader(number), sum(sizes), self._at)
        found, at = [], 0
        for size in sizes:
            found.append(data[at + _HEADER.size : at + size])
            at += size
        return found

    def drop(self, count: int) -> None:
        number, there = self._files[0]
        gone = sum(self._sizes.popleft() for _ in range(count))
        self._at += gone
        self._files[0] = (number, there - count)
        self.records -= count
        self.size -= gone
        place = struct.pack("<QQ", number, self._at)
        # In one write: read again, it is right or, torn, as if it weren't there.
        os.pwrite(self._sent, place + struct.pack("<I", zlib.crc32(place)), 0)
        self._tidy()

    def close(self) -> None:
        self._tail.close()
        if self._reading is not None:
            os.close(self._reading[1])
        os.close(self._sent)
        os.close(self._lock)

    def _path(self, number: int) -> Path:
        return self._dir / f"{number:08}.queue"

    def _open(self, number: int) -> None:
        self._tail = open(self._path(number), "xb", buffering=0)  # noqa: SIM115: it is open as long as it is the last
        self._tail_bytes = 0
        self._files.append((number, 0))

    def _reader(self, number: int) -> int:
        if self._reading is None or self._reading[0] != number:
            if self._reading is not None:
                os.close(self._reading[1])
            self._reading = (number, os.open(self._path(number), os.O_RDONLY))
        return self._reading[1]

    def _tidy(self) -> None:
        """Deletes the files before the last of which nothing is left."""
        while len(self._files) > 1 and self._files[0][1] == 0:
            number, _ = self._files.popleft()
            self._path(number).unlink()
            self._at = 0

    def _read_sent(self) -> tuple[int, int]:
        self._sent = os.open(self._dir / "sent", os.O_RDWR | os.O_CREAT, 0o600)
        data = os.pread(self._sent, _SENT.size, 0)
        if len(data) == _SENT.size and zlib.crc32(data[:16]) == _SENT.unpack(data)[2]:
            number, at, _ = _SENT.unpack(data)
            return number, at
        os.pwrite(self._sent, bytes(_SENT.size), 0)  # a full disk shows now
        return 0, 0

    def _scan(self, number: int, start: int) -> list[int]:
        """The sizes of a file's whole records; cuts off what follows them."""
        sizes, at = [], start
        with open(self._path(number), "r+b") as file:
            file.seek(start)
            while len(header := file.read(_HEADER.size)) == _HEADER.size:
                length, crc = _HEADER.unpack(header)
                record = file.read(length)
                if len(record) != length or length == 0 or zlib.crc32(record) != crc:
                    break
                sizes.append(_HEADER.size + length)
                at += sizes[-1]
            if at < file.seek(0, os.SEEK_END):
                file.truncate(at)
        return sizes


def _fit(sizes: Iterable[int], most_bytes: int) -> int:
    """How many of the sizes fit into so many bytes: at least one, if there is one."""
    count = total = 0
    for size in sizes:
        total += size
        if count and total > most_bytes:
            break
        count += 1
    return count


def _locked(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        import fcntl
    except ImportError:  # Windows: the caller sees to it
        return lock
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise BlockingIOError(f"another client has {path.parent}: each needs a directory of its own") from None
    return lock
