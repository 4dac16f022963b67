"""What `dbx verify` proves of an evidence file, and that it names whatever was changed."""

import json
import subprocess
import sys
import uuid

import pytest

from hub import verify as verify_module
from hub.export.evidence import find_trailer, item_end, read_trailer
from hub.verify import main, verify
from shared.batch import GENESIS
from shared.envelope import digest
from shared.records import Gap, to_map
from tests.fix_evidence import SignedFlight, new_key

FLIGHT = SignedFlight()
FILE = FLIGHT.evidence()


def texts(data: bytes, **keys) -> str:
    report = verify(data, **keys)
    assert not report.is_proven
    return " | ".join(p.text for p in report.problems)


def test_a_whole_flight_is_proven_with_its_counts() -> None:
    report = verify(FILE)
    assert report.is_proven and report.is_whole and not report.problems
    assert (report.batches, report.frames, report.manifest_frames) == (4, 12, 12)
    assert any("manifest says 12 frames, 12 present" in p for p in report.proven)


def test_without_a_trusted_key_the_report_says_that_it_rests_on_the_files_own_keys() -> None:
    assert any("--hub-key" in n for n in verify(FILE).not_proven)
    assert not any("give its public key" in n for n in verify(FILE, [FLIGHT.hub[1]]).not_proven)


def test_a_file_of_another_hub_is_not_proven_to_who_trusts_ours() -> None:
    assert "not among the trusted ones" in texts(FILE, hub_keys=[new_key(9)[1]])


def test_batches_of_another_device_are_not_proven_to_who_trusts_ours() -> None:
    assert "not among the trusted ones" in texts(FILE, device_keys=[new_key(9)[1]])


def test_every_changed_byte_is_found_and_its_item_named() -> None:
    at = find_trailer(FILE)
    items = read_trailer(FILE, at)[1].items
    for i in range(0, len(FILE), 1 if len(FILE) < 2500 else 2):
        changed = bytearray(FILE)
        changed[i] ^= 1 << (i % 8)
        report = verify(bytes(changed))
        assert not report.is_proven, i
        if i < at:
            item = next(n for n, x in enumerate(items) if x.offset <= i < x.offset + x.length)
            named = [p for p in report.problems if p.item == item and p.offset <= i < p.offset + p.length]
            assert named, (i, report.problems)
        else:
            assert any("trailer" in p.text or p.kind == "trailer" for p in report.problems), i


def test_every_truncation_is_found() -> None:
    for cut in range(0, len(FILE), 7):
        assert not verify(FILE[:cut]).is_proven, cut


@pytest.mark.parametrize("extra", [b"\0", b"\xf6", FILE], ids=["byte", "item", "file"])
def test_bytes_after_the_trailer_are_found(extra: bytes) -> None:
    assert not verify(FILE + extra).is_proven


def test_a_removed_item_is_found() -> None:
    second = read_trailer(FILE, find_trailer(FILE))[1].items[2]
    assert "added or removed" in texts(FILE[: second.offset] + FILE[second.offset + second.length :])


def test_a_damaged_trailer_leaves_the_items_checked_by_their_own_signatures() -> None:
    at = find_trailer(FILE)
    report = verify(FILE[:at])
    assert report.frames == 12 and [p.text for p in report.problems] == [
        "there is no trailer: the file was cut off, or the trailer was changed"
    ]


def test_a_batch_that_the_hub_left_out_is_missed_although_all_signatures_hold() -> None:
    envelopes = FLIGHT.envelopes()
    del envelopes[2]
    assert "sequence 2 is missing, and no gap record says why" in texts(FLIGHT.evidence(envelopes))


def test_a_batch_that_the_hub_replaced_breaks_the_chain() -> None:
    envelopes = FLIGHT.envelopes() | {2: SignedFlight(frames=3).envelopes()[2]}
    assert "the chain breaks before sequence 3" in texts(FLIGHT.evidence(envelopes))


def test_evicted_batches_under_a_signed_gap_record_are_accounted_for_but_not_whole() -> None:
    report = verify(SignedFlight(lost=(2,)).evidence())
    assert report.is_proven and not report.is_whole and (report.frames, report.manifest_frames) == (8, 12)
    assert any("1 of 3 batches never came" in p and "evicted" in p for p in report.proven)


def test_a_gap_record_of_other_bytes_does_not_join_the_chain() -> None:
    flight = SignedFlight(lost=(2,))
    envelopes = flight.envelopes() | {3: SignedFlight(frames=3).envelopes()[3]}
    assert "the chain breaks before sequence 3" in texts(flight.evidence(envelopes))


def test_a_flight_without_its_closing_record_is_not_proven_complete() -> None:
    report = verify(SignedFlight(is_closed=False).evidence())
    assert not report.is_proven and not report.problems
    assert any("that the flight is complete" in n for n in report.not_proven)


def test_a_new_stores_word_on_what_the_old_one_lost_is_taken_and_other_streams_are_not() -> None:
    other = SignedFlight(stream=uuid.UUID(int=99))
    gap = Gap("store_reset", FLIGHT.stream, session=FLIGHT.flight, detail="torn")
    told = other.seal(1, GENESIS, b"", (to_map(gap),))
    committed = {s: digest(e) for s, e in FLIGHT.envelopes().items()}
    report = verify(FLIGHT.evidence(FLIGHT.envelopes() | {9: told}, committed))
    assert report.is_proven and any("store_reset" in n for n in report.not_proven)
    assert "says nothing of this flight" in texts(
        FLIGHT.evidence(FLIGHT.envelopes() | {9: other.envelopes()[1]}, committed)
    )


def test_a_manifest_that_counts_otherwise_is_found() -> None:
    assert "manifest says 13 frames, 12 are present" in texts(SignedFlight(manifest_frames=13).evidence())


def test_a_batch_without_receipt_and_a_receipt_of_other_bytes_are_found() -> None:
    committed = {s: digest(e) for s, e in FLIGHT.envelopes().items()}
    assert "no receipt covers sequence 2" in texts(
        FLIGHT.evidence(committed={s: d for s, d in committed.items() if s != 2})
    )
    assert "is for other bytes" in texts(FLIGHT.evidence(committed=committed | {2: bytes(32)}))


def test_the_command_prints_json_and_its_exit_status_says_whether_it_is_proven(tmp_path, capsys) -> None:
    good, bad = tmp_path / "good.dbxe", tmp_path / "bad.dbxe"
    good.write_bytes(FILE)
    bad.write_bytes(FILE[:-1])
    assert main([str(good), "--json", "--hub-key", FLIGHT.hub[1].hex()]) == 0
    assert json.loads(capsys.readouterr().out)["is_whole"] is True
    assert main([str(bad)]) == 1 and "NOT PROVEN" in capsys.readouterr().out
    assert main([str(tmp_path / "absent.dbxe")]) == 1 and "cannot be read" in capsys.readouterr().out


def test_checking_needs_neither_database_driver_nor_web_framework() -> None:
    code = "import sys, hub.verify; print([m for m in ('psycopg', 'fastapi', 'nats', 'paho') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_walker_refuses_what_never_ends() -> None:
    for data in (b"", b"\x9f", b"\x5f\x41\x00\xff", b"\x9b" + b"\xff" * 8, b"\x5b" + b"\xff" * 8 + b"x"):
        with pytest.raises(ValueError):
            item_end(data, 0)
    assert verify_module.verify(b"\x9b" + b"\xff" * 8).problems
