#!/usr/bin/env python3
"""Disturbs the stand, one fault after the other, under load, and says what users saw: writes a table to target/chaos.md.

Faults are those that docs/operations.md lists, with the codes that sending and asking may see of each. The run fails if anything acknowledged was lost or counted twice, if an
answer was wrong, if users saw a code that isn't documented, or if it didn't come back. PENSTOCK names the program; `chaos.py WORD...` runs only the faults that have one of
the words; CHAOS_SECONDS says how long each lasts (15)."""

import asyncio
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict

from stand import ROOT, Stand

DURING = float(os.environ.get("CHAOS_SECONDS", "15"))
AROUND = DURING / 2
# After this it counts as not coming back.
PATIENCE = 120.0
# How long a client waits for an answer.
ANSWER = 30.0
BATCH, SENDERS, APP = 200, 2, "xyz123"
PAGE = ROOT / "docs/operations.md"
BEGIN, END = "<!-- chaos.py: -->", "<!-- :chaos.py -->"
# What a client sees of a gateway that isn't there: it sends again elsewhere.
CUT = "no connection"
FAKETIME = next(iter(sorted(pathlib.Path("/usr/lib").rglob("libfaketime.so.1"))), None)


class Proxy:
    """Stands before a part, on a port of its own: passes on, passes on late, says nothing, or refuses."""

    loop = asyncio.new_event_loop()

    def __init__(self, upstream):
        self.upstream, self.mode, self.port, self.server, self.open = upstream, "well", 0, None, set()
        if not Proxy.loop.is_running():
            threading.Thread(target=Proxy.loop.run_forever, daemon=True).start()
        self.do(self.listen())

    def do(self, work):
        return asyncio.run_coroutine_threadsafe(work, Proxy.loop).result(30)

    async def listen(self):
        self.server = await asyncio.start_server(self.carry, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def carry(self, reader, writer):
        self.open.add(writer)
        other = None
        with contextlib.suppress(OSError):
            host, port = self.upstream()
            back, other = await asyncio.open_connection(host, port)
            self.open.add(other)
            await asyncio.gather(self.pump(reader, other), self.pump(back, writer))
        for end in filter(None, (writer, other)):
            self.open.discard(end)
            end.close()

    async def pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                while self.mode == "silent":
                    await asyncio.sleep(0.05)
                if self.mode == "slow":
                    await asyncio.sleep(0.1)
                sink.write(data)
                await sink.drain()
        sink.close()

    async def change(self, mode):
        self.mode = mode
        if mode == "refusing" and self.server:
            self.server.close()
            self.server = None
            for end in list(self.open):
                end.transport.abort()
        if mode != "refusing" and not self.server:
            await self.listen()

    def set(self, mode):
        self.do(self.change(mode))


class Users:
    """Who send and ask, and what they saw. What is acknowledged is in the books."""

    def __init__(self, stand):
        self.stand, self.lock, self.over = stand, threading.Lock(), threading.Event()
        self.phase, self.seconds, self.errors = "before", defaultdict(list), {"sending": Counter(), "asking": Counter()}
        self.wrong, run = [], f"{random.getrandbits(32):08x}"
        clients = [f"{run}-{i}" for i in range(SENDERS)]
        # Events and their sum: those that were acknowledged, with the token that covers them; and those that were sent.
        self.acknowledged, self.tokens, self.sent = ({client: first for client in clients} for first in ((0, 0), "", (0, 0)))
        self.threads = [threading.Thread(target=work, args=(client,), daemon=True) for client in clients for work in (self.send, self.ask_on)]
        for thread in self.threads:
            thread.start()

    def call(self, kind, path, body, gateway=None):
        """The answer, or nothing and the code counted."""
        began, code, answer = time.monotonic(), CUT, None
        phase = self.phase
        try:
            host, port = (gateway or random.choice(self.stand.gateways)).split(":")
            connection = http.client.HTTPConnection(host, int(port), timeout=ANSWER)
            with contextlib.closing(connection):
                connection.request("POST", path, json.dumps(body), {"authorization": f"Bearer {self.stand.key}"})
                response = connection.getresponse()
                text = response.read()
                if response.status == 200:
                    answer = json.loads(text)
                else:
                    details = json.loads(text).get("error", {}).get("details", [])
                    code = next((detail["reason"] for detail in details if "reason" in detail), f"status {response.status}")
        except TimeoutError:
            code = f"no answer in {ANSWER:.0f} s"
        except (OSError, http.client.HTTPException, ValueError):
            pass
        with self.lock:
            if answer is None:
                self.errors[kind][code] += 1
            else:
                self.seconds[kind, phase].append(time.monotonic() - began)
        return answer

    def ask(self, client, token="", gateway=None):
        """Events of the client, different ids among them, and their sum."""
        sql = f"SELECT COUNT(*), COUNT(DISTINCT event_id), SUM(n) FROM events WHERE app_id = '{APP}' AND client = '{client}'"
        options = {"position_token": token, "max_wait_ms": 10_000}
        answer = self.call("asking", "/v1/sql", {"sql": sql, "app_id": APP, "options": options}, gateway)
        if answer is None:
            return None
        values = [next(iter(value.values()), None) if value else None for value in answer["result"]["rows"][0]["values"]]
        return [int(float(value or 0)) for value in values]

    def send(self, client):
        """Batch after batch, each until it is acknowledged."""
        while not self.over.is_set():
            count, total = self.sent[client]
            numbers = [random.randrange(1_000) for _ in range(BATCH)]
            # So many users are in every partition: a batch's token covers all before it.
            batch = [
                {"app_id": APP, "event_type": "chaos", "event_id": f"{client}-{count + i}", "user_id": f"{client}-{i}", "properties": {"client": client, "n": n}}
                for i, n in enumerate(numbers)
            ]
            self.sent[client] = count + BATCH, total + sum(numbers)
            while (answer := self.call("sending", "/v1/events", batch)) is None:
                time.sleep(0.1)
            if int(answer["accepted"]) != BATCH:
                self.note(f"{client}: {answer} for {BATCH} events")
            with self.lock:
                self.acknowledged[client], self.tokens[client] = self.sent[client], answer["position_token"]
            time.sleep(0.1)

    def ask_on(self, client):
        """For all that was acknowledged, and for what there is, in turn. An answer has no less than that, no more than was sent, and nothing twice."""
        covered = False
        # Before any event came, nobody knows the properties that it asks for.
        while not self.tokens[client] and not self.over.is_set():
            time.sleep(0.1)
        while not self.over.is_set():
            covered = not covered
            with self.lock:
                (least, least_sum), token = (self.acknowledged[client], self.tokens[client]) if covered else ((0, 0), "")
            counted = self.ask(client, token)
            if counted is not None:
                (rows, ids, total), (most, most_sum) = counted, self.sent[client]
                if rows != ids or not least <= rows <= most or not least_sum <= total <= most_sum:
                    self.note(f"{client}: {counted} in the place of {least} to {most}, their sum {least_sum} to {most_sum}")
            time.sleep(0.1)

    def note(self, what):
        with self.lock:
            self.wrong.append(what)

    def comes_back(self):
        """Seconds until both gateways take an event and answer with it, or nothing."""
        began = time.monotonic()
        for gateway in self.stand.gateways:
            while True:
                sent = self.call("sending", "/v1/events", [{"app_id": APP, "event_type": "back"}], gateway)
                if sent and self.ask("nobody", sent["position_token"], gateway) is not None:
                    break
                if time.monotonic() - began > PATIENCE:
                    return None
                time.sleep(0.1)
        return time.monotonic() - began

    def settle(self):
        """Ends, and holds the books against what there is: how many are lost and doubled."""
        self.over.set()
        for thread in self.threads:
            thread.join(PATIENCE)
        lost = doubled = 0
        for client, (count, expected) in self.acknowledged.items():
            end = time.monotonic() + PATIENCE
            while (counted := self.ask(client, self.tokens[client])) is None and time.monotonic() < end:
                time.sleep(0.2)
            rows, ids, total = counted or (0, 0, 0)
            lost, doubled = lost + max(0, count - ids), doubled + rows - ids
            if ids == count == rows and total != expected:
                self.note(f"{client}: the sum {total} in the place of {expected}")
        return lost, doubled

    def p99(self, kind):
        with self.lock:
            taken = [sorted(self.seconds[kind, phase]) for phase in ("before", "during", "after")]
        return " / ".join(f"{all[min(len(all) - 1, int(len(all) * 0.99))] * 1000:,.0f}" if all else "-" for all in taken)


class House:
    """The stand behind proxies, and what may be done to it. Each fault is a context: it is on within."""

    def __init__(self, home):
        self.dir = home / "stand"
        self.disks = []
        for part, size in (("warehouse", "1500m"), ("kafka", "600m")):
            (self.dir / part).mkdir(parents=True)
            if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "penstock-chaos", self.dir / part], stderr=subprocess.DEVNULL).returncode == 0:
                self.disks.append(part)
        up = lambda part: subprocess.run([ROOT / f"deploy/stand/{part}.sh", "up", self.dir / part], check=True, capture_output=True, text=True).stdout.strip()
        postgres, redis = up("postgres"), up("redis")
        port = lambda url: int(re.search(r":(\d+)(/\w*)?$", url)[1])
        self.proxies = {
            "postgres": Proxy(lambda: ("127.0.0.1", port(postgres))),
            "redis": Proxy(lambda: ("127.0.0.1", port(redis))),
            "warehouse": Proxy(self.warehouse),
        }
        through = lambda url, part: re.sub(r":\d+(/\w*)?$", rf":{self.proxies[part].port}\1", url)
        told = {"METASTORE": through(postgres, "postgres"), "CACHE": through(redis, "redis"), "WAREHOUSE": f"http://127.0.0.1:{self.proxies['warehouse'].port}"}
        self.stand = Stand(home, **told)

    def warehouse(self):
        host, port = re.search(r'warehouse_listen = "(.*):(\d+)"', (self.dir / "warehouse/penstock.toml").read_text()).groups()
        return host, int(port)

    @contextlib.contextmanager
    def proxied(self, part, mode):
        self.proxies[part].set(mode)
        try:
            yield
        finally:
            self.proxies[part].set("well")

    @contextlib.contextmanager
    def down(self, part):
        self.stand.part(part, "down")
        try:
            yield
        finally:
            self.stand.part(part, "up")

    @contextlib.contextmanager
    def killed(self, *names):
        for name in names:
            self.stand.do("kill", name)
        try:
            yield
        finally:
            for name in names:
                self.stand.do("start", name)

    def broker(self):
        return int((self.dir / "kafka/1/pid").read_text())

    @contextlib.contextmanager
    def kafka(self, how):
        """Kafka tells clients its own address, so there is no proxy: it is stopped, for good or four tenths of each half second, or killed."""
        if how == "gone":
            self.stand.part("kafka", "kill", "1")
            try:
                yield
            finally:
                self.stand.part("kafka", "start", "1")
            return
        ended = threading.Event()

        def stutter():
            while not ended.is_set():
                os.kill(self.broker(), signal.SIGSTOP)
                ended.wait(0.4 if how == "slow" else DURING * 2)
                os.kill(self.broker(), signal.SIGCONT)
                ended.wait(0.1)

        thread = threading.Thread(target=stutter)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @contextlib.contextmanager
    def full(self, part):
        stuffing = self.dir / part / "stuffing"
        free = shutil.disk_usage(self.dir / part).free
        with stuffing.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            for _ in range(free // 4096 + 1):
                file.write(bytes(4096))
        try:
            yield
        finally:
            stuffing.unlink()
            if part == "kafka":
                # A broker whose disk fails ends itself: somebody starts it again.
                self.stand.part("kafka", "start", "1")

    @contextlib.contextmanager
    def busy(self, role):
        """All processes of the role on one core, with four that want all of it."""
        pids = [self.stand.pid(path.parent.name) for path in self.dir.glob(f"{role}-*/pid")]
        threads = [int(task.name) for pid in pids for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
        everywhere = os.sched_getaffinity(0)
        def pin(cores):
            for thread in threads:
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(thread, cores)

        pin({min(everywhere)})
        hogs = [subprocess.Popen(["taskset", "-c", str(min(everywhere)), sys.executable, "-c", "while True: pass"]) for _ in range(4)]
        try:
            yield
        finally:
            for hog in hogs:
                hog.kill()
                hog.wait()
            pin(everywhere)

    @contextlib.contextmanager
    def clock(self, role, shift):
        """The role's processes are killed and started under another clock: of the day alone, what is waited for goes on."""
        names = [path.parent.name for path in self.dir.glob(f"{role}-*/pid")]
        control = self.dir / f"{role}.clock"
        control.write_text(shift)
        environment = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(control), "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_CACHE_DURATION": "1"}
        for name in names:
            self.stand.do("kill", name)
            self.stand.do("start", name, **environment)
        try:
            yield
        finally:
            for name in names:
                self.stand.do("kill", name)
                self.stand.do("start", name)

    def fault(self, name):
        """How to do what the documentation calls so; a text if it can't be done here."""
        part, _, what = name.partition(": ")
        part = {"PostgreSQL": "postgres", "Redis": "redis", "Kafka": "kafka", "the warehouse": "warehouse"}.get(part, part)
        match part, what:
            case ("kafka", "slow" | "silent" | "gone"):
                return self.kafka(what)
            case (_, "disk full"):
                return self.full(part) if part in self.disks else "needs root, for a small disk"
            case ("warehouse", "gone"):
                return self.killed("warehouse")
            case (_, "gone") if part in ("postgres", "redis"):
                return self.down(part)
            case (_, "slow" | "silent" | "refusing"):
                return self.proxied(part, what)
            case (_, "killed"):
                return self.killed(f"{part}-1")
            case (_, "a core that others want"):
                return self.busy(part)
            case (_, _) if what.startswith("clock "):
                return self.clock(part, what.removeprefix("clock ").replace(" ", "")) if FAKETIME else "needs libfaketime"
        raise SystemExit(f"docs/operations.md: {name!r} is no fault that chaos.py knows")

    def end(self):
        subprocess.run([ROOT / "deploy/stand/stack.sh", "down", self.dir], stdout=subprocess.DEVNULL)
        for part in self.disks:
            subprocess.run(["umount", "-l", self.dir / part])


def documented():
    """The faults of the documentation's table: the codes that sending and asking may see."""
    table = PAGE.read_text().split(BEGIN)[1].split(END)[0]
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines() if line.startswith("|")][2:]
    return {row[0]: {"sending": set(re.findall(r"`([^`]+)`", row[1])), "asking": set(re.findall(r"`([^`]+)`", row[2]))} for row in rows}


