"""One piece of a ULog read: whole runs of messages where the chain holds, a walk where it does not."""

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.log_tables import Damage, Parameter, Portion
from firmware_bridge.ulog_rows import Ints, latest_before, tables
from firmware_bridge.ulog_scan import DATA, FILE_HEADER, HEADER, MAGIC, UlogScan, is_header, scan
from firmware_bridge.ulog_state import UlogState
from firmware_bridge.ulog_walk import VOUCHING, Step, resume, step

_WALK = 32  # messages walked behind damage before whole runs are tried again
_WINDOW = 256  # messages tried in a run after damage, doubled while all is well
_FLAGS_END = FILE_HEADER + HEADER + 40
Flags = NDArray[np.bool_]
_FORMAT, _SUBSCRIBE = ord("F"), ord("A")


class UlogPiece:
    """data[start:], which begins at base + start of the log. is_end: the log, or its part before appended data, ends
    with it. portion: what `read` found."""

    def __init__(self, state: UlogState, data: bytes, start: int, base: int, is_end: bool) -> None:
        self.portion = Portion(base + start, base + start)
        self._start = start
        self._state, self._data, self._base, self._is_end = state, data, base, is_end
        self._found: UlogScan | None = None
        self._gaps: Ints = np.zeros(0, np.int64)
        self._window = len(data)
        self._at: list[Ints] = []
        self._index: list[Ints] = []
        self._changes: list[tuple[str, float, int]] = []

    def read(self) -> int:
        """Reads what can be decided; where in `data` that ends. A log's header is a portion of its own."""
        start = self._start
        left = len(self._data) - start
        if self._state.lost_at < 0 and self._data.startswith(MAGIC, start) and left >= FILE_HEADER:
            if left < _FLAGS_END and not self._is_end:
                return start
            self._state.begin(self._data[start : start + _FLAGS_END], self._base + start, self.portion)
            end = start + FILE_HEADER
        else:
            if self._base + start == 0:
                self._lose(0, is_torn=False)
            end = self._messages()
            self._finish()
            if self._state.sections and self._state.sections[0] == self._base + end:
                self._state.next_section()
        self.portion.end = self._base + end
        return end

    def _messages(self) -> int:
        data, pos, walk = self._data, self._start, 0
        while pos < len(data) or self._state.lost_at >= 0:
            if self._state.lost_at >= 0:
                what, pos = resume(
                    data, max(pos, self._state.lost_at + 1 - self._base), self._state.topics, self._is_end
                )
                self._note_zeros(pos)
                if what is not Step.MESSAGE:
                    break
                self._recover(pos)
            if walk <= 0:
                pos = self._run(pos)
            what, end = step(data, pos, self._state.topics, self._is_end) if pos < len(data) else (Step.WAIT, pos)
            if what in (Step.LOG, Step.WAIT):
                break
            if what is Step.LOST:
                self._lose(pos, self._is_end and self._goes_on(pos))
                walk, self._window = _WALK, _WINDOW
            else:
                self._take(pos, end, what)
                pos, walk = end, walk - 1
        return self._close(pos)

    def _run(self, pos: int) -> int:
        """Takes what needs no walk of the run of messages at pos; its end."""
        if self._found is None:
            self._found = scan(self._data, pos)
            at, size = self._found.at, self._found.size
            self._gaps = np.append(np.flatnonzero(at[:-1] + HEADER + size[:-1] != at[1:]), len(at) - 1)
        found = self._found
        first = int(found.at.searchsorted(pos))
        if first >= len(found.at) or int(found.at[first]) != pos:
            return pos
        last = min(int(self._gaps[self._gaps.searchsorted(first)]) + 1, first + self._window)
        last -= int(found.kind[last - 1]) != DATA  # is believed when a header follows: that is for the walk to say
        end, strong = self._believed(found, first, last)
        self._window = self._window * 2 if end == last else _WINDOW
        if end > first:
            self._take_run(found, first, end, strong)
            pos = int(found.at[end - 1] + found.size[end - 1]) + HEADER
        return pos

    def _believed(self, found: UlogScan, first: int, last: int) -> tuple[int, Flags]:
        """Takes formats and subscriptions in; the end of the messages that `step` would believe, and which of them are
        strong."""
        while True:
            words = np.flatnonzero(np.isin(found.kind[first:last], (_FORMAT, _SUBSCRIBE)))
            saved = self._state.topics.copy() if len(words) else self._state.topics
            last = self._define(found, (words + first).tolist(), last)
            topics, ids, size = self._state.topics, found.msg_id[first:last], found.size[first:last]
            strong = (ids >= 0) & (topics.least[ids] <= size) & (size <= topics.most[ids])
            strong &= topics.since[ids] < found.at[first:last] + self._base
            weak = np.flatnonzero((ids >= 0) & ~strong)
            places = np.append(np.flatnonzero(strong), 1 << 62)
            doubted = weak[places[places.searchsorted(weak)] - weak > VOUCHING]
            if len(weak) and len(words) and weak[0] < words[-1]:
                doubted = weak[:1]  # what is subscribed behind it cannot vouch for it
            if not len(doubted):
                return last, strong
            last = first + int(doubted[0])  # what stands behind it may be no message at all
            self._state.topics = saved

    def _define(self, found: UlogScan, words: list[int], last: int) -> int:
        """Takes formats and subscriptions in, up to one that gives a known id to another topic: its index, or last."""
        topics = self._state.topics
        for i in words:
            body = self._body(int(found.at[i]), int(found.size[i]))
            if found.kind[i] == _FORMAT:
                topics.define(body)
            elif topics.is_known(body):
                return i
            else:
                topics.subscribe(body, self._base + int(found.at[i]))
        return last

    def _take_run(self, found: UlogScan, first: int, end: int, strong: Flags) -> None:
        """Messages that are believed, formats and subscriptions of which are taken in."""
        data = np.flatnonzero(strong) + first
        ids = found.msg_id[first:end]
        words = np.flatnonzero(ids < 0) + first
        columns = (found.at[words], found.size[words], found.kind[words])
        for pos, size, kind in zip(*(c.tolist() for c in columns), strict=True):
            self._word(pos, size, kind)
        if len(data):
            self._at.append(found.at[data])
            self._index.append(self._state.topics.which[found.msg_id[data]])
        for i in (np.flatnonzero((ids >= 0) & ~strong) + first).tolist():
            self._unread(int(found.at[i]), int(found.at[i] + found.size[i]) + HEADER)

    def _take(self, pos: int, end: int, what: Step) -> None:
        """One message that the walk believes."""
        kind, topics = self._data[pos + 2], self._state.topics
        if what is Step.UNREAD:
            self._unread(pos, end)
        elif kind == DATA:
            msg_id = self._data[pos + 3] | self._data[pos + 4] << 8
            self._at.append(np.array([pos], np.int64))
            self._index.append(topics.which[msg_id : msg_id + 1].copy())
        else:
            body = self._body(pos, end - pos - HEADER)
            if kind == _FORMAT:
                topics.define(body)
            elif kind == _SUBSCRIBE:
                topics.subscribe(body, self._base + pos)
            self._word(pos, len(body), kind)

    def _word(self, pos: int, size: int, kind: int) -> None:
        changed = self._state.take(kind, self._body(pos, size), self._base + pos, self.portion)
        if changed:
            self._changes.append((*changed, self._base + pos))

    def _body(self, pos: int, size: int) -> bytes:
        return self._data[pos + HEADER : pos + HEADER + size]

    def _unread(self, pos: int, end: int) -> None:
        """A message that nobody can read: its subscription or format is lost, or its type is unknown."""
        kind, msg_id = self._data[pos + 2], self._data[pos + 3] | self._data[pos + 4] << 8
        index = int(self._state.topics.which[msg_id])
        if kind != DATA:
            self._damage(pos, end, "unknown_type", f"message {chr(kind)}")
        elif index < 0:
            self._damage(pos, end, "unknown_id", f"id {msg_id} was never subscribed")
        else:
            topic = self._state.topics.all[index]
            self._damage(pos, end, "bad_length" if topic.dtype else "bad_format", topic.name)

    def _damage(self, pos: int, end: int, reason: str, detail: str = "") -> None:
        """Bytes of this piece; one range with those before when nothing lies between."""
        start, known = self._base + pos, self.portion.damage
        if known and known[-1] == Damage(known[-1].offset, start - known[-1].offset, reason, detail):
            start = known.pop().offset
        known.append(Damage(start, self._base + end - start, reason, detail))

    def _lose(self, pos: int, is_torn: bool) -> None:
        """The chain breaks at pos."""
        state = self._state
        state.lost_at, state.lost_zeros, state.lost_torn = self._base + pos, True, is_torn

    def _goes_on(self, pos: int) -> bool:
        """Whether a message that begins at pos goes on behind the piece."""
        data = self._data
        if pos + HEADER > len(data):
            return True
        return is_header(data, pos) and pos + HEADER + (data[pos] | data[pos + 1] << 8) > len(data)

    def _note_zeros(self, upto: int) -> None:
        start = max(0, self._state.lost_at - self._base)
        self._state.lost_zeros &= self._data.count(0, start, upto) == upto - start

    def _recover(self, pos: int, is_end: bool = False) -> None:
        """A message begins at pos, or the log ends there: what was lost before it is damage."""
        state = self._state
        reason = "torn_end" if is_end and state.lost_torn else "bad_header" if state.lost_at == 0 else "bad_length"
        size = self._base + pos - state.lost_at
        if size:
            self.portion.damage.append(Damage(state.lost_at, size, "zeros" if state.lost_zeros else reason))
        state.lost_at = -1

    def _close(self, pos: int) -> int:
        """The end of what was read: of all, where the log (or its part before appended data) ends here."""
        state, end = self._state, len(self._data)
        if self._is_end and (state.lost_at >= 0 or pos == end):
            if state.lost_at >= 0:
                self._recover(end, True)
            return end
        return pos

    def _finish(self) -> None:
        """The messages gathered, as tables."""
        portion, state = self.portion, self._state
        if self._at:
            at, index = np.concatenate(self._at), np.concatenate(self._index)
            portion.tables = tables(self._data, self._base, at, index, state.topics.all)
            portion.is_new_boot, state.is_fresh = state.is_fresh, False
        for table in portion.tables:
            portion.counts[table.name] = portion.counts.get(table.name, 0) + len(table)
            if table.name == "event":
                state.events.read(table)
        metadata = state.facts.multiple.get("metadata_events", [[]])[-1]
        portion.texts += state.events.texts(metadata, self._is_end)
        if self._changes:
            latest = latest_before(portion.tables, np.array([c[2] for c in self._changes]), state.latest_us)
            for (name, value, _), time_us in zip(self._changes, latest, strict=True):
                portion.parameters.append(Parameter(name, value, time_us, is_initial=False))
        state.latest_us = max([state.latest_us, *(int(t.time_us.max()) for t in portion.tables)])
        portion.damage.sort(key=lambda d: d.offset)
