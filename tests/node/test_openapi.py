"""The document says what the server does: each route is in it, each of its rows is a route, bodies fit."""

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest
from openapi_spec_validator import validate
from starlette.applications import Starlette

from p2pvoice.node.rpc import collections as collections_
from p2pvoice.node.rpc import community, keys, training, voices
from p2pvoice.node.rpc.client import Client
from p2pvoice.node.rpc.openapi import document
from p2pvoice.node.rpc.operations import OPERATIONS, routes
from p2pvoice.protocol.errors import NotFoundError, P2PVoiceError, UsageError

from .faces import daemon_here
from .nodes import Daemon, refusal

PAGE = Path(__file__).parent.parent.parent / "specs" / "rpc.md"


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return document(OPERATIONS)


def test_it_is_valid_and_served(daemons: Callable[[], Daemon], described: dict[str, Any]) -> None:
    validate(described)
    assert daemons().start().client.json("GET", "/v1/openapi.json") == described
    names = [one["operationId"] for path in described["paths"].values() for one in path.values()]
    assert len(names) == len(set(names)) == len(OPERATIONS)
    for path in described["paths"].values():
        for one in path.values():
            if "requestBody" in one:
                for content in one["requestBody"]["content"].values():
                    jsonschema.Draft202012Validator.check_schema(content["schema"])


async def test_routes_and_document_are_the_same(described: dict[str, Any]) -> None:
    from p2pvoice.node.rpc.app import build_app

    async with daemon_here() as parts:
        app: Any = build_app(parts)
        while not isinstance(app, Starlette):
            app = getattr(app, "inner", None) or app.app
        served = {(method, route.path) for route in app.routes for method in route.methods - {"HEAD"}}
    assert served == {(method, path) for method, path, _ in routes()}
    told = {(method.upper(), path) for path, kinds in described["paths"].items() for method in kinds}
    assert told == {(one.method, one.path) for one in OPERATIONS}
    for one in OPERATIONS:
        assert (one.method, one.matched) in served
        # A pattern that matches more than what is documented begins in the same way.
        assert one.path.split("{")[0].startswith(one.matched.split("{")[0])


