"""The senders' clocks as one chain: messages sent together carry the same time, so each is coded against its
forerunner.

Participants: frames with a clock field, of groups that the encoder chose, by sender, then in wire order. State: a time
T in us. A CHAINED frame carries x: in ms fields the new time is (T // 1000 + x) * 1000, in us fields T + x. An ANCHOR
frame carries its own time. Before the first frame of a sender T is the time of its first ANCHOR in the block, 0 where
it has none.
"""

import numpy as np
from numpy.typing import NDArray

from shared.codec.content import lengths

Ints = NDArray[np.int64]

APART, ANCHOR, CHAINED = 0, 1, 2


def origins(time: Ints, first: NDArray[np.bool_], anchor: NDArray[np.bool_]) -> Ints:
    """T before each sender's first frame: the time of its first anchor, 0 where it has none. time: right for
    anchors."""
    at = anchor.nonzero()[0]
    sender = np.searchsorted(first.nonzero()[0], at, side="right") - 1
    found = np.zeros(int(np.count_nonzero(first)), np.int64)
    found[sender[::-1]] = time[at[::-1]]
    return found


def differences(time: Ints, is_ms: NDArray[np.bool_], first: NDArray[np.bool_], origin: Ints) -> Ints:
    """x of every participant, from true times (us; whole ms for ms fields); origin: T before each sender's first."""
    before = np.roll(time, 1)
    before[first] = origin
    return np.where(is_ms, time // 1000 - before // 1000, time - before)


def times(x: Ints, is_ms: NDArray[np.bool_], first: NDArray[np.bool_], anchor: NDArray[np.bool_]) -> Ints:
    """True times from x (CHAINED) or own times (ANCHOR: ms or us as the field has it).

    A ms frame, an anchor or a sender's first frame begins a run; us frames add up within their run.
    """
    if not len(x):
        return x
    x = x.copy()
    senders = first.nonzero()[0]
    origin = np.zeros(len(senders), np.int64)
    if anchor.any():
        origin = origins(np.where(is_ms, x * 1000, x), first, anchor)
        origin = np.where(is_ms[senders], origin // 1000, origin)
    x[senders] += np.where(anchor[senders], 0, origin)
    begins = is_ms | first
    begins |= anchor
    us = x * ~is_ms
    run_at = begins.nonzero()[0]
    rows = lengths(run_at, len(x))
    total = us.cumsum()
    within = total - (total[run_at] - us[run_at]).repeat(rows)
    step = x[run_at] * is_ms[run_at]
    resets = (first[run_at] | anchor[run_at]).nonzero()[0]
    carried = within[run_at[1:] - 1] // 1000
    carried[resets[1:] - 1] = 0
    step[1:] += carried
    base = step.cumsum()
    base -= (base[resets] - step[resets]).repeat(lengths(resets, len(base)))
    base *= 1000
    within += base.repeat(rows)
    return within