def run(house, name, allowed):
    """One fault under load: the row of the table, and what is wrong with it."""
    fault = house.fault(name)
    if isinstance(fault, str):
        return [name, f"not run: {fault}", *[""] * 8], []
    users = Users(house.stand)
    time.sleep(AROUND)
    users.phase = "during"
    try:
        with fault:
            time.sleep(DURING)
            users.phase = "ending"
    except subprocess.CalledProcessError as error:
        users.over.set()
        return [name, "not run to its end", *[""] * 8], [str(error)]
    back = users.comes_back()
    users.phase = "after"
    time.sleep(AROUND)
    lost, doubled = users.settle()
    total = sum(count for count, _ in users.acknowledged.values())
    undocumented = [f"{kind} saw {code}" for kind, codes in users.errors.items() for code in codes if code not in allowed[kind]]
    wrong = users.wrong + undocumented
    wrong += [f"{lost} acknowledged events are lost"] * bool(lost) + [f"{doubled} events count twice"] * bool(doubled)
    wrong += ["it did not come back"] * (back is None) + ["nothing was acknowledged"] * (not total)
    said = lambda codes: ", ".join(f"{code} {count}" for code, count in codes.most_common()) or "none"
    shown = [total, lost, doubled, len(users.wrong), said(users.errors["sending"]), said(users.errors["asking"])]
    return [name, *map(str, shown), users.p99("sending"), users.p99("asking"), "never" if back is None else f"{back:.1f}"], wrong


