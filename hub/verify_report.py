"""What `dbx verify` found, and how it says so in plain words."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hub.export.evidence import Header
from shared.batch import Batch
from shared.errors import Refused
from shared.receipt import Receipt
from shared.records import Gap, SessionClose


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that does not hold. item counts from 0 (the header); offset and length are bytes of the file."""

    text: str
    item: int | None = None
    kind: str | None = None
    offset: int | None = None
    length: int | None = None


@dataclass
class Report:
    """What the file proves. is_proven: everything in it is unaltered, and nothing of the flight is missing without a
    signed record that says so."""

    file: str = ""
    is_proven: bool = False
    is_whole: bool = False
    """Not only proven, but no batch is missing at all."""
    flight: str | None = None
    aircraft: str | None = None
    organisation: str | None = None
    items: int = 0
    batches: int = 0
    frames: int = 0
    manifest_frames: int | None = None
    device_keys: list[str] = field(default_factory=list)
    hub_key: str | None = None
    proven: list[str] = field(default_factory=list)
    not_proven: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass
class Found:
    """What the good items of the file hold. batches: sequence -> (item number, batch, digest of its envelope)."""

    header: Header | None = None
    batches: dict[int, tuple[int, Batch, bytes]] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    close: SessionClose | None = None
    signers: Counter[bytes] = field(default_factory=Counter)


def summarise(found: Found, report: Report, present: dict[int, bool], hub_trusted: bool, device_trusted: bool) -> None:
    """Fill in what is proven and not. present: each sequence of the manifest's range, and whether it is here."""
    report.device_keys = [k.hex() for k in found.signers]
    whole = bool(present) and all(present.values()) and not _own_gaps(found)
    if found.close is None:
        report.not_proven.append("that the flight is complete: the file holds no closing record of the aircraft")
    if found.header is None or not found.batches:
        report.not_proven.append("anything about the flight: the file holds no batch that can be checked")
    report.is_proven = not report.problems and not report.not_proven
    report.is_whole = report.is_proven and whole
    if not report.problems:
        report.proven += _unaltered(found)
        report.proven += _complete(found, report, present)
    report.not_proven += _limits(found, hub_trusted, device_trusted)


def _unaltered(found: Found) -> Iterator[str]:
    if found.batches:
        keys = ", ".join(k.hex() for k in found.signers)
        yield f"unaltered since sealed on the aircraft: {len(found.batches)} batches, each signed by device key {keys}"
        yield "in order: every batch names the one before it by digest"
        yield "committed in the hub: the hub's receipts name every batch by digest"


def _complete(found: Found, report: Report, present: dict[int, bool]) -> Iterator[str]:
    close = found.close
    if close is None:
        return
    if all(present.values()) and _own_gaps(found):
        reasons = ", ".join(sorted({g.reason for g in _own_gaps(found)}))
        others = f"signed records tell of others, lost before ({reasons})"
        yield f"accounted for: all {report.frames} frames that were sealed are present; {others}"
        return
    if all(present.values()):
        yield f"complete: manifest says {close.frames} frames, {report.frames} present (each message id counted too)"
        return
    missing = sum(not p for p in present.values())
    yield (
        f"accounted for: {missing} of {len(present)} batches never came, and records signed on the aircraft say why "
        f"({', '.join(sorted({g.reason for g in found.gaps}))}); {report.frames} of {close.frames} frames are present"
    )


def _own_gaps(found: Found) -> list[Gap]:
    """Gap records that name the flight."""
    return [g for g in found.gaps if found.close is not None and g.session == found.close.session]


def _limits(found: Found, hub_trusted: bool, device_trusted: bool) -> Iterator[str]:
    if not hub_trusted:
        yield "that a certain hub made this file: give its public key, obtained elsewhere, with --hub-key"
    if not device_trusted:
        word = "that rests on the hub's word" if hub_trusted else "give --device-key, or trust the hub's with --hub-key"
        yield f"that the device key belonged to that aircraft: {word}"
    for gap in found.gaps:
        if gap.first_seq is None:
            count = "an unknown number of" if gap.frames is None else str(gap.frames)
            yield f"what {count} frames held that the aircraft lost before they were sealed ({gap.reason})"
    if found.close is not None and any(found.close.wire_lost.values()):
        lost = sum(found.close.wire_lost.values())
        yield f"what {lost} frames held that were lost between autopilot and recorder (by their sequence numbers)"
    for key in found.header.device_keys if found.header else ():
        if key.revoked_utc_us is not None and key.key_id in found.signers:
            yield f"that device key {key.key_id.hex()} was in good hands: it has been revoked since (see the header)"
    yield "that sensors, autopilot and clock told the truth: signatures begin where the recorder received the frames"


def in_words(refused: Refused) -> str:
    """Why an envelope does not hold."""
    words = {
        "bad_signature": "fails its signature: it was changed, or signed by another key than it names",
        "unknown_key": "is signed by a key that is not among the trusted ones",
        "envelope_malformed": "is not a well-formed envelope: it was changed",
        "content_type": "is of another kind than expected",
    }
    return f"{words.get(refused.reason, refused.reason)} ({refused.detail})" if refused.detail else str(refused)


def as_text(report: Report) -> str:
    """The report for a person at a console."""
    lines = [f"{report.file}: {_verdict(report)}"]
    about: dict[str, Any] = {"flight": report.flight, "aircraft": report.aircraft, "organisation": report.organisation}
    about |= {"made by": f"a hub with the public key {report.hub_key}" if report.hub_key else None}
    lines += [f"  {k + ':':14}{v}" for k, v in about.items() if v]
    wrong = [p.text for p in report.problems[:50]]
    if len(report.problems) > 50:
        wrong.append(f"... and {len(report.problems) - 50} more (--json lists all)")
    if any(p.item is not None for p in report.problems) and len(wrong) > 1:
        wrong.append("(what was changed is left out of all further checks, so one change may be named more than once)")
    for title, texts in (
        ("What is wrong:", wrong),
        ("Proven:", report.proven),
        ("Not proven by this file:", report.not_proven),
    ):
        if texts:
            lines += ["", title, *(f"  - {text}" for text in texts)]
    return "\n".join(lines) + "\n"


def _verdict(report: Report) -> str:
    if report.is_whole:
        return "PROVEN: the record of this flight is unaltered and complete."
    if report.is_proven:
        return "PROVEN: the record of this flight is unaltered; what is missing from it is accounted for."
    if report.batches:
        return "NOT PROVEN: do not rely on this file."
    return "NOT PROVEN: nothing of a flight could be checked."
