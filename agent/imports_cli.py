"""`dbx agent import`, `sync` and `card`: parse, call, say. Exit statuses: docs/commands.md."""

import argparse
import contextlib
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from agent import identity
from agent.card import NO_LOG, WHOLE, Card, FileVerdict, may_be_wiped
from agent.imports import ImportQueue
from agent.imports_run import ALREADY, ASSIGNED, FAILED, NEW, SKIPPED, Import, Outcome, ask_person, find_files
from agent.settings import AgentSettings
from agent.sync import Sync, SyncReport
from shared.errors import Refused

OK, NOT_DONE, USAGE, TIMED_OUT = 0, 1, 2, 3
_SAID_EVERY_S = 0.5


class _Progress:
    """One line on the terminal, written over; nothing where there is no terminal."""

    def __init__(self, is_wanted: bool) -> None:
        self._is_wanted = is_wanted and sys.stderr.isatty()
        self._said_s = time.monotonic()
        self._is_shown = False

    def say(self, text: str) -> None:
        if self._is_wanted and time.monotonic() - self._said_s > _SAID_EVERY_S:
            self._said_s = time.monotonic()
            self._is_shown = True
            print(f"\r\033[K{text[:110]}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._is_shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self._is_shown = False


@contextmanager
def _queue(settings: AgentSettings) -> Iterator[ImportQueue]:
    """The queue of this device. Refused when it is not enrolled."""
    logging.basicConfig(level=logging.ERROR, format="dbx agent: %(message)s")
    try:
        me = identity.load(settings.identity_dir)
    except identity.IdentityError as e:
        raise Refused("not_enrolled", str(e)) from None
    with contextlib.closing(ImportQueue(settings.data_dir, me)) as queue:
        if queue.was_torn:
            print(
                f"the store of imported logs was damaged ({queue.was_torn}) and is set aside beside the new one in "
                f"{settings.data_dir}; what it knew is not counted on: import the logs again",
                file=sys.stderr,
            )
        yield queue


def import_logs(args: argparse.Namespace, settings: AgentSettings) -> int:
    """Queue what is found under the paths."""
    progress = _Progress(not args.json)
    is_asking = sys.stdin.isatty() and sys.stdout.isatty() and not args.json
    with _queue(settings) as queue:
        run = Import(
            queue, args.aircraft, args.dry_run, ask_person if is_asking else None,
            lambda doing, done: progress.say(f"{doing}: {done / 1e6:.0f} MB"),
        )  # fmt: skip
        outcomes = []
        for out in run.run(find_files(args.paths, settings.data_dir)):
            outcomes.append(out)
            progress.clear()
            if not args.json:
                print(_outcome_line(out, args.dry_run), flush=True)
        waiting = queue.waiting()
    counts = Counter(out.state for out in outcomes)
    facts = {state: counts[state] for state in (NEW, ALREADY, ASSIGNED, SKIPPED, FAILED)}
    unassigned = sum(out.aircraft is None for out in outcomes if out.sha256)
    facts |= {"unassigned": unassigned, "queued_batches": waiting[0], "queued_bytes": waiting[1]}
    if args.json:
        print(json.dumps({"files": [out.facts() for out in outcomes], "dry_run": args.dry_run} | facts))
    else:
        print(_import_summary(facts, args.dry_run))
    return NOT_DONE if counts[FAILED] or not any(out.sha256 for out in outcomes) else OK


def _outcome_line(out: Outcome, is_dry: bool) -> str:
    if not out.sha256:
        return f"{out.state:9} {out.file}: {out.why}"
    state = "would be" if is_dry and out.state == NEW else out.state
    facts = [out.format, f"{out.size_bytes / 1e6:.1f} MB" if out.size_bytes >= 100_000 else f"{out.size_bytes} bytes"]
    if out.packed_bytes and out.state == NEW:
        facts.append(f"{100 * out.packed_bytes / max(out.size_bytes, 1):.0f} % packed")
    if out.damages:
        facts.append(f"damaged: {out.damaged_bytes} bytes in {out.damages} places are no messages (kept as they are)")
    facts.append(f"aircraft {out.aircraft_name}" if out.aircraft else f"UNASSIGNED ({_chips(out)})")
    return f"{state:9} {out.file}: {', '.join(facts)}{f'; {out.why}' if out.why else ''}"


def _chips(out: Outcome) -> str:
    return f"nobody here knows {out.hardware_ids[0]}" if out.hardware_ids else "it names no hardware"


def _import_summary(facts: dict[str, int], is_dry: bool) -> str:
    if not facts[NEW] and not facts[ASSIGNED] and not facts[FAILED] and facts[ALREADY]:
        text = f"nothing to do: all {facts[ALREADY]} logs are imported already"
    else:
        done = "to import" if is_dry else "imported"
        there = f"{facts[ALREADY]} already there, {facts[ASSIGNED]} assigned, {facts[FAILED]} failed"
        text = f"{facts[NEW]} {done}, {there}"
    text += f"; {facts[SKIPPED]} files are no flight log" if facts[SKIPPED] else ""
    if facts["unassigned"]:
        text += f"\n{facts['unassigned']} unassigned: say whose they are with --aircraft, or in the hub"
    if facts["queued_batches"]:
        text += f"\n{facts['queued_bytes'] / 1e6:.1f} MB wait for: dbx agent sync"
    return text


def sync_logs(args: argparse.Namespace, settings: AgentSettings) -> int:
    """Send what is queued."""
    progress = _Progress(not args.json)
    with _queue(settings) as queue:
        run = Sync(settings, queue.identity, queue, lambda report: progress.say(_sync_line(report)))
        is_done = run.run(args.timeout)
    progress.clear()
    if args.json:
        print(json.dumps(run.report.facts()))
    else:
        print(_sync_line(run.report))
        print(_sync_verdict(run.report, is_done))
    return OK if is_done else TIMED_OUT


def _sync_line(r: SyncReport) -> str:
    by = f" by {r.protocol}" if r.protocol else ""
    known = f", {r.known} were in the hub before" if r.known else ""
    return (
        f"{r.logs} logs{known}; {r.sent_bytes / 1e6:.1f} MB sent in {r.sent_batches} batches{by}; "
        f"{r.waiting_bytes / 1e6:.1f} MB wait"
    )


def _sync_verdict(r: SyncReport, is_done: bool) -> str:
    if not is_done:
        why = r.uplink_trouble or r.hub_trouble or "the hub may have refused them: see its quarantine"
        return f"not all is receipted: {r.waiting_batches} batches wait ({why}); run it again, to go on where it ended"
    text = f"all is receipted; the hub says that {r.whole} of {r.logs} logs are whole"
    text += f" (it could not be asked: {r.hub_trouble})" if r.hub_trouble else ""
    text += f"\n{r.unfinished} imports were broken off: run dbx agent import again" if r.unfinished else ""
    return text + (f"\n{r.unassigned} logs are unassigned" if r.unassigned else "")


def judge_card(args: argparse.Namespace, settings: AgentSettings) -> int:
    """Say of each file whether the hub has it, and of the card whether it may be wiped."""
    progress = _Progress(not args.json)
    verdicts: list[FileVerdict] = []
    with _queue(settings) as queue:
        card = Card(queue)
        for path in find_files(args.paths, settings.data_dir):
            progress.say(f"reading {path}")
            for verdict in card.judge(path):
                verdicts.append(verdict)
                progress.clear()
                if not args.json:
                    print(_verdict_line(verdict), flush=True)
    is_safe = may_be_wiped(verdicts)
    facts: dict[str, Any] = {"may_be_wiped": is_safe, "files": [v.facts() for v in verdicts]}
    print(json.dumps(facts) if args.json else _card_verdict(verdicts, is_safe))
    return OK if is_safe else NOT_DONE


def _verdict_line(v: FileVerdict) -> str:
    if v.state != WHOLE or v.committed_us is None:
        return f"{v.state:20} {v.file}{f': {v.why}' if v.why else ''}"
    when = datetime.fromtimestamp(v.committed_us / 1e6, UTC).isoformat(timespec="seconds")
    return f"{v.state:20} {v.file}: in the hub since {when} ({v.receipts} signed {v.proof.removesuffix('s')}s)"


def _card_verdict(verdicts: list[FileVerdict], is_safe: bool) -> str:
    others = sum(v.state == NO_LOG for v in verdicts)
    noted = f"; {others} other files on it are no flight logs and were never imported" if others else ""
    if is_safe:
        return f"this card may be wiped: every byte of its {len(verdicts) - others} logs is in the hub{noted}"
    blocking = sum(v.blocks for v in verdicts)
    if not blocking:
        return f"no flight log on this card: nothing to say of it{noted}"
    return f"DO NOT WIPE this card: {blocking} logs are not whole in the hub{noted}"
