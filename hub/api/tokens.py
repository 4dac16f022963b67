"""Secrets that people and browsers carry: API keys, enrolment codes, session cookies, cursors, challenges.

All are made or checked with keys derived from one secret that lies outside the database (the pepper). What the database
holds of an API key is a digest of HMAC(pepper, key): a stolen database gives no key back, and a row written into it by
somebody without the pepper opens nothing.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

KEY_PREFIX = "dbx_"
_CODE_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford: no I, L, O, U
_CODE_LENGTH = 20  # 100 bits
SESSION_S = 12 * 3600


class BadToken(ValueError):
    """A token that we did not make, or that has been changed or has expired."""


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """Makes and checks tokens. pepper: 32 bytes or more from outside the database."""

    pepper: bytes

    def keyed_hash(self, secret: str) -> str:
        """What may be handed to the database of a key or code: 64 hex digits."""
        return self._mac(b"key", secret.encode(errors="replace")).hex()

    def session(self, org_id: UUID, key_id: UUID, now_s: int) -> str:
        """A cookie that stands for a key, without holding it."""
        return self.pack("session", [org_id.hex, key_id.hex, now_s + SESSION_S])

    def read_session(self, token: str, now_s: int) -> tuple[UUID, UUID]:
        """(org_id, key_id). BadToken."""
        org, key, expires = self.unpack("session", token, 3)
        if now_s >= expires:
            raise BadToken("expired")
        return UUID(org), UUID(key)

    def pack(self, purpose: str, values: list[Any]) -> str:
        """Values as an opaque text that only this hub can have made, for this purpose."""
        body = orjson.dumps(values)
        return _b64(self._mac(purpose.encode(), body)[:16] + body)

    def unpack(self, purpose: str, token: str, count: int) -> list[Any]:
        """The `count` values. BadToken."""
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            raise BadToken("not base64") from None
        mac, body = raw[:16], raw[16:]
        if not hmac.compare_digest(mac, self._mac(purpose.encode(), body)[:16]) or _b64(raw) != token:
            raise BadToken("changed, or made for something else")
        values = orjson.loads(body)
        if len(values) != count:
            raise BadToken("made by another version")
        return list(values)

    def _mac(self, purpose: bytes, data: bytes) -> bytes:
        return hmac.digest(self.pepper, purpose + b"\0" + data, hashlib.sha256)


def new_api_key() -> str:
    """256 random bits with a prefix by which scanners for leaked secrets know it."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def new_code() -> str:
    """An enrolment code that can be read aloud: XXXXX-XXXXX-XXXXX-XXXXX."""
    letters = "".join(secrets.choice(_CODE_ALPHABET) for _ in range(_CODE_LENGTH))
    return "-".join(letters[i : i + 5] for i in range(0, _CODE_LENGTH, 5))


def normal_code(typed: str) -> str:
    """A code as typed (case, blanks, O for 0, I or L for 1) in the form in which it was made."""
    letters = typed.upper().translate(str.maketrans("OIL", "011", "- \t\r\n"))
    return "-".join(letters[i : i + 5] for i in range(0, len(letters), 5))


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
