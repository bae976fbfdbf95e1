"""A small synchronous client of the daemon's RPC, made for the CLI and for scripts: the endpoints by name.

Importing it costs milliseconds and pulls in neither torch nor libp2p nor trio. Errors arrive as the classes
of ``p2pvoice.protocol.errors``. Not for how a request travels: see transport.py. Follows specs/rpc.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from p2pvoice.node.rpc.transport import Audio, AudioStream, Event, Transport

__all__ = ["Audio", "AudioStream", "Client", "Event"]


class Client(Transport):
    """The daemon of one home. Cheap to make; nothing is connected until a call is made."""

    def status(self) -> dict[str, Any]:
        """What the node is and does."""
        return dict(self.json("GET", "/v1/status"))

    def doctor(self) -> Iterator[Event]:
        """The daemon's half of a check-up: a ``check`` event a row, then how many of each state."""
        return self.stream("GET", "/v1/doctor")

    def shutdown(self) -> None:
        """Ask the daemon to stop; it answers first and stops then."""
        self.json("POST", "/v1/shutdown")

    def page(self) -> dict[str, Any]:
        """The page's address, or None under ``url`` when it is closed."""
        return dict(self.json("GET", "/v1/page"))

    def open_page(self, *, new: bool = False) -> dict[str, Any]:
        """Open the page, and say at which ``url``; ``new`` gives it another address."""
        return dict(self.json("POST", "/v1/page", {"new": new}))

    def close_page(self) -> dict[str, Any]:
        """Close the page; whether it was open."""
        return dict(self.json("DELETE", "/v1/page"))

    def api(self) -> dict[str, Any]:
        """Whether the compatible APIs are ``on``; then their addresses, token and settings."""
        return dict(self.json("GET", "/v1/api"))

    def open_api(
        self, *, port: int | None = None, origins: Sequence[str] | None = None, voice: str | None = None
    ) -> dict[str, Any]:
        """Open the compatible APIs, or change what is given of them; as :meth:`api`."""
        pages = None if origins is None else list(origins)
        return dict(self.json("POST", "/v1/api", {"port": port, "origins": pages, "voice": voice}))

    def close_api(self) -> dict[str, Any]:
        """Close the compatible APIs; whether they were open."""
        return dict(self.json("DELETE", "/v1/api"))

    def renew_api_token(self) -> dict[str, Any]:
        """Make another token; as :meth:`api`."""
        return dict(self.json("POST", "/v1/api/token"))

    def peers(self) -> list[dict[str, Any]]:
        """The peers the node knows, with the reason for which any was dropped."""
        return list(self.json("GET", "/v1/peers")["peers"])

    def connect(self, multiaddr: str) -> dict[str, Any]:
        """Dial a peer."""
        return dict(self.json("POST", "/v1/connect", {"multiaddr": multiaddr}))

    def limits(self) -> dict[str, Any]:
        """How fast chunks may leave and come, and do, in bytes per second; 0 is no limit."""
        return dict(self.json("GET", "/v1/limits"))

    def set_limits(self, *, up: int | None = None, down: int | None = None) -> dict[str, Any]:
        """Change limits until the daemon stops; None leaves one as it is."""
        return dict(self.json("POST", "/v1/limits", {"up": up, "down": down}))

    def key(self) -> dict[str, Any]:
        """The author key: ids and states, nothing secret."""
        return dict(self.json("GET", "/v1/key"))

    def change_key(self, action: str, **body: object) -> dict[str, Any]:
        """``unlock``, ``lock``, ``passphrase``, ``export``, ``import``; bodies as in specs/rpc.md."""
        return dict(self.json("POST", "/v1/key/" + action, body))

    def rotate_key(self, *, passphrase: str = "", reason: str = "") -> Iterator[Event]:
        """Make a new author key and publish the own voices again under it."""
        return self.stream("POST", "/v1/key/rotate", {"passphrase": passphrase, "reason": reason})

    def following(self) -> dict[str, Any]:
        """Followed authors, and the moves that were not told of yet."""
        return dict(self.json("GET", "/v1/following"))

    def follow(self, author: str, name: str | None = None) -> dict[str, Any]:
        """Follow an author."""
        return dict(self.json("POST", "/v1/following", {"author": author, "name": name}))

    def unfollow(self, author: str) -> dict[str, Any]:
        """Follow an author no longer."""
        return dict(self.json("DELETE", "/v1/following/" + quote(author, safe="")))

    def told_of_move(self, old: str) -> None:
        """The user has seen that this followed key was given up."""
        self.json("POST", "/v1/following/told", {"old": old})

    def drafts(self) -> list[dict[str, Any]]:
        """The drafts of this home."""
        return list(self.json("GET", "/v1/drafts")["drafts"])

    def remove_draft(self, name: str) -> dict[str, Any]:
        """Remove a draft."""
        return dict(self.json("DELETE", f"/v1/drafts/{quote(name, safe='')}"))

    def import_voice(
        self,
        *,
        name: str,
        sovits: str,
        gpt: str,
        clip: str,
        clip_name: str,
        text: str,
        lang: str,
        slug: str = "",
        more: Sequence[Mapping[str, str]] = (),
        parents: Sequence[str] = (),
    ) -> Iterator[Event]:
        """Make a draft of uploads (their ids).

        ``more`` are further clips with their name, text and lang, ``parents`` the voices that the weights
        were tuned from.
        """
        body = {
            "name": name,
            "slug": slug or None,
            "sovits": sovits,
            "gpt": gpt,
            "clip": clip,
            "clip_name": clip_name,
            "text": text,
            "lang": lang,
            "more": [dict(one) for one in more],
            "parents": list(parents),
        }
        return self.stream("POST", "/v1/drafts", body)

    def import_bundled(self, name: str) -> Iterator[Event]:
        """Make a draft of the voice that comes with the package."""
        return self.stream("POST", "/v1/drafts/bundled", {"name": name})

    def export(self, what: Mapping[str, str], format: str, *, plain: bool = False) -> Iterator[bytes]:
        """``{"voice": …}`` or ``{"draft": …}`` in another program's form: a tar archive, piece by piece."""
        return self.pieces("POST", "/v1/export", {**what, "format": format, "plain": plain})

    def publish(self, body: Mapping[str, object]) -> Iterator[Event]:
        """Publish a draft; the body is that of specs/rpc.md."""
        return self.stream("POST", "/v1/publish", dict(body))

    def sign_consent(self, body: Mapping[str, object]) -> dict[str, Any]:
        """Sign a consent with this node's author key; its bytes are base64 in ``consent``."""
        return dict(self.json("POST", "/v1/consent", dict(body)))

    def find(
        self,
        *,
        tags: tuple[str, ...] = (),
        text: str = "",
        limit: int = 50,
        timeout: float = 10.0,
        cursor: str = "",
    ) -> Iterator[Event]:
        """Voices as they are found, here first and then in the network; behind a cursor, here only."""
        query = [*(("tag", tag) for tag in tags), ("text", text), ("limit", limit), ("timeout", timeout)]
        query.append(("cursor", cursor))
        return self.stream("GET", "/v1/find?" + urlencode([pair for pair in query if pair[1] != ""]))

    def voices(self) -> list[dict[str, Any]]:
        """Installed voices and own ones."""
        return list(self.json("GET", "/v1/voices")["voices"])

    def show(self, ref: str) -> dict[str, Any]:
        """One voice in full."""
        return dict(self.json("GET", _voice(ref)))

    def holders(self, ref: str, *, timeout: float = 30.0) -> dict[str, Any]:
        """Who else says that they have a release: peer ids, or None when that was not told in time."""
        return dict(self.json("GET", _voice(ref) + "/holders?" + urlencode({"timeout": timeout})))

    def pin(self, ref: str, *, on: bool = True) -> dict[str, Any]:
        """Pin an installed voice, or unpin it."""
        return dict(self.json("POST", _voice(ref) + "/pin", {"on": on}))

    def seed(self, ref: str, *, on: bool) -> dict[str, Any]:
        """Offer an installed voice to others, or stop that."""
        return dict(self.json("POST", _voice(ref) + "/seed", {"on": on}))

    def mirrors(self) -> dict[str, Any]:
        """What is kept alive here, and how that stands."""
        return dict(self.json("GET", "/v1/mirrors"))

    def mirror(self, what: str, *, replicas: int | None = None, limit: int | None = None) -> dict[str, Any]:
        """Keep the voices of an author or a tag alive, within ``limit`` bytes."""
        return dict(self.json("POST", "/v1/mirrors", {"what": what, "replicas": replicas, "limit": limit}))

    def look_at_mirrors(self) -> None:
        """Look now what there is to keep alive; returns before that is done."""
        self.json("POST", "/v1/mirrors/look")

    def stop_mirror(self, what: str) -> dict[str, Any]:
        """Keep it alive no longer."""
        return dict(self.json("DELETE", "/v1/mirrors/" + quote(what, safe="")))

    def preview(self, ref: str) -> Audio:
        """The preview clip of a voice, fetched from a peer when it is not here."""
        return self.audio("GET", _voice(ref) + "/preview")

    def fetch(self, ref: str, *, seed: bool = True, bases: bool = False) -> Iterator[Event]:
        """Fetch a voice, and with ``bases`` what speaking needs; progress events, then a result."""
        return self.stream("POST", _voice(ref) + "/fetch", {"seed": seed, "bases": bases})

    def fork(self, ref: str, name: str, *, slug: str = "") -> Iterator[Event]:
        """Make a draft of a voice's files, with lineage; the voice is fetched when it is not here."""
        return self.stream("POST", _voice(ref) + "/fork", {"name": name, "slug": slug or None})

    def lineage(self, ref: str, *, fetch: bool = False) -> dict[str, Any]:
        """What a release was made from, and what is known here to be made from it; ``fetch`` asks peers."""
        return dict(self.json("GET", _voice(ref) + "/lineage" + ("?fetch=1" if fetch else "")))

    def update(self, ref: str = "") -> Iterator[Event]:
        """Bring one installed voice, or all of them, to its newest release."""
        return self.stream("POST", _voice(ref) + "/update" if ref else "/v1/update")

    def revoke(
        self, ref: str, *, whole: bool = False, reason: str = "", passphrase: str = ""
    ) -> Iterator[Event]:
        """Call a release back, or its whole voice; for its author and for the person whose voice it is."""
        body = {"all": whole, "reason": reason, "passphrase": passphrase}
        return self.stream("POST", _voice(ref) + "/revoke", body)

    def revocations(self) -> list[dict[str, Any]]:
        """The revocations known here."""
        return list(self.json("GET", "/v1/revocations")["revocations"])

    def act(self, ref: str, act: str, **body: object) -> dict[str, Any]:
        """Say something of a voice: ``star``, ``unstar``, ``comment``, ``issue``, ``proposal``."""
        return dict(self.json("POST", _voice(ref) + "/act", {"act": act, **body}))

    def act_on(self, operation: str, act: str, **body: object) -> dict[str, Any]:
        """Say something of a comment, an issue or a proposal, named by its operation."""
        return dict(self.json("POST", _operation(operation) + "/act", {"act": act, **body}))

    def operation(self, operation: str) -> dict[str, Any]:
        """A comment, an issue or a proposal with what answers it."""
        return dict(self.json("GET", _operation(operation)))

    def said(self, ref: str, what: str, *, everything: bool = False, sync: bool = False) -> dict[str, Any]:
        """``log``, ``comments``, ``issues`` or ``proposals`` of a voice; ``sync`` asks the network first."""
        query = urlencode({"all": int(everything), "sync": int(sync)})
        return dict(self.json("GET", f"{_voice(ref)}/{what}?{query}"))

    def credits(self, author: str = "") -> dict[str, Any]:
        """What this node can count of an author; of its own without one."""
        return dict(self.json("GET", "/v1/credits?" + urlencode({"author": author})))

    def remove(self, ref: str) -> dict[str, Any]:
        """Remove an installed voice from this home."""
        return dict(self.json("DELETE", _voice(ref)))

    def gc(self, *, dry_run: bool = False) -> Iterator[Event]:
        """Remove files that nobody needs; events of what is removed, then a result."""
        return self.stream("POST", "/v1/gc", {"dry_run": dry_run})

    def verify(self, ref: str = "", *, repair: bool = True) -> Iterator[Event]:
        """Check the files of one installed voice, or of all, and repair what is damaged."""
        return self.stream("POST", "/v1/verify", {"voice": ref, "repair": repair})

    def speak(self, body: Mapping[str, object]) -> Audio:
        """Speak a text; the body is that of specs/rpc.md."""
        return self.audio("POST", "/v1/speak", dict(body))

    def speak_stream(self, body: Mapping[str, object]) -> AudioStream:
        """Speak a text and hear it while it is made; ``format`` is ``wav`` or ``pcm``."""
        return self.audio_stream("POST", "/v1/speak", {**body, "stream": True})

    def words(self, *, voice: str = "") -> dict[str, Any]:
        """The user's pronunciation dictionary, or that of a voice or a draft."""
        return dict(self.json("GET", "/v1/pronunciations?" + urlencode({"voice": voice})))

    def add_words(
        self, entries: Sequence[Mapping[str, str]] = (), *, file: str = "", voice: str = ""
    ) -> dict[str, Any]:
        """Add ``{lang, word, reading}`` entries, or a file's text, to the user's dictionary or a draft's."""
        what: dict[str, object] = {"file": file} if file else {"entries": [dict(one) for one in entries]}
        return dict(self.json("POST", "/v1/pronunciations", {**what, "voice": voice}))

    def remove_word(self, lang: str, word: str, *, voice: str = "") -> dict[str, Any]:
        """Remove a word from a dictionary."""
        query = urlencode({"lang": lang, "word": word, "voice": voice}, errors="surrogateescape")
        return dict(self.json("DELETE", "/v1/pronunciations?" + query))

    def read_text(
        self, text: str, lang: str = "auto", *, voice: str = "", upstream: bool = False, plain: bool = False
    ) -> dict[str, Any]:
        """How a text is read, word by word; ``plain`` leaves dictionaries out."""
        body = {"text": text, "lang": lang, "voice": voice, "upstream_text": upstream, "plain": plain}
        return dict(self.json("POST", "/v1/pronunciations/test", body))

    def diff(self, a: str, b: str, **body: object) -> Iterator[Event]:
        """What differs between two voices or drafts; ``samples``, ``text``, ``lang``, ``tensors``."""
        return self.stream("POST", "/v1/diff", {"a": a, "b": b, **body})

    def sample(self, name: str) -> Audio:
        """A sentence that was spoken for a comparison."""
        return self.audio("GET", "/v1/samples/" + quote(name, safe=""))

    def propose(self, ref: str, mine: str, text: str) -> dict[str, Any]:
        """Offer a published voice of one's own for another voice."""
        return dict(self.json("POST", _voice(ref) + "/propose", {"from": mine, "text": text}))

    def proposal_diff(self, operation: str, **body: object) -> Iterator[Event]:
        """What a proposal would change of the voice as it is now; as :meth:`diff`."""
        return self.stream("POST", _operation(operation) + "/diff", body)

    def merge_proposal(self, operation: str, body: Mapping[str, object]) -> Iterator[Event]:
        """Merge a proposal into an own voice; as :meth:`merge`, without the other voice's name."""
        return self.stream("POST", _operation(operation) + "/merge", dict(body))

    def merge(self, ref: str, body: Mapping[str, object]) -> Iterator[Event]:
        """Merge another release into an own voice; the body is that of specs/rpc.md. Makes a draft."""
        return self.stream("POST", _voice(ref) + "/merge", dict(body))

    def bases(self) -> list[dict[str, Any]]:
        """The installed helper networks."""
        return list(self.json("GET", "/v1/bases")["bases"])

    def bundled_base(self) -> dict[str, Any]:
        """The helper network that comes with the program."""
        return dict(self.json("GET", "/v1/bases")["bundled"])

    def add_base(
        self,
        name: str,
        files: Mapping[str, str],
        *,
        kind: str = "",
        license: str = "",
        license_upload: str = "",
    ) -> Iterator[Event]:
        """Install a helper network of uploads: file name -> upload id; ``kind`` is ``asr`` or empty.

        ``license`` is an SPDX id, ``license_upload`` the licence's text.
        """
        body = {"name": name, "files": dict(files), "kind": kind}
        return self.stream("POST", "/v1/bases", body | {"license": license, "license_upload": license_upload})

    def offered_bases(self, kind: str = "", *, timeout: float = 10.0) -> Iterator[Event]:
        """Bases of a kind, or of all, that peers offer: an ``offer`` event each, then a result."""
        query = urlencode({"kind": kind, "timeout": timeout})
        return self.stream("GET", f"/v1/bases/offered?{query}")

    def publish_base(self, ref: str, *, tags: Sequence[str] = ()) -> Iterator[Event]:
        """Share an installed base: its name, its kind or one of its ids."""
        return self.stream("POST", _base(ref) + "/publish", {"tags": list(tags)})

    def fetch_base(self, ref: str, *, seed: bool = True) -> Iterator[Event]:
        """Fetch a base by bundle id, content id, release id or kind."""
        return self.stream("POST", _base(ref) + "/fetch", {"seed": seed})

    def remove_base(self, ref: str) -> dict[str, Any]:
        """Remove an installed base."""
        return dict(self.json("DELETE", _base(ref)))

    def trainings(self) -> list[dict[str, Any]]:
        """The trainings of this home."""
        return list(self.json("GET", "/v1/trainings")["trainings"])

    def train(self, body: Mapping[str, object]) -> Iterator[Event]:
        """Train a voice of uploaded clips; dropping the iterator stops the training after a checkpoint."""
        return self.stream("POST", "/v1/trainings", dict(body))

    def resume_training(self, name: str) -> Iterator[Event]:
        """Go on with a training that was stopped or killed."""
        return self.stream("POST", _training(name) + "/resume")

    def stop_training(self, name: str) -> dict[str, Any]:
        """Stop a training; answers when its checkpoint is written."""
        return dict(self.json("POST", _training(name) + "/stop"))

    def remove_training(self, name: str) -> dict[str, Any]:
        """Delete a training with its clips and checkpoints."""
        return dict(self.json("DELETE", _training(name)))

    def tune(self, body: Mapping[str, object]) -> Iterator[Event]:
        """Tune a voice with recorded sentences; the body is that of specs/rpc.md."""
        return self.stream("POST", "/v1/tune", dict(body))

    def distil(self, body: Mapping[str, object]) -> Iterator[Event]:
        """Train a lite voice of another voice's speech."""
        return self.stream("POST", "/v1/distil", dict(body))

    def describe(self, body: Mapping[str, object]) -> Iterator[Event]:
        """Measure a draft or an uploaded recording."""
        return self.stream("POST", "/v1/describe", dict(body))

    def similarity(self, a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Event]:
        """Compare two speakers, each ``{"voice": …}``, ``{"draft": …}`` or ``{"upload": …}``."""
        return self.stream("POST", "/v1/similarity", {"a": dict(a), "b": dict(b)})

    def stability(self, subject: Mapping[str, str]) -> Iterator[Event]:
        """How well a voice, or a draft, stays itself."""
        return self.stream("POST", "/v1/stability", dict(subject))

    def collections(self) -> list[dict[str, Any]]:
        """The collections kept here, and drafts of own ones."""
        return list(self.json("GET", "/v1/collections")["collections"])

    def new_collection(
        self, name: str, *, slug: str = "", card: str = "", license: str = ""
    ) -> dict[str, Any]:
        """Begin a collection of one's own."""
        body = {"name": name, "slug": slug, "card": card, "license": license}
        return dict(self.json("POST", "/v1/collections", body))

    def collection(self, ref: str) -> dict[str, Any]:
        """One collection in full."""
        return dict(self.json("GET", _collection(ref)))

    def change_collection(self, ref: str, action: str, **body: object) -> dict[str, Any]:
        """``add``, ``remove`` or ``edit`` a draft; bodies as in specs/rpc.md."""
        return dict(self.json("POST", f"{_collection(ref)}/{action}", body))

    def publish_collection(self, ref: str) -> Iterator[Event]:
        """Sign a draft of a collection and announce it."""
        return self.stream("POST", _collection(ref) + "/publish")

    def fetch_collection(self, ref: str, *, voices: bool = True, seed: bool = True) -> Iterator[Event]:
        """Fetch a collection, and its voices; a ``voice`` event each, then a result."""
        return self.stream("POST", _collection(ref) + "/fetch", {"voices": voices, "seed": seed})

    def evaluate(self, ref: str, body: Mapping[str, object]) -> Iterator[Event]:
        """Measure all voices of a collection; events ``columns`` and ``row``, then a result."""
        return self.stream("POST", _collection(ref) + "/evaluate", dict(body))

    def forget_collection(self, ref: str) -> dict[str, Any]:
        """Forget a collection; its voices stay."""
        return dict(self.json("DELETE", _collection(ref)))


def _base(ref: str) -> str:
    return "/v1/bases/" + quote(ref, safe="", errors="surrogateescape")


def _collection(ref: str) -> str:
    return "/v1/collections/" + quote(ref, safe="", errors="surrogateescape")


def _voice(ref: str) -> str:
    return "/v1/voices/" + quote(ref, safe="", errors="surrogateescape")


def _operation(name: str) -> str:
    return "/v1/operations/" + quote(name, safe="", errors="surrogateescape")


def _training(name: str) -> str:
    return "/v1/trainings/" + quote(name, safe="", errors="surrogateescape")
