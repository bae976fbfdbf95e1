"""The gate in front of the RPC: foreign hosts, web pages, forms, missing tokens, and what is too long."""

import hmac
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pvoice.node.paths import Home
from p2pvoice.node.rpc import guard
from p2pvoice.node.rpc.app import build_app
from p2pvoice.node.rpc.guard import (
    HEADERS_COUNT,
    HEADERS_LIMIT,
    TOKEN_SIZE,
    UNIX,
    URL_LIMIT,
    Face,
    Guard,
    check_head,
    load_or_create_token,
    loopback_face,
)
from p2pvoice.node.rpc.requests import BODY_LIMIT
from p2pvoice.node.uploads import UPLOAD_LIMIT
from p2pvoice.protocol.errors import CorruptError, PolicyError, UsageError

from .faces import answer, ask, code_of, connect, connect_unix, daemon_here, request, served

JSON = "Content-Type: application/json"

#: Requests that a browser sends, or that are made to look like ours -> status and error code.
REFUSED = {
    "a name that points here": (request(host="evil.example"), 403, "policy"),
    "a name with our port": (request(host="evil.example:80"), 403, "policy"),
    "our name with a dot": (request(host="localhost."), 403, "policy"),
    "a part of our name": (request(host="localhos"), 403, "policy"),
    "an empty host": (request(host=""), 403, "policy"),
    "no host": (b"GET /v1/status HTTP/1.0\r\n\r\n", 403, "policy"),
    **{
        f"a page's {method}": (request(method, "/v1/status", "Origin: https://evil.example"), 403, "policy")
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
    },
    "a page on this machine": (request("GET", "/v1/status", "Origin: http://localhost"), 403, "policy"),
    "a page in a frame": (request("POST", "/v1/shutdown", "Origin: null"), 403, "policy"),
    **{
        f"{site} by its marker": (request("GET", "/v1/status", f"Sec-Fetch-Site: {site}"), 403, "policy")
        for site in ("cross-site", "same-site", "same-origin")
    },
    **{
        f"a form as {kind}": (
            request("POST", "/v1/connect", f"Content-Type: {kind}", body=b'{"multiaddr":"x"}'),
            400,
            "usage",
        )
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
    },
    "an empty form": (request("POST", "/v1/shutdown", "Content-Type: text/plain"), 400, "usage"),
    "a body without a type": (request("POST", "/v1/connect", body=b"{}"), 400, "usage"),
    "bytes where JSON is read": (
        request("POST", "/v1/connect", "Content-Type: application/octet-stream", body=b'{"multiaddr":"x"}'),
        400,
        "usage",
    ),
    "a page as address": (request("GET", "http://evil.example/v1/status"), 404, "not_found"),
}


async def test_a_daemon_answers_its_own_programs_and_nobody_else() -> None:
    async with daemon_here() as parts:
        path = parts.home.root / "rpc.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for what, (raw, status, code) in REFUSED.items():
            found, body = await ask(await connect_unix(path), raw)
            assert found == status, what
            assert not body or code_of(body) == code, what
        for fields in ((), ("Sec-Fetch-Site: none",), ("Accept: */*", "User-Agent: curl/8")):
            assert (await ask(await connect_unix(path), request("GET", "/v1/status", *fields)))[0] == 200
        assert (await ask(await connect_unix(path), request(host="LOCALHOST")))[0] == 200
        told = request("POST", "/v1/connect", JSON + "; charset=utf-8", body=b'{"multiaddr":"x"}')
        assert b"not the address of a peer" in (await ask(await connect_unix(path), told))[1]
        upgrade = (
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        )
        raw = request("GET", "/v1/status", *upgrade).replace(b"Connection: close", b"Connection: Upgrade")
        async with await connect_unix(path) as stream:
            await stream.send_all(raw)
            assert bytes(await stream.receive_some(4096)).startswith(b"HTTP/1.1 403")
        assert not parts.stop.is_set()


async def test_a_tcp_port_asks_for_the_token(tmp_path: Path) -> None:
    token = load_or_create_token(tmp_path / "rpc.token")
    async with daemon_here() as parts:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        async with served(build_app(parts, loopback_face(port, token)), listener):

            async def status(*fields: str, host: str = f"127.0.0.1:{port}") -> tuple[int, str]:
                found, body = await ask(await connect(port), request("GET", "/v1/status", *fields, host=host))
                return found, "" if found == 200 else code_of(body)

            right = f"Authorization: Bearer {token}"
            for host in ("127.0.0.1", "[::1]", "localhost"):
                assert await status(right, host=f"{host}:{port}") == (200, "")
            assert await status(f"authorization: bearer {token}") == (200, "")
            for wrong in (
                (),
                (f"Authorization: Bearer {token[:-1]}",),
                (f"Authorization: Bearer {token}0",),
                (f"Authorization: Bearer {'0' * len(token)}",),
                (f"Authorization: Basic {token}",),
                ("Authorization: Bearer ",),
                ("Authorization: Bearer \xe9",),
                (f"X-Token: {token}",),
            ):
                assert await status(*wrong) == (403, "policy"), wrong
            for host in (
                f"evil.example:{port}",
                f"127.0.0.1:{port + 1}",
                "127.0.0.1",
                "localhost",
                f"127.1:{port}",
            ):
                assert await status(right, host=host) == (403, "policy"), host
            assert await status(right, "Origin: http://localhost:3000") == (403, "policy")


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def compare(a: bytes, b: bytes) -> bool:
        asked.append((a, b))
        return real(a, b)

    monkeypatch.setattr(guard.hmac, "compare_digest", compare)
    face = loopback_face(1, "secret")
    for given in ("secret", "secreT", ""):
        scope = head(("host", "localhost:1"), ("authorization", f"Bearer {given}"))
        if given == "secret":
            check_head(scope, face)
        else:
            with pytest.raises(PolicyError):
                check_head(scope, face)
    assert asked == [(b"secret", b"secret"), (b"secreT", b"secret"), (b"", b"secret")]
    assert "secret" not in repr(face)
    with pytest.raises(PolicyError):
        loopback_face(1, "")


