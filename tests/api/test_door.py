"""Opening and closing: off until asked for, by option, by settings, at run time; ports, tokens, restarts."""

import socket
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from p2pvoice.node.config import ApiConfig, load_config
from p2pvoice.node.paths import Home
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import ConflictError, UsageError

from ..node.nodes import PROGRAM, Daemon, refusal
from .caller import Caller

OFF = {"on": False, "problem": ""}


def taken_port() -> socket.socket:
    """A port that another program has."""
    other = socket.socket()
    other.bind(("127.0.0.1", 0))
    other.listen()
    return other


def listens(port: int) -> bool:
    """Whether somebody answers at a port."""
    with closing(socket.socket()) as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def checks(client: Client) -> dict[str, tuple[str, str]]:
    events = [event for event in client.doctor() if event["event"] == "check"]
    return {event["check"]: (event["state"], event["finding"]) for event in events}


def test_the_port_is_opened_changed_and_closed(daemons: Callable[[], Daemon]) -> None:
    one = daemons().start()
    client, caller = one.client, Caller(one)
    token_file = one.home / "api.token"
    assert client.api() == OFF
    assert client.close_api() == {"closed": False}
    assert not token_file.exists()
    facts = client.open_api(port=0)
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    assert token_file.read_text().strip() == facts["token"]
    assert facts == {
        "on": True, "problem": "", "port": facts["port"], "url": f"http://127.0.0.1:{facts['port']}",
        "openai": facts["url"] + "/v1", "capability_url": f"{facts['url']}/k/{facts['token']}",
        "token": facts["token"], "origins": [], "voice": "",
    }  # fmt: skip
    assert caller.ask("GET", "/speakers").json == []
    # Without voices it says what to do.
    assert "p2pvoice fetch" in caller.ask("POST", "/tts", {"text": "x"}).json["message"]
    # What is not given stays.
    assert client.open_api() == facts
    assert client.open_api(origins=["http://a"])["origins"] == ["http://a"]
    assert client.open_api(voice="x") == facts | {"origins": ["http://a"], "voice": "x"}
    assert client.open_api(origins=[], voice="") == facts
    moved = client.open_api(port=0)
    assert moved["token"] == facts["token"]
    assert moved["port"] != facts["port"]
    assert not listens(facts["port"])
    with taken_port() as other:
        found = refusal(lambda: client.open_api(port=other.getsockname()[1]))
        assert isinstance(found, ConflictError)
        assert "--port 0" in found.hint
    assert client.api() == moved
    for wrong in ({"port": -1}, {"port": 65_536}, {"origins": ["*"]}, {"origins": ["http://a/b"]}):
        assert isinstance(refusal(lambda wrong=wrong: client.open_api(**wrong)), UsageError)  # type: ignore[misc]
    assert checks(client)["api"] == ("ok", f"open at {moved['url']} for whoever has the token")
    assert client.close_api() == {"closed": True}
    assert client.api() == OFF
    assert not listens(moved["port"])
    assert checks(client)["api"][0] == "ok"
    assert client.open_api(port=0)["token"] == facts["token"]


def test_a_new_token_kills_the_old_one_at_once(api: Caller) -> None:
    old = api.facts
    new = api.daemon.client.renew_api_token()
    assert new["token"] != old["token"]
    assert new["port"] == old["port"]
    assert api.ask("GET", "/speakers", token=old["token"]).status == 401
    assert api.ask("GET", f"/k/{old['token']}/speakers", token="").status == 401
    assert api.ask("GET", "/speakers").status == 200
    assert api.ask("GET", f"/k/{new['token']}/speakers", token="").status == 200
    path = api.daemon.home / "api.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().strip() == new["token"]


def test_it_opens_with_the_daemon_where_the_settings_say_so(daemons: Callable[[], Daemon]) -> None:
    one = daemons()
    one.home.mkdir(exist_ok=True)
    (one.home / "config.toml").write_text(
        '[api]\nenabled = true\nport = 0\norigins = ["http://127.0.0.1:8000"]\nvoice = "night-reader"\n'
    )
    one.start()
    first = one.client.api()
    assert first["on"]
    assert (first["origins"], first["voice"]) == (["http://127.0.0.1:8000"], "night-reader")
    assert one.end() == 0
    one.start()
    assert one.client.api()["token"] == first["token"]
    one.end()
    # A token that others could read is not used.
    (one.home / "api.token").chmod(0o644)
    one.start()
    assert not one.client.api()["on"]
    assert "for you alone" in one.client.api()["problem"]
    one.end()


def test_a_port_that_is_taken_is_told_and_the_node_runs_on(daemons: Callable[[], Daemon]) -> None:
    one = daemons()
    with taken_port() as other:
        port = other.getsockname()[1]
        one.start(program=(*PROGRAM, "--api", str(port)))
        facts = one.client.api()
        assert facts == {"on": False, "problem": f"port {port} is taken by another program"}
        assert checks(one.client)["api"] == ("fail", facts["problem"])
        assert facts["problem"] in one.log
    assert one.client.open_api(port=0)["on"]
    assert one.client.api()["problem"] == ""
    # It is known for the next start, too.
    assert one.end() == 0
    one.start(program=(*PROGRAM, "--api", "0"))
    assert one.client.api()["on"]


def test_settings(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert load_config(home).api == ApiConfig(enabled=False, port=9880, origins=(), voice="")
    assert load_config(home, api=-1).api == ApiConfig(enabled=True, port=9880)
    home.config.write_text('[api]\nport = 9000\norigins = ["http://a"]\n')
    assert load_config(home).api == ApiConfig(port=9000, origins=("http://a",))
    assert load_config(home, api=-1).api == ApiConfig(enabled=True, port=9000, origins=("http://a",))
    assert load_config(home, api=0).api.port == 0
    for wrong in ("port = 65536", "port = -1", 'origins = "x"', "open = true", "enabled = 1"):
        home.config.write_text(f"[api]\n{wrong}\n")
        with pytest.raises(UsageError):
            load_config(home)
