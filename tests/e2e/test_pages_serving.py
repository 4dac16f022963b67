"""What the pages' routes send, without a browser: policy, addresses, caching, and nothing from elsewhere."""

import gzip
import hashlib
import re
from html.parser import HTMLParser

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hub.pages import serve

PATHS = [
    "/",
    "/flights/01a20694-2bc6-7d68-b69f-cb03cef710e8",
    "/fleet",
    "/logs",
    f"/logs/{64 * 'a'}",
    "/maintenance",
    "/system",
    "/login",
]


@pytest.fixture
def client() -> TestClient:
    return TestClient(Starlette(routes=serve.page_routes()), cookies={"dbx_session": "any"}, follow_redirects=False)


class Markup(HTMLParser):
    """What a strict policy would refuse, and what the page asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.refused: list[str] = []
        self.asked: list[str] = []
        self.ids: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.refused += [f"{tag} {name}" for name in given if name.startswith("on") or name == "style"]
        self.refused += ["style element"] if tag == "style" else []
        self.asked += [v for name in ("src", "href") if (v := given.get(name)) and tag in ("script", "link", "img")]
        self.ids += [v] if (v := given.get("id")) else []
        self._in_script = tag == "script"

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.refused.append("inline script")
        self._in_script = False


@pytest.mark.parametrize("path", PATHS)
def test_a_page_holds_nothing_that_its_own_policy_refuses(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert "'unsafe" not in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert Markup(answer.text).refused == []


@pytest.mark.parametrize("path", PATHS)
def test_everything_that_a_page_asks_for_is_served_from_here(client: TestClient, path: str) -> None:
    asked = Markup(client.get(path).text).asked
    assert len(asked) > 4
    for address in asked:
        assert address.startswith("/assets/")
        assert client.get(address).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_every_element_that_a_module_looks_up_is_in_its_page(client: TestClient, path: str) -> None:
    text = client.get(path).text
    entry = re.search(r"/js/(\w+_page\.js)\"></script>", text)
    assert entry
    own = serve.assets()[f"js/{entry[1]}"].plain.decode()
    wanted = set(re.findall(r'byId\("([\w-]+)"\)', own))
    assert wanted and wanted <= set(Markup(text).ids)


def test_a_page_without_a_session_leads_to_the_sign_in_and_back() -> None:
    client = TestClient(Starlette(routes=serve.page_routes()), follow_redirects=False)
    answer = client.get("/flights/7?from=1&to=2")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/flights/7%3Ffrom%3D1%26to%3D2")
    assert answer.headers["cache-control"] == "no-store"


def test_a_link_from_another_site_shows_the_page_because_a_strict_cookie_stays_at_home() -> None:
    client = TestClient(Starlette(routes=serve.page_routes()), follow_redirects=False)
    assert client.get("/fleet", headers={"sec-fetch-site": "cross-site"}).status_code == 200
    assert client.get("/fleet", headers={"sec-fetch-site": "same-origin"}).status_code == 303


def test_assets_may_be_kept_for_ever_under_their_digest_only(client: TestClient) -> None:
    now = client.get(f"/assets/{serve.assets_digest()}/js/dom.js")
    old = client.get("/assets/0123456789ab/js/dom.js")
    assert "immutable" in now.headers["cache-control"] and old.headers["cache-control"] == "no-cache"
    assert now.content == old.content


def test_an_unchanged_page_is_answered_by_304_with_its_policy(client: TestClient) -> None:
    first = client.get("/fleet")
    again = client.get("/fleet", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]


def test_a_client_that_takes_no_gzip_gets_the_same_bytes_plain(client: TestClient) -> None:
    address = f"/assets/{serve.assets_digest()}/css/tokens.css"
    plain = client.get(address, headers={"accept-encoding": "identity"})
    packed = serve.assets()["css/tokens.css"].packed
    assert "content-encoding" not in plain.headers and gzip.decompress(packed) == plain.content


@pytest.mark.parametrize("path", ["js%2f..%2fserve.py", "..%2fserve.py", "js/none.js", "serve.py", "js/", "js"])
def test_nothing_but_the_assets_can_be_reached_below_their_address(client: TestClient, path: str) -> None:
    assert client.get(f"/assets/{serve.assets_digest()}/{path}").status_code == 404


@pytest.mark.parametrize("page", serve.PAGES, ids=lambda p: p.name)
def test_every_module_that_is_imported_is_there_and_asked_for_at_once(page: serve.Page) -> None:
    closure = serve.module_closure(f"{page.name}_page.js")
    imports = set()
    for name in closure:
        text = serve.assets()[f"js/{name}"].plain.decode()
        imports |= set(re.findall(r'from "\./([\w.]+)"', text))
    assert imports | {f"{page.name}_page.js"} == set(closure)
    html = serve.render(page).plain.decode()
    assert [
        name for name in closure if f'modulepreload" href="/assets/{serve.assets_digest()}/js/{name}"' not in html
    ] == []


def test_no_module_is_left_that_no_page_uses() -> None:
    used = {name for page in serve.PAGES for name in serve.module_closure(f"{page.name}_page.js")}
    assert {path.removeprefix("js/") for path in serve.assets() if path.startswith("js/")} == used


def test_no_asset_names_an_address_outside() -> None:
    allowed = {"http://www.w3.org/2000/svg"}
    named = set()
    for path, body in serve.assets().items():
        if not path.startswith("vendor/"):
            named |= set(re.findall(r"(?:https?:)?//[\w.]+\.\w+[^\s\"'`)]*", body.plain.decode()))
    assert named <= allowed


def test_no_module_writes_markup_or_evaluates_text() -> None:
    pattern = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    guilty = [
        p for p, body in serve.assets().items() if p.startswith("js/") and re.search(pattern, body.plain.decode())
    ]
    assert guilty == []


def test_the_vendored_plot_library_is_the_published_one() -> None:
    digests = {p: hashlib.sha256(b.plain).hexdigest() for p, b in serve.assets().items() if p.startswith("vendor/")}
    readme = (serve.FOLDER / "vendor" / "README.md").read_text()
    assert set(digests) == {"vendor/uPlot.iife.min.js", "vendor/uPlot.min.css", "vendor/uPlot.LICENSE.txt"}
    assert [path for path, digest in digests.items() if digest not in readme] == []


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a: str, b: str) -> float:
    low, high = sorted((_luminance(a), _luminance(b)))
    return (high + 0.05) / (low + 0.05)


TEXT_ON = [
    *[(text, ground) for text in ("text", "muted", "faint", "accent") for ground in ("bg", "surface", "hover")],
    ("muted", "sunken"), ("text", "raised"), ("accent-text", "accent"), ("accent", "accent-soft"), ("ok", "ok-soft"),
    ("warn", "warn-soft"), ("crit", "crit-soft"), ("live", "surface"), ("warn", "surface"), ("crit", "surface"),
    ("muted", "map-bg"), ("text", "map-bg"),
]  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_on_its_ground_in_both_themes(theme: str) -> None:
    light, _, dark = serve.assets()["css/tokens.css"].plain.decode().partition("@media (prefers-color-scheme: dark)")
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    colours |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark)) if theme == "dark" else {}
    low = {f"{a} on {b}": c for a, b in TEXT_ON if (c := round(_contrast(colours[a], colours[b]), 2)) < 4.5}
    assert low == {}
