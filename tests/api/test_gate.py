"""Who may use the port: tokens on every path, Hosts, web pages, forms, places."""

import hmac
import json
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from p2pvoice.node.api import gate
from p2pvoice.node.api.app import GPT_SOVITS, OPENAI
from p2pvoice.node.api.asked import API_BODY
from p2pvoice.node.api.gate import ORIGIN_LENGTH, ORIGINS_LIMIT, Admission, Gate, check_origins
from p2pvoice.node.page.allowed import is_allowed
from p2pvoice.protocol.errors import UsageError

from ..node.faces import answer, ask, connect, request, served
from .caller import TEXT, Caller
from .conftest import PAGE

PATHS = sorted({(method, path) for method, path, _ in (*OPENAI, *GPT_SOVITS)})
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")


def wrong_tokens(right: str) -> Iterator[dict[str, Any]]:
    """Ways to ask without the right token."""
    for token in ("", right[:-1], right + "0", "0" * 64, right.upper(), f" {right[1:]}"):
        yield {"token": token}
    for value in (right, f"Basic {right}", f"Token {right}", f"Bearer, {right}", "Bearer \xe9"):
        yield {"token": "", "fields": {"Authorization": value}}
    yield {"token": "", "fields": {"X-Token": right, "Cookie": f"token={right}"}}


def test_without_the_token_nothing_is_answered(api: Caller) -> None:
    right = api.facts["token"]
    for how in wrong_tokens(right):
        for method, path in PATHS:
            found = api.ask(method, path, {} if method == "POST" else None, **how)
            assert (found.status, how, path) == (401, how, path)
            message = found.json["error"]["message"] if path.startswith("/v1/") else found.json["message"]
            assert "no valid token" in message
            assert right not in str(found.headers) + message
    for method in METHODS:
        for path in ("/", "/tts", "/v1/models", "/nowhere", "/v1/status"):
            assert api.ask(method, path, token="").status == 401


def test_the_address_may_hold_the_token_and_nothing_else(api: Caller) -> None:
    right = api.facts["token"]
    for prefix in (f"/k/{right}", f"/k/{right}/"):
        path = prefix.rstrip("/") + "/speakers"
        for fields in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer wrong"}):
            assert api.ask("GET", path, token="", fields=fields).status == 200
    for path in (
        f"/k/{right[:-1]}/speakers", f"/k/{right}0/speakers", f"/k/{right.upper()}/speakers", "/k//speakers",
        "/k/", "/k", f"/{right}/speakers", f"/K/{right}/speakers", f"/k/%30{right[1:]}/speakers",
        f"/k/x/../{right}/speakers", f"//k/{right}/speakers", f"/speakers?token={right}",
    ):  # fmt: skip
        assert api.ask("GET", path, token="").status == 401, path
        # A token in a header does not mend one in the address.
        if path.startswith("/k/") and right[1:] not in path:
            assert api.ask("GET", path).status == 401, path
    for method, path in PATHS:
        found = api.ask(method, f"/k/{'0' * 64}{path}", {} if method == "POST" else None, token="")
        assert found.status == 401


def test_what_is_behind_the_token_is_no_more_than_is_listed(api: Caller) -> None:
    for path in (
        "/v1/status", "/v1/key", "/v1/shutdown", "/v1/voices", "/v1/api", "/v1/page", "/metrics", "/docs",
        "/openapi.json", "/v1/../v1/status", "/tts/..", "/%74ts/", "/v1/models/..%2Fstatus", "//speakers",
    ):  # fmt: skip
        for method in ("GET", "POST", "DELETE"):
            found = api.ask(method, path, {} if method == "POST" else None)
            assert found.status in (404, 405), (method, path)
    assert api.daemon.client.status()["pid"]


def test_only_the_hosts_that_mean_this_port(api: Caller) -> None:
    port = api.facts["port"]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", f"LOCALHOST:{port}"):
        assert api.ask("GET", "/speakers", fields={"Host": host}).status == 200
    others = ("127.0.0.1", "localhost", f"127.0.0.1:{port + 1}", f"127.1:{port}", f"evil.example:{port}", "")
    for host in others:
        for method, path in PATHS:
            found = api.ask(method, path, {} if method == "POST" else None, fields={"Host": host})
            assert (found.status, host) == (403, host)


