#!/usr/bin/env python3
"""ClickHouse servers on loopback that know one another, for tests: the engine's library as `clickhouse local` that listens.

    clickhouse.py hold DIR N   start servers 1 to N with their data under DIR; print their addresses for HTTP in one line

It then does what standard input says, a line each, and prints `done`: `kill I` (SIGKILL), `start I` (again, on its ports). When standard input ends,
so do the servers, and DIR is removed. Each server is a shard of the cluster `penstock`, with a disk `backups` of its own. They have no ClickHouse Keeper, hence no replicas and no `ON CLUSTER`: the
library's replicated tables never become writable, and it doesn't offer its parts to others. One that is asked for all shards while another is
dead says so, and may abort then, which a ClickHouse server doesn't: it is started again.
"""

import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIBRARY = ROOT / ".tools/engine/libchdb.so"
# Runs for as long as the server does: it ends with its last statement.
STATEMENTS = "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; SELECT sleepEachRow(3) FROM numbers(1000000000) SETTINGS max_block_size = 1 FORMAT Null"
PATIENCE_SECONDS = 120


def serve(home, tcp, http):
    """Is one of the servers."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    library = ctypes.CDLL(str(LIBRARY))
    library.chdb_query_cmdline.restype = ctypes.c_void_p
    library.chdb_query_cmdline.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]
    library.chdb_result_error.restype = ctypes.c_char_p
    library.chdb_result_error.argtypes = [ctypes.c_void_p]
    arguments = ["clickhouse", f"--config-file={home}/config.xml", f"--path={home}/data", f"--tcp_port={tcp}", f"--http_port={http}"]
    arguments = [text.encode() for text in [*arguments, "--listen_host=127.0.0.1", "-q", STATEMENTS]]
    result = library.chdb_query_cmdline(len(arguments), (ctypes.c_char_p * len(arguments))(*arguments))
    sys.exit((library.chdb_result_error(result) or b"it ended").decode())


def free_ports(count):
    """Below the ephemeral ones, so that no client's socket takes one between two lives of a server; and of a range that is this process's own, so that no
    other who starts servers at the same time does."""
    for attempt in range(1000):
        first = 8_000 + (os.getpid() + 7 * attempt) % 90 * 20
        ports, probes = range(first, first + count), [socket.socket() for _ in range(count)]
        try:
            for port, probe in zip(ports, probes):
                probe.bind(("127.0.0.1", port))
            return list(ports)
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    sys.exit("no ports are free")


class Servers:
    def __init__(self, directory, count):
        ports = free_ports(2 * count)
        self.ports = list(zip(ports[:count], ports[count:]))
        self.homes = [directory / str(number) for number in range(1, count + 1)]
        self.processes = [None] * count
        self.lock = threading.Lock()
        self.wanted = set()  # the numbers of those that were not killed here
        shards = "".join(f"<shard><replica><host>127.0.0.1</host><port>{tcp}</port></replica></shard>" for tcp, _ in self.ports)
        for home in self.homes:
            home.mkdir(parents=True)
            backups = f"<disks><backups><type>local</type><path>{home}/backups/</path></backups></disks>"
            home.joinpath("config.xml").write_text(
                f"<clickhouse><remote_servers><penstock>{shards}</penstock></remote_servers><storage_configuration>{backups}</storage_configuration>"
                "<backups><allowed_disk>backups</allowed_disk></backups></clickhouse>"
            )
        for number in range(1, count + 1):
            self.launch(number)
        for number in range(1, count + 1):
            self.wait(number)

    def launch(self, number):
        self.wanted.add(number)
        home, (tcp, http) = self.homes[number - 1], self.ports[number - 1]
        with open(home / "log", "ab") as log:
            command = [sys.executable, __file__, "serve", str(home), str(tcp), str(http)]
            self.processes[number - 1] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait(self, number):
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.ports[number - 1][1]}/ping", timeout=5).read()
                return
            except OSError:
                time.sleep(0.05)
        sys.exit(f"server {number} did not start: {(self.homes[number - 1] / 'log').read_text()}")

    def kill(self, number):
        with self.lock:
            self.wanted.discard(number)
            self.processes[number - 1].kill()
            self.processes[number - 1].wait()

    def start(self, number):
        with self.lock:
            self.launch(number)
        self.wait(number)

    def supervise(self):
        while True:
            time.sleep(0.1)
            with self.lock:
                for number in list(self.wanted):
                    if self.processes[number - 1].poll() is not None:
                        self.launch(number)


def hold(directory, count):
    directory.mkdir(parents=True)
    try:
        servers = Servers(directory, count)
        threading.Thread(target=servers.supervise, daemon=True).start()
        print(*(f"http://127.0.0.1:{http}" for _, http in servers.ports), flush=True)
        for line in sys.stdin:
            what, number = line.split()
            getattr(servers, what)(int(number))
            print("done", flush=True)
    finally:
        servers.lock.acquire()  # for good
        for process in servers.processes:
            process.kill()
            process.wait()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["hold", directory, count]:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is sent to a group must not keep it from cleaning up
            hold(pathlib.Path(directory), int(count))
        case ["serve", home, tcp, http]:
            serve(home, tcp, http)
        case _:
            sys.exit(__doc__)
