"""The operator's pages as routes: everything is read once, held in memory, and sent with a strict policy.

A page is `shell.html` with one fragment inside. Assets are addressed under the digest of all assets, so that a browser
may keep them for ever and a new release is fetched at once. Nothing here reads the database: data comes from `/v1`.
"""

import gzip
import hashlib
import html
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

SESSION_COOKIE = "dbx_session"
FOLDER = Path(__file__).parent
COMMON_STYLES = ("css/tokens.css", "css/shell.css", "css/controls.css")
ASSET_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SAFETY = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its address, its title, its fragment `<name>.html` and module `js/<name>_page.js`.

    section: which entry of the navigation is marked current. styles: its own style sheets, after the common ones.
    scripts: classic scripts that its modules expect. is_public: reachable without a session.
    """

    path: str
    name: str
    title: str
    section: str = ""
    styles: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    is_public: bool = False


PAGES = (
    Page("/", "flights", "Flights", "flights", ("css/flights.css",)),
    Page(
        "/flights/{flight_id}",
        "flight",
        "Flight",
        "flights",
        ("vendor/uPlot.min.css", "css/flight.css", "css/plots.css", "css/findings.css", "css/map.css"),
        ("vendor/uPlot.iife.min.js",),
    ),
    Page("/fleet", "fleet", "Fleet", "fleet", ("css/fleet.css", "css/map.css")),
    Page("/logs", "logs", "Logs", "logs", ("css/flights.css", "css/logs.css")),
    Page("/logs/{sha256}", "log", "Log", "logs", ("css/logs.css",)),
    Page("/maintenance", "maintenance", "Maintenance", "maintenance", ("css/maintenance.css",)),
    Page("/system", "system", "System", "system", ("css/system.css",)),
    Page("/login", "login", "Sign in", is_public=True),
)


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes ready to send, plain and gzipped, with their type and entity tag."""

    plain: bytes
    packed: bytes
    media_type: str
    etag: str


def _body(data: bytes, media_type: str) -> Body:
    return Body(data, gzip.compress(data, 6, mtime=0), media_type, f'"{hashlib.sha256(data).hexdigest()[:20]}"')


@cache
def assets() -> dict[str, Body]:
    """Every file that a page may load, by its path below `hub/pages`."""
    found = (p for folder in ("js", "css", "vendor") for p in sorted((FOLDER / folder).iterdir()))
    return {
        p.relative_to(FOLDER).as_posix(): _body(p.read_bytes(), ASSET_TYPES[p.suffix])
        for p in (*found, FOLDER / "icon.svg")
        if p.suffix in ASSET_TYPES
    }


@cache
def assets_digest() -> str:
    """Names the whole set of assets; it is part of their addresses."""
    total = hashlib.sha256()
    for path, body in assets().items():
        total.update(path.encode() + body.etag.encode())
    return total.hexdigest()[:12]


def module_closure(entry: str) -> list[str]:
    """The modules that `entry` (below `js/`) needs, itself first, so that a page can ask for all of them at once."""
    order = [entry]
    for name in order:
        text = assets()[f"js/{name}"].plain.decode()
        imports = [line.rpartition('from "./')[2].rstrip('";') for line in text.splitlines() if ' from "./' in line]
        order += [i for i in dict.fromkeys(imports) if i not in order]
    return order


@cache
def render(page: Page) -> Body:
    """The page as HTML: the shell, its fragment, and hints to load all modules in parallel."""
    base = f"/assets/{assets_digest()}"
    entry = f"{page.name}_page.js"
    styles = "".join(f'<link rel="stylesheet" href="{base}/{s}">\n' for s in (*COMMON_STYLES, *page.styles))
    scripts = "".join(f'<script src="{base}/{s}" defer></script>\n' for s in page.scripts)
    preloads = "".join(f'<link rel="modulepreload" href="{base}/js/{m}">\n' for m in module_closure(entry))
    shell = "login_shell.html" if page.is_public else "shell.html"
    text = (FOLDER / shell).read_text(encoding="utf-8")
    marks = {
        "@@main@@": (FOLDER / f"{page.name}.html").read_text(encoding="utf-8"),
        "@@title@@": html.escape(page.title),
        "@@styles@@": styles,
        "@@preloads@@": scripts + preloads,
        "@@assets@@": base,
        "@@name@@": page.name,
        f'data-section="{page.section}"': f'data-section="{page.section}" aria-current="page"',
    }
    for mark, value in marks.items():
        text = text.replace(mark, value)
    return _body(text.encode(), "text/html; charset=utf-8")


def send(request: Request, body: Body, cache_control: str) -> Response:
    """The body, gzipped where accepted; 304 when the client has it already."""
    headers = SAFETY | {"etag": body.etag, "cache-control": cache_control, "vary": "accept-encoding"}
    if request.headers.get("if-none-match") == body.etag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(body.packed, media_type=body.media_type, headers=headers | {"content-encoding": "gzip"})
    return Response(body.plain, media_type=body.media_type, headers=headers)


async def _asset(request: Request) -> Response:
    body = assets().get(request.path_params["path"])
    if body is None:
        return Response("No such file.", 404, SAFETY, "text/plain")
    is_current = request.path_params["digest"] == assets_digest()
    return send(request, body, "public, max-age=31536000, immutable" if is_current else "no-cache")


async def _icon(request: Request) -> Response:
    return send(request, assets()["icon.svg"], "public, max-age=86400")


def _page_route(page: Page) -> Route:
    async def show(request: Request) -> Response:
        # A strict cookie is not sent when a link elsewhere leads here; the page's own requests do send it.
        is_from_elsewhere = request.headers.get("sec-fetch-site") == "cross-site"
        if not page.is_public and not is_from_elsewhere and SESSION_COOKIE not in request.cookies:
            target = quote(request.url.path + (f"?{request.url.query}" if request.url.query else ""), safe="/")
            return RedirectResponse(f"/login?next={target}", 303, SAFETY | {"cache-control": "no-store"})
        return send(request, render(page), "no-cache")

    return Route(page.path, show, methods=["GET"], name=f"page-{page.name}", include_in_schema=False)


def page_routes() -> list[Route]:
    """Routes for the API's application: pages, their assets, the icon. `POST /login` and `/logout` are the API's."""
    extra = [
        Route("/assets/{digest}/{path:path}", _asset, methods=["GET"], include_in_schema=False),
        Route("/favicon.ico", _icon, methods=["GET"], include_in_schema=False),
    ]
    return [*map(_page_route, PAGES), *extra]
