"""Requests to the hub's HTTPS that the device's signing key vouches for: no clock and no certificate of ours needed.

The hub gives a challenge; the device signs it with the body's digest (docs/wire.md, docs/api.md).
"""

import base64
import hashlib
import json
import ssl
import time
import urllib.error
import urllib.request

from agent.identity import Identity

CONTEXT = b"dbx-upload-v1"
_CHALLENGE_S = 120
_MOST_BYTES = 16 << 20
_TIMEOUT_S = 30


class HubRefuses(OSError):
    """The hub's answer is a refusal. status: of HTTP."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the hub answered {status} {reason}")
        self.status = status


class HubHttps:
    """See the module. OSError: the hub cannot be reached or refuses; ValueError, KeyError: its answer is nonsense."""

    def __init__(self, identity: Identity, url: str = "", timeout_s: float = _TIMEOUT_S) -> None:
        self._identity = identity
        self._url = (url or identity.hub_url).rstrip("/")
        self._timeout_s = timeout_s
        self._challenge: tuple[str, float] | None = None

    def post(self, path: str, body: bytes) -> bytes:
        """Send CBOR, get the answer's bytes."""
        return self._send(path, body, "POST")

    def get(self, path: str) -> bytes:
        """The answer's bytes."""
        return self._send(path, b"", "GET")

    def forget_challenge(self) -> None:
        """After trouble: ask for a new one."""
        self._challenge = None

    def _send(self, path: str, body: bytes, method: str) -> bytes:
        challenge = self._fresh_challenge()
        message = b"\0".join((CONTEXT, challenge.encode(), hashlib.sha256(body).digest()))
        signer = self._identity.signer
        signature = base64.urlsafe_b64encode(signer.key.sign(message)).decode().rstrip("=")
        headers = {
            "Authorization": f"DBX-Device {signer.key_id.hex()}:{challenge}:{signature}",
            "Content-Type": "application/cbor",
        }
        url = self._url + path
        return self._open(urllib.request.Request(url, body if method == "POST" else None, headers, method=method))  # noqa: S310

    def _fresh_challenge(self) -> str:
        if self._challenge is None or time.monotonic() - self._challenge[1] > _CHALLENGE_S:
            answer = json.loads(self._open(urllib.request.Request(self._url + "/v1/envelopes/challenge")))  # noqa: S310
            self._challenge = (str(answer["challenge"]), time.monotonic())
        return self._challenge[0]

    def _open(self, request: urllib.request.Request) -> bytes:
        context = ssl.create_default_context() if self._url.startswith("https") else None
        if context is not None and (self._identity.folder / "ca.crt").exists():
            context.load_verify_locations(self._identity.folder / "ca.crt")
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s, context=context) as answer:  # noqa: S310
                return bytes(answer.read(_MOST_BYTES))
        except urllib.error.HTTPError as e:
            raise HubRefuses(e.code, str(e.reason)) from None
