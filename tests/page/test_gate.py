"""Who gets to see the page: the token in its address, Host and Origin, and what its scripts may ask."""

import http.client
import json
import re
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from p2pvoice.node.page.allowed import ALLOWED, is_allowed
from p2pvoice.node.page.files import static_files
from p2pvoice.node.page.gate import CONTENT_POLICY, HEADERS

from ..node.nodes import Daemon

JSON = {"Content-Type": "application/json"}

#: What the page's scripts must never reach, whatever it is called with.
NEVER = (
    ("POST", "/v1/key/unlock"),
    ("POST", "/v1/key/lock"),
    ("POST", "/v1/key/passphrase"),
    ("POST", "/v1/key/export"),
    ("POST", "/v1/key/import"),
    ("POST", "/v1/key/rotate"),
    ("GET", "/v1/key"),
    ("POST", "/v1/shutdown"),
    ("POST", "/v1/consent"),
    ("POST", "/v1/tune"),
    ("POST", "/v1/distil"),
    ("POST", "/v1/describe"),
    ("POST", "/v1/connect"),
    ("POST", "/v1/bases"),
    ("POST", "/v1/drafts"),
    ("POST", "/v1/drafts/bundled"),
    ("POST", "/v1/voices/x/revoke"),
    ("POST", "/v1/gc"),
    ("POST", "/v1/page"),
    ("DELETE", "/v1/page"),
    ("POST", "/v1/trainings/x/start"),
    ("POST", "/v1/verify"),
    ("GET", "/metrics"),
)


