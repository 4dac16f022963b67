"""The layouts as arrays, for look-ups of many message ids at once."""

import numpy as np
from numpy.typing import NDArray

from shared.layouts import LAYOUTS

_IDS = np.array(sorted(LAYOUTS), np.int64)
UNKNOWN = -1
"""Index of a message that has no layout (the arrays below have an entry for it, their last)."""
CRC_EXTRA = np.array([LAYOUTS[int(i)].crc_extra for i in _IDS] + [0], np.uint8)
KNOWN = np.array([True] * len(_IDS) + [False])
SIZE = np.array([LAYOUTS[int(i)].size for i in _IDS] + [0], np.int64)
MIN_SIZE = np.array([LAYOUTS[int(i)].min_size for i in _IDS] + [0], np.int64)


def layout_index(msgid: NDArray[np.int64]) -> NDArray[np.int64]:
    """Position of each message id in the arrays of this module, UNKNOWN where it has no layout."""
    at = np.minimum(np.searchsorted(_IDS, msgid), len(_IDS) - 1)
    return np.where(_IDS[at] == msgid, at, UNKNOWN)
