"""dbx models publish, releases: what is said to the hub's API, with an operator's key."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

HUB_URL = "http://127.0.0.1:8460"
_TIMEOUT_S = 60
_MOST_BYTES = 16 << 20


class Hub:
    """The hub's API as far as releases need it. OSError: it cannot be reached or refuses, in its own words."""

    def __init__(self, url: str = "", key: str = "") -> None:
        """url, key: else as DBX_HUB_URL and DBX_API_KEY say. ValueError without a key."""
        self._url = (url or os.environ.get("DBX_HUB_URL", "") or HUB_URL).rstrip("/")
        self._key = key or os.environ.get("DBX_API_KEY", "")
        if not self._key or not self._url.startswith(("http://", "https://")):
            raise ValueError("set DBX_API_KEY to an API key of role admin (`dbx hub key create`) and DBX_HUB_URL")

    def publish(self, bundle: Path, stage: str, aircraft: list[str]) -> dict[str, Any]:
        """Release a bundle file; the aircraft by id or name. ValueError: no such aircraft, or several."""
        query = [("stage", stage), *(("aircraft_id", str(a)) for a in self._resolve(aircraft))]
        return self._call(f"/v1/models/releases?{urlencode(query)}", bundle.read_bytes())

    def releases(self) -> dict[str, Any]:
        """All releases, and which aircraft run what."""
        return {"releases": [*self._all("/v1/models/releases")], "aircraft": [*self._all("/v1/models/aircraft")]}

    def _resolve(self, names: list[str]) -> list[UUID]:
        known = {str(a["id"]): str(a["name"]) for a in self._all("/v1/aircraft")} if names else {}
        found = []
        for name in names:
            ids = [name] if name in known else [i for i, n in known.items() if n.casefold() == name.casefold()]
            if len(ids) != 1:
                raise ValueError(f"{len(ids) or 'no'} aircraft named {name!r}; give its id")
            found.append(UUID(ids[0]))
        return found

    def _all(self, path: str) -> Iterator[dict[str, Any]]:
        cursor = ""
        while True:
            body = self._call(f"{path}?limit=200" + (f"&cursor={quote(cursor)}" if cursor else ""))
            yield from body["items"]
            cursor = body["next_cursor"] or ""
            if not cursor:
                return

    def _call(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/octet-stream"}
        request = urllib.request.Request(self._url + path, body, headers)  # noqa: S310 - http(s) is checked
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                return dict(json.loads(answer.read(_MOST_BYTES)))
        except urllib.error.HTTPError as e:
            raise OSError(f"the hub answered {e.code}: {_detail(e.read(64 << 10))}") from None


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")


def lines(found: dict[str, Any]) -> Iterator[str]:
    """`releases` for people."""
    for r in found["releases"]:
        yield (
            f"{r['model']:<16} {r['stage']:<7} {r['digest'][:12]}  enacted by {r['enacted']} of {r['aircraft']}, "
            f"{r['refused']} refused, {r['issued']} not answered"
        )
    for a in found["aircraft"]:
        beside = f", beside {a['other']} ({a['stage']})" if a["other"] else ""
        said = f"{a['active']}{beside}" if a["active"] else "the model of its program"
        told = f"; told of {a['released_model']} ({a['released_stage']}): {a['state']}" if a["released_model"] else ""
        detail = f"; {a['detail']}" if a["detail"] else ""
        yield f"{a['aircraft_name']:<16} {said}{told}{detail}"