def actions_in(module: Any) -> set[str]:
    """The texts that an endpoint file compares an action with."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and node.left.id == "action":
            found |= {
                leaf.value
                for leaf in ast.walk(node.comparators[0])
                if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)
            }
        if isinstance(node, ast.Match) and isinstance(node.subject, ast.Name) and node.subject.id == "action":
            found |= {
                leaf.value.value
                for case in node.cases
                for leaf in ast.walk(case.pattern)
                if isinstance(leaf, ast.MatchValue) and isinstance(leaf.value, ast.Constant)
            }
    return found - {""}


@pytest.mark.parametrize(
    ("module", "prefix"),
    [
        (voices, "/v1/voices/"),
        (collections_, "/v1/collections/"),
        (training, "/v1/trainings/"),
        (keys, "/v1/key/"),
        (community, "/v1/operations/"),
    ],
)
def test_actions_that_endpoints_take_apart_are_in_the_table(module: Any, prefix: str) -> None:
    told = {
        one.path.rpartition("/")[2]
        for one in OPERATIONS
        if one.path.startswith(prefix) and not one.path.endswith("}")
    }
    found = actions_in(module)
    if module is community:
        # The other file's: a voice's log is read there.
        found -= {"log", "proposals"}
    assert told == found


def test_the_page_of_the_rpc_has_the_same_rows() -> None:
    """Each documented path stands in specs/rpc.md, in whatever words its names are given there."""

    def plain(path: str) -> str:
        return re.sub(r"{\w+}", "{}", path)

    said = PAGE.read_text()
    rows = {(method, plain(path)) for method, path in re.findall(r"`(GET|POST|PUT|DELETE) (/[^`]*)`", said)}
    # Shortened in the table: "`POST …/add`, `…/remove`".
    last = ""
    for method, path in re.findall(r"`(?:(GET|POST|PUT|DELETE) )?([…/][^`]*)`", said):
        if path.startswith("/v1") or path.startswith("/metrics"):
            last, kind = path, method
        elif last.count("/") >= 4 and path.startswith(("…/", "/")):
            tail = path.removeprefix("…").removeprefix("/")
            rows.add((kind, plain(last.rpartition("/")[0] + "/" + tail)))
    missing = {(one.method, plain(one.path)) for one in OPERATIONS} - rows
    assert missing == set()


class Checked(Client):
    """The real client, whose requests are held against the document before they are sent."""

    paths: ClassVar[Mapping[str, Any]] = {}
    seen: ClassVar[set[str]] = set()

    def _answer(self, method: str, path: str, body: Any, *rest: Any, **named: Any) -> Any:
        bare = path.partition("?")[0]
        fits = [
            template
            for template, kinds in self.paths.items()
            if method.lower() in kinds and re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), bare)
        ]
        assert fits, f"{method} {bare} is not in the document"
        template = min(fits, key=lambda one: one.count("{"))
        self.seen.add(f"{method} {template}")
        told = self.paths[template][method.lower()]
        if isinstance(body, bytes):
            content = told["requestBody"]["content"]["application/json"]
            jsonschema.validate(json.loads(body), content["schema"])
        return super()._answer(method, path, body, *rest, **named)


def asked(client: Client, upload: str) -> Iterator[Callable[[], Any]]:
    """What the command line asks, with the fields that it sends."""
    one, many = "storyteller", ["storyteller"]
    yield client.status
    yield lambda: list(client.doctor())
    yield client.peers
    yield lambda: client.connect("/ip4/127.0.0.1/tcp/1/p2p/x")
    yield client.limits
    yield lambda: client.set_limits(up=0, down=2_000_000)
    yield client.mirrors
    yield lambda: client.mirror("cantonese", replicas=2, limit=10**9)
    yield client.look_at_mirrors
    yield lambda: client.stop_mirror("language/yue")
    yield lambda: client.pin(one)
    yield lambda: client.seed(one, on=False)
    yield lambda: client.holders(one, timeout=1.0)
    yield client.key
    yield lambda: client.change_key("unlock", passphrase="x")
    yield lambda: client.change_key("passphrase", passphrase="", new="y", remove=False)
    yield lambda: client.follow("did:key:z6Mk", None)
    yield client.following
    yield lambda: client.unfollow("did:key:z6Mk")
    yield lambda: client.told_of_move("x")
    yield client.drafts
    yield lambda: client.remove_draft("nobody")
    yield lambda: list(
        client.import_voice(
            name="x", sovits=upload, gpt=upload, clip=upload, clip_name="c", text="t", lang="en"
        )
    )
    yield lambda: list(client.publish({"draft": "x", "tags": [], "license": "", "consent": "self"}))
    yield lambda: client.sign_consent({"author": "x", "name": "n", "statement": "s", "language": "en"})
    yield lambda: list(client.find(tags=("cantonese",), text="x", timeout=0.0))
    yield client.voices
    yield lambda: client.show(one)
    yield lambda: client.show("did:key:z6Mk/slug")
    yield lambda: client.preview(one)
    yield lambda: list(client.fetch(one))
    yield lambda: list(client.fork(one, "name"))
    yield lambda: client.lineage(one, fetch=True)
    yield lambda: list(client.update())
    yield lambda: list(client.update(one))
    yield lambda: list(client.revoke(one, reason="x"))
    yield client.revocations
    yield lambda: client.act(one, "star")
    yield lambda: client.act(one, "comment", text="x", target="op")
    yield lambda: client.act_on("op", "close", text="")
    yield lambda: client.operation("op")
    yield lambda: client.said(one, "log", everything=True)
    yield client.credits
    yield lambda: client.remove(one)
    yield lambda: list(client.gc(dry_run=True))
    yield lambda: list(client.verify())
    yield lambda: client.speak(
        {"voice": one, "text": "x", "lang": "en", "seed": 1, "speed": 1.5, "format": "wav"}
    )
    yield client.words
    yield lambda: client.add_words([{"lang": "en", "word": "x", "reading": "EH1 K S"}])
    yield lambda: client.add_words(file="en\tx\tEH1 K S\n", voice="x")
    yield lambda: client.remove_word("en", "x")
    yield lambda: client.read_text("x", "en")
    yield lambda: list(client.diff(one, one, samples=False, tensors=3))
    yield lambda: client.sample("0" * 32)
    yield lambda: client.propose(one, one, "x")
    yield lambda: list(client.proposal_diff("op", tensors=0))
    yield lambda: list(client.merge_proposal("op", {"mode": "take", "parts": ["phrasing"]}))
    yield lambda: list(client.merge(one, {"with": one, "mode": "average", "weight": 0.5}))
    yield client.bases
    yield lambda: list(client.add_base("x", {"config.json": upload}))
    yield lambda: list(client.offered_bases("bert", timeout=0.0))
    yield lambda: list(client.publish_base("bert", tags=("x",)))
    yield lambda: list(client.fetch_base("x"))
    yield lambda: client.remove_base("nobody")
    yield client.trainings
    yield lambda: list(client.train({"name": "x", "lang": "en", "clips": [{"name": "c", "upload": upload}]}))
    yield lambda: list(client.resume_training("x"))
    yield lambda: client.stop_training("x")
    yield lambda: client.remove_training("x")
    yield lambda: list(client.tune({"voice": one, "lang": "en", "clips": []}))
    yield lambda: list(client.distil({"voice": one, "name": "small", "minutes": 1}))
    yield lambda: list(client.describe({"draft": "x"}))
    yield lambda: list(client.similarity({"voice": one}, {"upload": upload}))
    yield lambda: list(client.stability({"draft": "x"}))
    yield lambda: list(client.export({"voice": one}, "gpt-sovits"))
    yield client.collections
    yield lambda: client.new_collection("elders")
    yield lambda: client.collection("elders")
    yield lambda: client.change_collection("elders", "add", voices=many, note="x")
    yield lambda: client.change_collection("elders", "edit", card="x")
    yield lambda: client.change_collection("elders", "remove", voices=many)
    yield lambda: list(client.publish_collection("elders"))
    yield lambda: list(client.fetch_collection("elders"))
    yield lambda: list(client.evaluate("elders", {"fetch": False, "sentences": {"en": ["x"]}}))
    yield lambda: client.forget_collection("elders")
    yield client.api
    yield lambda: client.open_api(port=0, origins=["http://127.0.0.1:8000"], voice="x")
    yield client.renew_api_token
    yield client.close_api
    yield client.page
    yield client.open_page
    yield client.close_page
    yield client.shutdown


def test_what_the_client_sends_fits(
    daemons: Callable[[], Daemon], described: dict[str, Any], tmp_path: Path
) -> None:
    daemon = daemons().start()
    client = Checked(daemon.home)
    Checked.paths, Checked.seen = described["paths"], set()
    (tmp_path / "file").write_bytes(b"x")
    for ask in asked(client, client.upload(tmp_path / "file")):
        # Most of it is not there; what counts is that it was sent in the form that the document names.
        with suppress(P2PVoiceError):
            ask()
    never = {f"{one.method} {one.path}" for one in OPERATIONS} - client.seen
    assert {row for row in never if "/key/" not in row and not row.endswith(("/comments", "/issues"))} == {
        "GET /metrics",
        "GET /v1/openapi.json",
        "GET /v1/voices/{ref}/proposals",
        "POST /v1/drafts/bundled",
    }


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/speak", {"voice": "x"}),
        ("POST", "/v1/speak", {"voice": "x", "text": "x" * (voices.TEXT_LIMIT + 1)}),
        ("POST", "/v1/speak", {"voice": "x", "text": "x", "speed": 4.1}),
        ("POST", "/v1/speak", {"voice": "x", "text": "x", "top_k": 1.5}),
        ("POST", "/v1/connect", {"multiaddr": "x" * 513}),
        ("POST", "/v1/connect", []),
        ("POST", "/v1/limits", {"up": 34_999}),
        ("POST", "/v1/limits", {"down": -1}),
        ("POST", "/v1/limits", {"up": 1e6 + 0.5}),
        ("POST", "/v1/mirrors", {"replicas": 3}),
        ("POST", "/v1/mirrors", {"what": "yue", "replicas": 101}),
        ("POST", "/v1/mirrors", {"what": "yue", "limit": -1}),
        ("POST", "/v1/page", {"new": "yes"}),
        ("POST", "/v1/gc", {"dry_run": None}),
        ("POST", "/v1/publish", {"draft": "x", "tags": "a"}),
        ("POST", "/v1/trainings", {"name": "x", "lang": "xx"}),
        ("POST", "/v1/diff", {"a": "x", "b": "y", "tensors": -1}),
        ("POST", "/v1/similarity", {"a": {"voice": "x"}}),
        ("POST", "/v1/bases", {"name": "x", "files": {"a": 1}}),
    ],
)
def test_what_the_daemon_refuses_the_schema_refuses(
    daemon: Daemon, described: dict[str, Any], method: str, path: str, body: object
) -> None:
    content = described["paths"][path][method.lower()]["requestBody"]["content"]["application/json"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body, content["schema"])
    error = refusal(lambda: daemon.client.json(method, path, body))
    # A voice may be looked up before its options are read: either way it is not spoken.
    assert isinstance(error, UsageError | NotFoundError)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """One node that holds nothing."""
    import shutil
    import tempfile

    one = Daemon(Path(tempfile.mkdtemp(prefix="p2pv-"))).start()
    yield one
    one.end()
    shutil.rmtree(one.home, ignore_errors=True)
