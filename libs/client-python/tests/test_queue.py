"""The queue by itself: what it keeps, when batches leave, what is sent again and what is not."""

from __future__ import annotations

import tempfile
import threading
import unittest
from pathlib import Path

from penstock import errors
from penstock.calls import Settings
from penstock.sender import EVENT, Event, Flushed, Identity, Limits, Rejection, Sender, encoded_event, encoded_identity
from penstock.store import Files, Memory
from penstock.v1 import ingest_pb2
from penstock.values import event_id, to_value

PATIENCE = 60.0
NEVER = 3600.0


def record(text: str) -> bytes:
    return bytes([EVENT]) + text.encode()


class KeyTest(unittest.TestCase):
    def test_a_key_out_of_a_file_is_good_and_what_no_call_could_carry_is_refused_at_once(self) -> None:
        def key(given: str) -> str:
            return Settings.of(None, given, None, 1.0, False).key

        self.assertEqual(key(" pnsk_live_x\r\n"), "pnsk_live_x")
        for wrong in ("", " \n", "a b", "a\nb", "pnsk_l\u00efve", "a\x00"):
            with self.assertRaises(ValueError, msg=repr(wrong)):
                key(wrong)


class FilesTest(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.dir = Path(scratch.name)

    def left(self) -> list[bytes]:
        files = Files(self.dir)
        found: list[bytes] = []
        while first := files.first(100, 1 << 20):
            found += first
            files.drop(len(first))
        files.close()
        return found

    def test_what_is_acknowledged_is_gone_and_the_rest_is_there_at_the_next_start(self) -> None:
        files = Files(self.dir)
        for n in range(10):
            files.append(record(f"event {n}"))
        self.assertEqual(files.first(2, 1 << 20), [record("event 0"), record("event 1")])
        files.drop(3)
        files.close()
        again = Files(self.dir)
        self.assertEqual((again.records, again.first(1, 1)), (7, [record("event 3")]))
        again.append(record("later"))
        again.drop(6)
        again.close()
        self.assertEqual(self.left(), [record("event 9"), record("later")])
        self.assertEqual(self.left(), [])

    def test_a_torn_end_is_cut_off_and_nothing_before_it(self) -> None:
        for cut in range(1, len(record("three")) + 8):
            files = Files(self.dir)
            for text in ("one", "two", "three"):
                files.append(record(text))
            files.close()
            [file] = [path for path in self.dir.glob("*.queue") if path.stat().st_size]
            file.write_bytes(file.read_bytes()[:-cut])
            self.assertEqual(self.left(), [record("one"), record("two")], cut)

    def test_a_record_that_was_changed_is_not_sent(self) -> None:
        files = Files(self.dir)
        for text in ("one", "two"):
            files.append(record(text))
        files.close()
        file = self.dir / "00000001.queue"
        file.write_bytes(file.read_bytes().replace(b"two", b"tvo"))
        self.assertEqual(self.left(), [record("one")])

    def test_many_files_are_one_queue_and_those_that_are_done_are_deleted(self) -> None:
        files = Files(self.dir)
        for n in range(5):
            files.append(record(f"{n}" * (3 << 20)))
        self.assertGreater(len(list(self.dir.glob("*.queue"))), 2)
        files.close()
        self.assertEqual([part[1:2] for part in self.left()], [b"0", b"1", b"2", b"3", b"4"])
        self.assertLessEqual(len(list(self.dir.glob("*.queue"))), 1)

    def test_a_directory_is_one_client_s(self) -> None:
        files = Files(self.dir)
        with self.assertRaises(BlockingIOError):
            Files(self.dir)
        files.close()
        Files(self.dir).close()


class House:
    """A server that does as it is told: refuses what `refusals` say, one call after another, and takes the rest."""

    def __init__(self, *refusals: errors.PenstockError) -> None:
        self.refusals = list(refusals)
        self.batches: list[list[str]] = []
        self.tokens: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self.called = threading.Semaphore(0)

    def publish(self, request: bytes) -> ingest_pb2.Acknowledgement:
        batch = ingest_pb2.PublishRequest.FromString(request)
        self.called.release()
        self.open.wait(PATIENCE)
        if self.refusals:
            raise self.refusals.pop(0)
        types = [event.event_type for event in batch.events]
        self.batches.append(types)
        self.tokens.append(batch.position_token)
        bad = [i for i, event_type in enumerate(types) if event_type == "bad"]
        return ingest_pb2.Acknowledgement(
            accepted=len(types) - len(bad),
            rejections=[
                ingest_pb2.Rejection(index=i, code="TOO_LONG", field=f"events[{i}].properties.x", message="no") for i in bad
            ],
            position_token=f"token {len(self.batches)}",
        )

    def identify(self, request: bytes) -> str:
        if self.refusals:
            raise self.refusals.pop(0)
        user = ingest_pb2.IdentifyRequest.FromString(request)
        self.batches.append([f"identify {user.user_id}"])
        self.tokens.append(user.position_token)
        return f"token {len(self.batches)}"

    def close(self) -> None:
        self.open.set()


class SenderTest(unittest.TestCase):
    def sender(self, house: House, **limits: float) -> Sender:
        self.rejections: list[Rejection] = []
        settings = {"batch_seconds": NEVER} | limits
        sender = Sender(Memory(), house, "app", Limits(**settings), self.rejections.append)  # type: ignore[arg-type]
        self.addCleanup(sender.close, False)
        return sender

    def track(self, sender: Sender, *types: str) -> None:
        for event_type in types:
            self.assertIsNone(sender.offer(encoded_event(Event(event_type, "u"))))

    def flush(self, sender: Sender) -> Flushed:
        return sender.flush().result(PATIENCE)

    def test_batches_leave_by_count_in_order(self) -> None:
        house = House()
        sender = self.sender(house, batch_events=3)
        house.open.clear()
        self.track(sender, *(f"e{n}" for n in range(7)))
        self.assertTrue(house.called.acquire(timeout=PATIENCE))
        house.open.set()
        self.assertEqual(self.flush(sender).accepted, 7)
        self.assertEqual(house.batches, [["e0", "e1", "e2"], ["e3", "e4", "e5"], ["e6"]])

    def test_batches_leave_by_bytes_and_by_time(self) -> None:
        house = House()
        self.track(self.sender(house, batch_bytes=200), *["x" * 120] * 2)
        self.assertTrue(house.called.acquire(timeout=PATIENCE))
        house = House()
        self.track(self.sender(house, batch_seconds=0.01), "one")
        self.assertTrue(house.called.acquire(timeout=PATIENCE))

    def test_each_token_covers_what_came_before(self) -> None:
        house = House()
        sender = self.sender(house)
        for _ in range(2):
            self.track(sender, "e")
            token = self.flush(sender).token
        self.assertEqual((house.tokens, token), (["", "token 1"], "token 2"))

    def test_users_are_told_of_in_their_turn(self) -> None:
        house = House()
        sender = self.sender(house)
        self.track(sender, "a", "b")
        sender.offer(encoded_identity(Identity("u", {"plan": "pro"})))
        self.track(sender, "c")
        self.assertEqual(self.flush(sender), Flushed(3, 0, "token 3"))
        self.assertEqual(house.batches, [["a", "b"], ["identify u"], ["c"]])

    def test_what_may_succeed_later_is_sent_again(self) -> None:
        house = House(
            errors.Unavailable("away"),
            errors.ResourceExhausted("busy", reason="RESOURCE_EXHAUSTED", retry_after=0.01),
            errors.PenstockError("reset", code="INTERNAL"),
        )
        sender = self.sender(house)
        self.track(sender, "e")
        self.assertEqual(self.flush(sender).accepted, 1)

    def test_what_can_t_succeed_stays_queued_and_says_why(self) -> None:
        house = House(errors.Unauthenticated("revoked", reason="UNAUTHENTICATED"))
        sender = self.sender(house)
        self.track(sender, "e")
        with self.assertRaises(errors.Unauthenticated):
            self.flush(sender)
        self.assertEqual((sender.pending, house.batches), (1, []))
        self.assertEqual(self.flush(sender).accepted, 1)

    def test_a_batch_that_is_too_large_is_halved_until_it_fits(self) -> None:
        too_long = errors.InvalidArgument("", violations=[errors.Violation("events", "TOO_LONG", "the limit is 1")])
        house = House(too_long, too_long, too_long)
        sender = self.sender(house)
        self.track(sender, *"abcde")
        flushed = self.flush(sender)
        self.assertEqual((flushed.accepted, flushed.rejected), (4, 1))
        self.assertEqual((self.rejections[0].code, self.rejections[0].item.event_type), ("TOO_LONG", "a"))  # type: ignore[union-attr]

    def test_another_installation_s_token_is_forgotten(self) -> None:
        house = House()
        sender = self.sender(house)
        self.track(sender, "a")
        self.flush(sender)
        house.refusals.append(errors.InvalidArgument("", violations=[errors.Violation("position_token", "MALFORMED", "")]))
        self.track(sender, "b")
        self.assertEqual(self.flush(sender).accepted, 1)
        self.assertEqual(house.tokens, ["", ""])

    def test_each_rejected_event_is_handed_back_with_its_reason(self) -> None:
        sender = self.sender(House())
        self.track(sender, "good", "bad", "good")
        flushed = self.flush(sender)
        self.assertEqual((flushed.accepted, flushed.rejected), (2, 1))
        [rejection] = self.rejections
        self.assertEqual((rejection.code, rejection.field, rejection.item.user_id), ("TOO_LONG", "properties.x", "u"))

    def test_a_full_queue_takes_no_more_until_there_is_room(self) -> None:
        house = House()
        house.open.clear()
        sender = self.sender(house, queue_bytes=500)
        tracked = 0
        while (room := sender.offer(encoded_event(Event("e", "u")))) is None:
            tracked += 1
        self.assertTrue(house.called.acquire(timeout=PATIENCE))
        self.assertFalse(room.done())
        house.open.set()
        room.result(PATIENCE)
        self.assertIsNone(sender.offer(encoded_event(Event("e", "u"))))
        self.assertEqual(self.flush(sender).accepted, tracked + 1)

    def test_what_is_not_sent_at_the_end_is_handed_back(self) -> None:
        sender = self.sender(House())
        self.track(sender, "a", "b")
        sender.close(False)
        self.assertEqual([rejection.code for rejection in self.rejections], ["NOT_SENT", "NOT_SENT"])
        with self.assertRaises(errors.Closed):
            sender.offer(encoded_event(Event("c")))


class ValuesTest(unittest.TestCase):
    def test_ids_ascend(self) -> None:
        ids = [event_id() for _ in range(10_000)]
        self.assertEqual(ids, sorted(set(ids)))
        self.assertEqual((ids[0][14], ids[0][19] in "89ab"), ("7", True))

    def test_what_can_t_be_sent_says_so(self) -> None:
        from datetime import datetime

        for value, error in [(2**53 + 1, ValueError), (float("nan"), ValueError), (datetime(2026, 1, 1), ValueError), ([], TypeError)]:
            with self.assertRaisesRegex(error, "properties.x"):
                to_value(value, "properties.x")


if __name__ == "__main__":
    unittest.main()
