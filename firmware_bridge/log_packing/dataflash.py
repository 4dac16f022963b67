"""Records of a binary DataFlash log: messages by type and instance, as its own FMT and FMTU messages lay them out.

Nothing here has to be right for the log to come back whole: what is not understood stays raw.
"""

from itertools import groupby

import numpy as np

from firmware_bridge.dataflash_formats import FIELD, HEAD_BYTES, Format, Formats
from firmware_bridge.dataflash_scan import Scanned, scan
from firmware_bridge.log_packing.records import Ints, Records, Run, Slot, of_kinds

_LEAST = 4
"""Rarer messages are not worth columns."""


class DataFlashSplitter:
    """See the module."""

    def __init__(self) -> None:
        self._formats = Formats()
        self._slots: dict[Format, Slot] = {}
        self._synced = False

    def split(self, data: bytes, is_last: bool) -> Records:
        """See records.Splitter."""
        found = scan(data, self._formats, self._synced, is_last)
        self._synced = found.synced
        for kind, format_ in found.formats.items():
            if format_.name == "FMTU":
                self._learn_units(data, found.at[found.kinds == kind], format_)
        instance = self._instances(data, found)
        kinds = found.kinds.astype(np.int64) << 8 | instance
        slots = {k: self._slot(found.formats[k >> 8]) for k in np.unique(kinds).tolist()}
        return of_kinds(found.at, kinds, slots, _LEAST, found.end)

    def _slot(self, format_: Format) -> Slot:
        if format_ not in self._slots:
            self._slots[format_] = slot_of(format_)
        return self._slots[format_]

    def _learn_units(self, data: bytes, starts: Ints, fmtu: Format) -> None:
        """Of the units only `#` matters: the field that tells instances apart."""
        if not {"FmtType", "UnitIds"} <= set(fmtu.dtype.names or ()):
            return
        for start in starts.tolist():
            row = np.frombuffer(data, fmtu.dtype, 1, start + HEAD_BYTES)[0]
            self._formats.set_units(int(row["FmtType"]), bytes(row["UnitIds"]).decode("latin-1"), "")

    def _instances(self, data: bytes, found: Scanned) -> Ints:
        """The instance of each message, 0 where its type has none."""
        out = np.zeros(len(found.at), np.int64)
        buf = np.frombuffer(data, np.uint8)
        for kind in np.flatnonzero(np.bincount(found.kinds)).tolist():
            format_ = found.formats[kind]
            name = self._formats.instance_field(format_)
            if name is not None:
                of_kind = np.flatnonzero(found.kinds == kind)
                offset = HEAD_BYTES + _offset(format_, name)
                out[of_kind] = buf[found.at[of_kind] + offset]
        return out


def _offset(format_: Format, name: str) -> int:
    fields = format_.dtype.fields
    return int(fields[name][1]) if fields is not None else 0


def slot_of(format_: Format) -> Slot:
    """The head, the fields as far as they are known and fit, the rest as bytes."""
    runs = [Run(1, 1, HEAD_BYTES, is_fixed=True)]
    left = format_.size - HEAD_BYTES
    for (width, repeat), same in groupby(format_.chars, _shape):
        wanted = len(list(same))
        count = min(wanted, left // (width * repeat)) if width else 0
        runs += [Run(width, count, repeat)] if count else []
        left -= count * width * repeat
        if count < wanted:
            break
    return Slot((*runs, Run(1, 1, left))) if left else Slot(tuple(runs))


def _shape(char: str) -> tuple[int, int]:
    """(width, repeat) of a field; width 0 of one that is not known."""
    if char not in FIELD:
        return 0, 0
    field = np.dtype(FIELD[char])
    return (1, field.itemsize) if field.kind == "S" else (field.base.itemsize, field.itemsize // field.base.itemsize)