def test_pages_that_are_not_listed_are_refused_on_every_method(api: Caller) -> None:
    token = api.facts["token"]
    for origin in (
        "https://evil.example", "null", "http://127.0.0.1:8001", "http://127.0.0.1", "http://localhost:8000",
        f"{PAGE}/", f"{PAGE}.evil.example", PAGE.upper(), f"{PAGE} https://evil.example", "",
    ):  # fmt: skip
        for method in METHODS:
            for path, how in (("/tts", {}), (f"/k/{token}/v1/audio/speech", {"token": ""})):
                fields = {"Origin": origin, "Access-Control-Request-Method": "POST"}
                found = api.ask(method, path, {} if method == "POST" else None, fields=fields, **how)
                assert (found.status, origin, method) == (403, origin, method)
                assert not any(name.lower().startswith("access-control") for name in found.headers)
    for site in ("cross-site", "same-site", "same-origin"):
        # A picture, a sound or a form of some page: no Origin, but the browser tells.
        found = api.ask("GET", "/tts?text=Yes", fields={"Sec-Fetch-Site": site})
        assert found.status == 403
    both = api.raw(
        f"GET /speakers HTTP/1.1\r\nHost: 127.0.0.1:{api.facts['port']}\r\nAuthorization: Bearer {token}\r\n"
        f"Origin: {PAGE}\r\nOrigin: https://evil.example\r\nConnection: close\r\n\r\n".encode()
    )
    assert b" 403 " in both.splitlines()[0]


def test_a_listed_page_is_answered_and_still_needs_the_token(api: Caller) -> None:
    page = {"Origin": PAGE, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    for method, path, body, status in (
        ("GET", "/speakers", None, 200),
        ("POST", "/v1/audio/speech", {"input": TEXT, "voice": "nobody"}, 404),
        ("GET", "/nowhere", None, 404),
        ("POST", "/tts", {"text": ""}, 400),
    ):
        found = api.ask(method, path, body, fields=page)
        assert found.status == status
        assert found.headers.get_all("access-control-allow-origin") == [PAGE]
        refused = api.ask(method, path, body, fields=page, token="")
        assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, PAGE)
    asks = page | {"Access-Control-Request-Method": "POST"}
    allowed = api.ask("OPTIONS", "/v1/audio/speech", fields=asks, token="")
    assert (allowed.status, allowed.body) == (204, b"")
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    # Without what makes it a preflight it is a method that nothing has.
    assert api.ask("OPTIONS", "/tts", fields=page, token="").status == 401
    assert api.ask("OPTIONS", "/tts", fields=page).status == 405
    assert api.ask("OPTIONS", "/tts", fields=asks | {"Host": "evil.example"}, token="").status == 403
    assert "*" not in str(allowed.headers)


