"""The packed form of recorded logs: lossless, in columns, a segment at a time (docs/log-packing.md)."""

from firmware_bridge.log_packing.container import pack, unpack

__all__ = ["pack", "unpack"]
