"""The senders' clocks as one chain: messages sent together carry the same time, so each is coded against its
forerunner.

Participants: frames with a clock field, of groups that the encoder chose, by sender, then in wire order. State: a time
T in us. A CHAINED frame carries x: in ms fields the new time is (T // 1000 + x) * 1000, in us fields T + x. An ANCHOR
frame carries its own time. Before the first frame of a sender T is the time of its first ANCHOR in the block, 0 where
it has none.
"""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

APART, ANCHOR, CHAINED = 0, 1, 2


def origins(time: Ints, first: NDArray[np.bool_], anchor: NDArray[np.bool_]) -> Ints:
    """T before each sender's first frame: the time of its first anchor, 0 where it has none. time: right for
    anchors."""
    at = anchor.nonzero()[0]
    sender = first.cumsum()[at] - 1
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
    origin = origins(np.where(is_ms, x * 1000, x), first, anchor)
    x = x.copy()
    x[first] += np.where(anchor[first], 0, np.where(is_ms[first], origin // 1000, origin))
    resets = first | anchor
    begins = resets | is_ms
    us = np.where(is_ms, 0, x)
    run_at = begins.nonzero()[0]
    total = us.cumsum()
    run = begins.cumsum() - 1
    within = total - (total - us)[run_at][run]
    ends = np.append(run_at[1:], len(x)) - 1
    step = np.where(is_ms, x, 0)[run_at]
    step[1:] += np.where(resets[run_at[1:]], 0, within[ends[:-1]] // 1000)
    base = step.cumsum()
    reset_runs = np.flatnonzero(resets[run_at])
    which = np.cumsum(resets[run_at]) - 1
    base -= (base - step)[reset_runs][which]
    time: Ints = base[run] * 1000 + within
    return time
