"""Block bytes: a format byte, then one zstd frame of sections."""

import numpy as np
import zstandard

from shared.codec.block import Block, to_block
from shared.codec.content import Content, Groups, split
from shared.codec.table import KNOWN, SIZE, layout_index
from shared.errors import Refused
from shared.frames import Frames

FORMAT = b"\x00"
MAX_FRAMES = 200_000
MAX_BYTES = 16 << 20


def encode_block(frames: Frames) -> bytes:
    """The block of `frames`."""
    c = split(frames)
    parts = [c.time_us, c.group, *(getattr(c.groups, k) for k in ("msgid", "sysid", "compid", "rows", "width"))]
    parts += [c.seq, c.head, c.length, c.payload, c.tail, c.crc, c.signature, c.raw, c.raw_length]
    sizes = np.array([p.nbytes for p in parts], "<u4")
    return FORMAT + zstandard.ZstdCompressor(9).compress(sizes.tobytes() + b"".join(p.tobytes() for p in parts))


def decode_block(data: bytes, max_frames: int = MAX_FRAMES, max_bytes: int = MAX_BYTES) -> Block:
    """Parse a block. Refused: block_malformed, block_version, block_too_large."""
    if data[:1] != FORMAT:
        raise Refused("block_version", f"format {data[:1].hex()}")
    try:
        size = zstandard.frame_content_size(data[1:])
        if not 0 <= size <= max_bytes:
            raise Refused("block_too_large", f"{size} bytes, at most {max_bytes}")
        inner = zstandard.ZstdDecompressor().decompress(data[1:], max_output_size=max_bytes)
        return to_block(_checked(inner, max_frames))
    except (zstandard.ZstdError, ValueError, IndexError, OverflowError, MemoryError) as e:
        if isinstance(e, Refused):
            raise
        raise Refused("block_malformed", str(e)[:200]) from None


def _checked(inner: bytes, max_frames: int) -> Content:
    sizes = np.frombuffer(inner[:64], "<u4").astype(np.int64)
    if len(inner) != 64 + int(sizes.sum()):
        raise ValueError("sections")
    at = np.concatenate([[64], 64 + np.cumsum(sizes)]).tolist()
    raw = [inner[a:b] for a, b in zip(at, at[1:], strict=False)]
    wide = [np.frombuffer(x, np.int64).copy() if i not in (7, 10, 11, 12, 13, 14) else np.frombuffer(x, np.uint8).copy()
            for i, x in enumerate(raw)]  # fmt: skip
    c = Content(wide[0], wide[1], Groups(*wide[2:7]), *wide[7:])
    n = len(c.group)
    if n > max_frames:
        raise Refused("block_too_large", f"{n} frames, at most {max_frames}")
    g = c.groups
    if len(c.time_us) != n or len({len(x) for x in (g.msgid, g.sysid, g.compid, g.rows, g.width)}) != 1:
        raise ValueError("lengths")
    if n and not 0 <= int(c.group.min()) <= int(c.group.max()) <= len(g.rows):
        raise ValueError("group")
    counts = np.bincount(c.group, minlength=len(g.rows) + 1)
    m = n - int(counts[0])
    layout = layout_index(g.msgid)
    if (counts[1:] != g.rows).any() or (g.rows < 1).any() or len(c.raw_length) != counts[0] or len(c.seq) != m:
        raise ValueError("rows")
    if len(c.head) != m or len(c.length) != m or ((c.length < 0) | (c.length > 255)).any():
        raise ValueError("lengths")
    if ((g.width < 0) | (g.width > 255) | (KNOWN[layout] & (g.width != SIZE[layout]))).any():
        raise ValueError("width")
    if len(c.payload) != int((g.rows * g.width).sum()) or int(c.raw_length.sum()) != len(c.raw):
        raise ValueError("payload")
    return c


def decode_blocks(blocks: list[bytes], max_frames: int = MAX_FRAMES, max_bytes: int = MAX_BYTES) -> list[Block]:
    """Many blocks at once; Refused when any of them is bad."""
    return [decode_block(b, max_frames, max_bytes) for b in blocks]
