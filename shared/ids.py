"""Identifiers. All are UUIDs; those made here are version 7 (RFC 9562, section 5.7), so that they sort by time."""

import hashlib
import os
import time
import uuid


def new_id(unix_ms: int | None = None) -> uuid.UUID:
    """A new UUIDv7. `unix_ms` is milliseconds since 1970 (0 .. 2**48 - 1); None takes the system clock."""
    ms = (time.time_ns() // 1_000_000 if unix_ms is None else unix_ms) & 0xFFFFFFFFFFFF
    value = ms << 80 | 0x7 << 76 | int.from_bytes(os.urandom(2)) >> 4 << 64 | 0b10 << 62
    return uuid.UUID(int=value | int.from_bytes(os.urandom(8)) >> 2)


def key_id(public_key_raw: bytes) -> bytes:
    """The 16-byte key id of a raw 32-byte Ed25519 public key: the head of its SHA-256."""
    return hashlib.sha256(public_key_raw).digest()[:16]