def head(*fields: tuple[str, str], path: str = "/v1/status", query: str = "") -> dict[str, Any]:
    """An ASGI scope as the server makes it."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    return {
        "headers": raw,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "method": "GET",
    }


def test_addresses_and_heads_end_at_their_limits() -> None:
    host = ("host", "localhost")
    check_head(head(host, path="/" * (URL_LIMIT - 3), query="a=b"), UNIX)
    with pytest.raises(UsageError, match="address"):
        check_head(head(host, path="/" * (URL_LIMIT - 2), query="a=b"), UNIX)
    room = HEADERS_LIMIT - len("hostlocalhost") - 1
    check_head(head(host, ("a", "x" * room)), UNIX)
    with pytest.raises(UsageError, match="header"):
        check_head(head(host, ("a", "x" * (room + 1))), UNIX)
    check_head(head(host, *[("a", "b")] * (HEADERS_COUNT - 1)), UNIX)
    with pytest.raises(UsageError, match="header"):
        check_head(head(host, *[("a", "b")] * HEADERS_COUNT), UNIX)


@pytest.mark.parametrize(
    ("kind", "limit"), [("application/json", BODY_LIMIT), ("application/octet-stream", UPLOAD_LIMIT)]
)
def test_bodies_end_at_their_limits(kind: str, limit: int) -> None:
    host = ("host", "localhost")
    check_head(head(host, ("content-type", kind), ("content-length", str(limit))), UNIX)
    for length in (str(limit + 1), "9" * 300, "-1", "\u00b2"):
        with pytest.raises(UsageError, match="larger"):
            check_head(head(host, ("content-type", kind), ("content-length", length)), UNIX)


async def test_heads_without_end_are_refused_by_the_server() -> None:
    async with daemon_here() as parts:
        path = parts.home.root / "rpc.sock"
        at_limit = request("GET", "/v1/status?" + "a" * (URL_LIMIT - len("/v1/status")))
        assert (await ask(await connect_unix(path), at_limit))[0] == 200
        longer = request("GET", "/v1/status?" + "a" * (URL_LIMIT - len("/v1/status") + 1))
        assert (await ask(await connect_unix(path), longer))[0] == 400
        for endless in (b"GET /" + b"a" * 200_000, b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000):
            assert (await ask(await connect_unix(path), endless))[0] in (0, 431)
        chunked = request(
            "PUT", "/v1/uploads", "Content-Type: text/html", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"
        )
        assert (await ask(await connect_unix(path), chunked))[0] == 400
        assert (await ask(await connect_unix(path), request()))[0] == 200


async def test_requests_end_at_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "REQUESTS_LIMIT", 2)
    release, inside = trio.Event(), trio.Semaphore(0)

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        inside.release()
        await release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async with served(Guard(patient, Face(frozenset({"localhost"})))) as port:
        held = [await connect(port) for _ in range(2)]
        for stream in held:
            await stream.send_all(request())
        for _ in held:
            await inside.acquire()
        status, body = await ask(await connect(port), request())
        assert (status, code_of(body)) == (503, "busy")
        release.set()
        for stream in held:
            async with stream:
                assert (await answer(stream))[0] == 200
        assert (await ask(await connect(port), request()))[0] == 200


def test_token_file_is_for_the_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "rpc.token"
    before = os.umask(0)
    try:
        token = load_or_create_token(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token) == 2 * TOKEN_SIZE
    assert load_or_create_token(path) == token
    assert load_or_create_token(tmp_path / "other") != token


def test_token_files_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rpc.token"
    load_or_create_token(path)
    path.chmod(0o640)
    with pytest.raises(PolicyError):
        load_or_create_token(path)
    path.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(PolicyError):
        load_or_create_token(link)
    with pytest.raises(PolicyError):
        load_or_create_token(_dangling(tmp_path))
    assert not (tmp_path / "nothing").exists()
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(PolicyError):
        load_or_create_token(tmp_path / "pipe")
    for damaged in ("", "a" * (2 * TOKEN_SIZE - 1), "a" * (2 * TOKEN_SIZE + 1), "g" * (2 * TOKEN_SIZE)):
        path.write_text(damaged)
        with pytest.raises(CorruptError):
            load_or_create_token(path)


def _dangling(folder: Path) -> Path:
    link = folder / "dangling"
    link.symlink_to(folder / "nothing")
    return link


def test_folders_of_a_home_are_for_the_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        home = Home(tmp_path / "h")
        home.prepare()
    finally:
        os.umask(before)
    for folder in (home.root, *home.root.iterdir()):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