def test_forms_and_bodies_that_are_too_long(api: Caller) -> None:
    body = json.dumps({"text": TEXT}).encode()
    for kind in (
        "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "",
        "application/octet-stream", "application/jsonp", "text/json",
    ):  # fmt: skip
        for path in ("/tts", "/", "/v1/audio/speech", "/control"):
            assert api.ask("POST", path, body, fields={"Content-Type": kind}).status == 400
    for length in (str(API_BODY + 1), "9" * 40):
        found = api.raw(
            f"POST /tts HTTP/1.1\r\nHost: 127.0.0.1:{api.facts['port']}\r\nContent-Length: {length}\r\n"
            f"Authorization: Bearer {api.facts['token']}\r\nContent-Type: application/json\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        assert found.startswith(b"HTTP/1.1 400")
    heavy = {f"X-{number}": "y" * 500 for number in range(33)}
    assert api.ask("GET", "/speakers", fields=heavy).status == 400
    assert api.ask("GET", "/speakers?" + "x" * 32_768).status == 400
    upgrade = api.raw(
        f"GET /k/{api.facts['token']}/ HTTP/1.1\r\nHost: 127.0.0.1:{api.facts['port']}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    assert upgrade.startswith(b"HTTP/1.1 403")


def test_the_log_holds_neither_token_nor_words(api: Caller) -> None:
    token = api.facts["token"]
    secret = "Quinquereme of Nineveh."
    api.ask("POST", "/v1/audio/speech", {"input": secret, "voice": "alloy"})
    api.ask("GET", f"/k/{token}/tts?text=Quinquereme&top_k=x", token="")
    api.ask("POST", f"/k/{token}/tts", {"text": secret, "text_lang": "xx"}, token="")
    api.ask("GET", f"/k/{token}/nowhere", token="")
    api.raw(f"GET /k/{token}/speakers HTTP/9.9\r\n\r\n".encode())
    log = api.daemon.log
    assert "ready" in log
    assert token not in log
    assert "Quinquereme" not in log


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append(a)
        assert b == b"secret"
        return a == b

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for raw, authorization, known in (
        (b"/k/secret/tts", "", True),
        (b"/k/secreT/tts", "Bearer secret", False),
        (b"/k/", "", False),
        (b"/tts", "Bearer secret", True),
        (b"/tts", "bearer secret", True),
        (b"/tts", "Basic secret", False),
        (b"/tts", "", False),
    ):
        scope = {"raw_path": raw, "path": raw.decode()}
        taken, found = gate._taken(scope, gate.Headers({"authorization": authorization}), "secret")
        assert found == known
        if known:
            assert (taken["raw_path"], taken["path"]) == (b"/tts", "/tts")
    assert len(compared) == 7
    assert "secret" not in repr(Admission(1, "secret"))


async def test_requests_end_at_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "REQUESTS_LIMIT", 2)
    release, inside = trio.Event(), trio.Semaphore(0)

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        inside.release()
        await release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with served(Gate(patient, lambda: Admission(port, "t", frozenset({PAGE}))), listener):
        asked = request("GET", "/k/t/tts", host=f"127.0.0.1:{port}")
        held = [await connect(port) for _ in range(2)]
        for stream in held:
            await stream.send_all(asked)
            await inside.acquire()
        status, body = await ask(await connect(port), asked)
        assert (status, "2 requests" in json.loads(body)["message"]) == (503, True)
        # A preflight takes no place, a refusal neither.
        fields = (f"Origin: {PAGE}", "Access-Control-Request-Method: POST")
        preflight = request("OPTIONS", "/tts", *fields, host=f"127.0.0.1:{port}")
        assert (await ask(await connect(port), preflight))[0] == 204
        assert (await ask(await connect(port), request("GET", "/tts", host=f"127.0.0.1:{port}")))[0] == 401
        release.set()
        for stream in held:
            async with stream:
                assert (await answer(stream))[0] == 200
        assert (await ask(await connect(port), asked))[0] == 200


def test_what_an_origin_is() -> None:
    good = ["http://127.0.0.1:8000", "https://chat.example", "app://obsidian.md", "chrome-extension://abc"]
    assert check_origins(good) == frozenset(good)
    long = "http://" + "x" * (ORIGIN_LENGTH - 7)
    assert check_origins([long]) == {long}
    many = [f"http://h{number}" for number in range(ORIGINS_LIMIT)]
    assert len(check_origins(many)) == ORIGINS_LIMIT
    for bad in (
        "*", "null", "", "http://", "http://*", "http://a/", "http://a/b", "a.example", "http://a b", "HTTP://a",
        "http://u@a", "http://a\n", "http://a?x", "http://a#x", long + "x",
    ):  # fmt: skip
        with pytest.raises(UsageError):
            check_origins([bad])
    with pytest.raises(UsageError):
        check_origins([*many, "http://more"])


def test_neither_the_port_nor_the_page_opens_ports(api: Caller) -> None:
    closed = (("GET", "/v1/api"), ("POST", "/v1/api"), ("DELETE", "/v1/api"), ("POST", "/v1/api/token"))
    for method, path in closed:
        assert api.ask(method, path, {} if method == "POST" else None).status == 404
        assert not is_allowed(method, path.encode())