HEAD = ["fault", "acknowledged", "lost", "doubled", "wrong answers", "sending saw", "asking saw", "P99 of sending, ms: before / during / after", "P99 of asking, ms", "back after, s"]


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    faults = {name: codes for name, codes in documented().items() if len(sys.argv) == 1 or any(word in name for word in sys.argv[1:])}
    if not faults:
        sys.exit("docs/operations.md lists no such fault")
    home = pathlib.Path(tempfile.mkdtemp(prefix="penstock-chaos-"))
    home.chmod(0o755)  # PostgreSQL runs as a user of its own
    rows, wrong, house = [], {}, None
    try:
        house = House(home)
        for name, allowed in faults.items():
            row, faulty = run(house, name, allowed)
            rows.append(row)
            print(" | ".join(row), *[f"\n  WRONG: {what}" for what in faulty[:20]], flush=True)
            if faulty:
                wrong[name] = faulty
    finally:
        if house:
            house.end()
        shutil.rmtree(home, ignore_errors=True)
        target = ROOT / "target/chaos.md"
        target.parent.mkdir(exist_ok=True)
        lines = [HEAD, ["---", *["---:"] * 4, "---", "---", *["---:"] * 3], *rows]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
        target.write_text(text + "".join(f"\n{name}: {what}" for name, all in wrong.items() for what in all))
    if wrong:
        sys.exit(f"{len(wrong)} of {len(rows)} faults did what they must not; target/chaos.md says what")
    print(f"{len(rows)} faults; target/chaos.md")


if __name__ == "__main__":
    main()