class Caller:
    """Sends requests to one page, with or without what a browser would send along."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.root = parts.netloc, parts.path.rstrip("/")
        self.origin = f"http://{self.host}"

    def ask(
        self, method: str, path: str, body: object = None, *, whole: bool = False, **fields: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; ``path`` is below the page's root unless it is ``whole``."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        headers = {"Host": self.host} | {name.replace("_", "-"): value for name, value in fields.items()}
        data = None
        if body is not None:
            headers, data = headers | JSON, json.dumps(body)
        try:
            connection.request(method, path if whole else self.root + path, data, headers)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def caller(daemon: Daemon) -> Caller:
    return Caller(daemon.client.open_page()["url"])


def test_without_the_token_there_is_nothing(caller: Caller) -> None:
    token = caller.root.removeprefix("/k/")
    assert len(token) == 64
    wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
    for path in (
        "/", "/k/", "/k", "/favicon.ico", "/v1/status", "/static/base.css", f"/{token}/", f"/k/{wrong}/",
        f"/k/{token[:-1]}/", f"/k/{token}", f"/k/{token}x/", f"/K/{token}/", f"//k/{token}/",
        f"/x/../k/{token}/", f"/k/%{ord(token[0]):02x}{token[1:]}/",
    ):  # fmt: skip
        for method in ("GET", "POST", "OPTIONS"):
            status, headers, body = caller.ask(method, path, whole=True)
            assert (status, body) == (404, b""), path
            # It does not even say what it is.
            assert "set-cookie" not in headers
            assert headers["content-security-policy"] == CONTENT_POLICY


def test_another_token_each_time_and_the_old_one_is_dead(daemons: Callable[[], Daemon]) -> None:
    client = daemons().start().client
    first = client.open_page()["url"]
    assert client.open_page()["url"] == client.page()["url"] == first
    second = client.open_page(new=True)["url"]
    assert second.rpartition("/k/")[2] != first.rpartition("/k/")[2]
    assert Caller(second).ask("GET", "/")[0] == 200
    # The old port is closed, or it was drawn again and does not know the old token.
    with suppress(ConnectionRefusedError):
        assert Caller(first).ask("GET", "/")[0] == 404
    assert client.close_page() == {"closed": True}
    assert client.page() == {"url": None}
    assert client.close_page() == {"closed": False}
    with pytest.raises(ConnectionRefusedError):
        Caller(second).ask("GET", "/")


def test_another_host_or_origin_is_refused(caller: Caller) -> None:
    port = caller.host.partition(":")[2]
    for host in ("localhost:" + port, "127.0.0.1", "evil.example", "evil.example:" + port, "[::1]:" + port):
        assert caller.ask("GET", "/", Host=host)[0] == 403, host
    for origin in ("http://evil.example", "null", f"http://localhost:{port}", f"https://{caller.host}", ""):
        assert caller.ask("GET", "/", Origin=origin)[0] == 403, origin
    for site in ("cross-site", "same-site", "none, cross-site"):
        assert caller.ask("GET", "/", Sec_Fetch_Site=site)[0] == 403, site
    sites = ({}, {"Sec_Fetch_Site": "none"}, {"Sec_Fetch_Site": "same-origin"})
    for fields in (*sites, {"Origin": caller.origin}):
        assert caller.ask("GET", "/", **fields)[0] == 200


def test_nothing_is_changed_without_the_pages_own_origin(caller: Caller) -> None:
    body = {"author": "did:key:x"}
    for fields in ({}, {"Sec_Fetch_Site": "none"}, {"Sec_Fetch_Site": "same-origin"}, {"Origin": "null"}):
        for method, path in (("POST", "/v1/following"), ("DELETE", "/v1/voices/x"), ("POST", "/v1/speak")):
            status, _, answer = caller.ask(method, path, body, **fields)
            assert (status, json.loads(answer)["error"]["code"]) == (403, "policy")
    status, _, answer = caller.ask("POST", "/v1/following", body, Origin=caller.origin)
    assert (status, json.loads(answer)["error"]["code"]) == (400, "usage")
    # A form of another page could send these.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        fields = {"Origin": caller.origin, "Content_Type": kind, "Content_Length": "0"}
        assert caller.ask("POST", "/v1/following", **fields)[0] == 400


def test_what_the_page_may_not_ask_is_not_there(caller: Caller, daemon: Daemon) -> None:
    for method, path in NEVER:
        status, _, answer = caller.ask(method, path, {} if method == "POST" else None, Origin=caller.origin)
        assert status == 404, (method, path)
        assert path == "/metrics" or json.loads(answer)["error"]["code"] == "not_found"
    assert daemon.client.status()["author"]


def test_no_spelling_of_another_path_gets_through(caller: Caller) -> None:
    for path in (
        "/v1/%6Bey/export", "/v1//key/export", "/v1/./key/export", "/v1/voices/../key/export",
        "/v1/voices/%2e%2e/key/export", "/v1/voices/..%2Fkey%2Fexport", "/v1/voices%2F..%2Fkey%2Fexport",
        "/v1/key%2Fexport", "/v1/key/export/", "/V1/key/export", "/%76%31/key/export",
        "/v1/voices/x/fetch/..", "/v1/following/../key/export", "/v1/voices/x%2Frevoke", "//v1/key/export",
        "/x/..//v1/key/export",
    ):  # fmt: skip
        status, _, answer = caller.ask("POST", path, {"new": "x", "plain": True}, Origin=caller.origin)
        assert status in (404, 405), path
        assert b'"key"' not in answer


def test_every_answer_carries_the_pages_headers(caller: Caller) -> None:
    paths = ["/", "/card/none", "/voice/none", "/author/none", "/none", "/v1/status", "/v1/key", "/?lang=zh"]
    paths += [f"/static/{name}" for name in static_files()]
    for path in paths:
        _, headers, _ = caller.ask("GET", path)
        for name, value in HEADERS:
            assert headers[name.decode()] == value.decode(), path
    assert "unsafe" not in CONTENT_POLICY
    assert not any(scheme in CONTENT_POLICY for scheme in ("http:", "https:", "data:", "*"))


def test_pages_hold_nothing_inline_and_not_the_token(caller: Caller) -> None:
    for path in ("/", "/author/did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH", "/none"):
        page = caller.ask("GET", path)[2].decode()
        assert "<script" in page
        assert page.count("<script") == page.count('<script type="module" src=')
        assert "<style" not in page
        assert " style=" not in page
        assert re.search(r"<[^>]*\son\w+=", page) is None
        assert caller.root.removeprefix("/k/") not in page


def test_the_list_of_what_may_be_asked_is_exact() -> None:
    for method, path in ALLOWED:
        assert is_allowed(method, path.replace("{}", "a%2Fb").encode())
        assert not is_allowed("PATCH", path.replace("{}", "x").encode())
        assert not is_allowed(method, path.replace("{}", "x").encode() + b"/no/more")
        assert not is_allowed(method, b"/x" + path.encode())
    assert is_allowed("HEAD", b"/v1/status")
    assert not is_allowed("POST", b"/v1/status")
    assert not is_allowed("GET", b"/v1/voices/")
    assert not is_allowed("GET", b"/v1/voices/a/b/preview")


def test_language_and_colours_are_kept_in_a_cookie_of_the_page_alone(caller: Caller) -> None:
    status, headers, _ = caller.ask("GET", "/?tag=yue&lang=zh")
    assert (status, headers["location"]) == (303, "./?tag=yue")
    assert headers["set-cookie"] == f"lang=zh; HttpOnly; Path={caller.root}/; SameSite=strict"
    assert '<html lang="zh-Hans"' in caller.ask("GET", "/", Cookie="lang=zh")[2].decode()
    assert '<html lang="zh-Hans"' in caller.ask("GET", "/", Accept_Language="zh-TW,en;q=0.5")[2].decode()
    assert '<html lang="en"' in caller.ask("GET", "/", Accept_Language="de,en;q=0.5")[2].decode()
    assert 'data-theme="dark"' in caller.ask("GET", "/", Cookie="theme=dark")[2].decode()
    for nonsense in ("lang=xx", "theme=%22%3E", "lang=zh%0d%0aX:%20y"):
        status, headers, page = caller.ask("GET", f"/?{nonsense}", Cookie='lang=xx; theme="><b>')
        assert (status, "set-cookie" in headers) == (200, False)
        assert b"<b>" not in page
        assert 'data-theme="auto"' in page.decode()
    # The way back never leads to another host.
    assert caller.ask("GET", "//evil.example/?lang=en")[0] == 404
    assert caller.ask("GET", "/voice//evil.example?lang=en")[1]["location"] == "../../voice//evil.example"


def test_errors_are_pages_and_too_much_is_refused(caller: Caller) -> None:
    status, headers, page = caller.ask("GET", "/nowhere/<b>")
    assert (status, headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert b"<b>" not in page
    assert caller.ask("GET", "/author/x")[0] == 400
    assert caller.ask("GET", "/voice/" + "x" * 257)[0] == 400
    assert caller.ask("GET", "/static/..%2Fgate.py")[0] == 404
    assert caller.ask("GET", "/?" + "&".join(f"tag=t{number}" for number in range(65)))[0] == 200
    assert caller.ask("GET", "/?tag=no/such&text=" + "x" * 5000)[0] == 200


def test_the_page_closes_with_the_daemon(daemons: Callable[[], Daemon]) -> None:
    one = daemons().start()
    url = one.client.open_page()["url"]
    assert Caller(url).ask("GET", "/")[0] == 200
    assert one.end() == 0
    with pytest.raises(ConnectionRefusedError):
        Caller(url).ask("GET", "/")
