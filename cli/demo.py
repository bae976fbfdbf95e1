"""The demo: three real daemons on loopback and the main job from publishing to speaking, told step by step.

Node A is the bootstrap and publishes; C finds, listens, fetches and updates; then A stops, B fetches from C
alone and speaks. Every step is a call of the same RPC client that the commands use, so the demo shows nothing
that cannot be typed. It is no benchmark: three daemons share one machine. It leaves no process behind, also
when it fails or is interrupted, and writes only audio files where it was told to. Follows specs/cli.md.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from p2pvoice.cli import daemon
from p2pvoice.cli.commands.fetch import describe_transfer
from p2pvoice.cli.commands.inspect import inspect_audio
from p2pvoice.cli.commands.publish import request as publish_request
from p2pvoice.cli.commands.speak import request as speak_request
from p2pvoice.cli.files import write_output
from p2pvoice.cli.output import Output, seconds, short_id, size
from p2pvoice.cli.progress import Progress
from p2pvoice.cli.voices import voice_of
from p2pvoice.node.rpc.client import Client, Event
from p2pvoice.protocol.errors import IntegrityError, NetworkError, NoPeersError, NotFoundError, P2PVoiceError

LISTEN = "/ip4/127.0.0.1/tcp/0"
"""Every node takes a free port of loopback: the demo talks to nobody else."""

FIND_TIMEOUT = 10.0
"""Seconds one search may ask the network."""

SETTLE_TIMEOUT = 90.0
"""Seconds within which an announcement must have become findable; announcements are paced on purpose."""

DRAFT = "storyteller"
TAGS = ("cantonese", "narration")
LICENCE = "Apache-2.0"
"""The bundled voice was made from Apache-licensed synthesisers: nobody's voice, hence `synthetic`."""

SEED = 7
"""The same sentences sound the same in every demo."""

SENTENCES = (
    ("yue", "Cantonese", "今日天氣好好，我哋一齊去飲茶。"),
    ("zh", "Mandarin", "今天天气很好，我们一起去喝茶吧。"),
    ("en", "English", "The evening train was late again, so we walked home along the river."),
)

STEPS = 11


@dataclass
class Report:
    """What the demo tells: a numbered line a step, or an NDJSON event a step with `--json`."""

    output: Output
    steps: list[dict[str, Any]] = field(default_factory=list)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[dict[str, Any]]:
        """One step. The body fills in the figures; `told` is what a person reads of them."""
        facts: dict[str, Any] = {}
        if not self.output.as_json:
            self.output.line(f"[{len(self.steps) + 1:2}/{STEPS}] {title}")
        started = time.monotonic()
        yield facts
        taken = round(time.monotonic() - started, 3)
        told = facts.pop("told", "")
        self.steps.append(
            {"event": "step", "step": len(self.steps) + 1, "title": title, "seconds": taken, **facts}
        )
        if self.output.as_json:
            self.output.document(self.steps[-1])
        else:
            self.output.line(f"        {told + '  ' if told else ''}({seconds(taken)})")


@dataclass
class Node:
    """One of the demo's daemons."""

    name: str
    client: Client
    process: subprocess.Popen[bytes]
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def addresses(self) -> list[str]:
        """Its multiaddresses, each ending in its peer id, as another node's --bootstrap wants them."""
        tail = f"/p2p/{self.status['peer_id']}"
        return [a if a.endswith(tail) else a + tail for a in self.status.get("addresses", [])]


def run(output: Output, into: Path, keep: Path | None = None) -> dict[str, Any]:
    """Run the demo; audio files go into `into`. Returns the summary that `--json` prints last.

    Raises what went wrong in a step; whatever happens, the daemons are gone when this returns.
    """
    started = time.monotonic()
    report = Report(output)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_terminated_like_interrupted())
        if keep is None:
            root = Path(
                stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="p2pvoice-", ignore_cleanup_errors=True)
                )
            )
        else:
            root = keep.absolute()
            root.mkdir(parents=True, exist_ok=True)
        nodes = stack.enter_context(_daemons(root))
        try:
            summary = _tell(report, nodes, into)
        except P2PVoiceError as error:
            if keep is None and not output.as_json:
                output.note("the nodes' logs are gone with them: p2pvoice demo --keep FOLDER keeps them")
            error.hint = error.hint or "p2pvoice demo --keep FOLDER keeps the nodes' logs"
            raise
    summary = {"event": "result", **summary, "seconds": round(time.monotonic() - started, 3), "running": 0}
    if output.as_json:
        output.document(summary)
    else:
        output.line(f"done in {seconds(summary['seconds'])}; nothing is left running")
        output.hint("p2pvoice daemon start   (your own node)")
    return summary


def _tell(report: Report, start: Callable[..., Node], into: Path) -> dict[str, Any]:
    """The story itself, one step after the other."""
    output = report.output
    with report.step("Start three nodes on loopback; A is the bootstrap of B and C") as facts:
        a = start("A")
        b, c = start("B", bootstrap=a.addresses), start("C", bootstrap=a.addresses)
        facts["nodes"] = {
            node.name: {"peer_id": node.status["peer_id"], "pid": node.process.pid} for node in (a, b, c)
        }
        facts["told"] = "  ".join(f"{node.name} {node.status['peer_id'][-8:]}" for node in (a, b, c))

    with report.step("A imports the voice that comes with p2pvoice") as facts:
        result = _result(output, a.client.import_bundled(DRAFT))
        draft = str(result["draft"])
        facts.update(draft=draft)
        facts["told"] = f"draft {draft}"

    with report.step(
        f"A publishes it: {' '.join('--tag ' + tag for tag in TAGS)} --license {LICENCE} --consent synthetic"
    ) as facts:
        first = _publish(output, a, draft, "A small synthetic voice, first release.")
        facts.update(release=first["release"], bytes=first["bytes"])
        facts["told"] = f"{short_id(first['release'])}  {size(first['bytes'])}"

    for number, tag in enumerate(("cantonese", "粤语")):
        with report.step(
            f"C finds it by --tag {tag}{' through the DHT' if number == 0 else ', the same tag'}"
        ) as facts:
            voice, rounds = _find(c, tag, first["release"])
            facts.update(tag=tag, release=voice["release"], source=voice.get("source"), searches=rounds)
            where = "asked the network" if voice["source"] == "network" else "answered from its own catalog"
            facts["told"] = f"{voice['name']}  {size(voice['size'])}  {where}"

    with report.step("C listens to the preview before fetching") as facts:
        preview = into / "demo-preview.wav"
        clip = c.client.preview(first["release"]).data
        write_output(preview, clip)
        label = _label(preview)
        facts.update(file=str(preview), bytes=len(clip), label=label)
        facts["told"] = f"{preview}  {size(len(clip))}"

    with report.step("C fetches it from A") as facts:
        fetched = _fetch(output, c, first["release"])
        facts.update(_transfer(fetched))
        facts["told"] = describe_transfer(fetched)

    with report.step("A publishes a second release; C updates and fetches only what changed") as facts:
        second = _publish(output, a, draft, "A small synthetic voice, second release: a new description.")
        if second["release"] == first["release"]:
            raise IntegrityError("the second release has the id of the first")
        updated = _update(output, c, f"{second['author']}/{second['slug']}", second["release"])
        facts.update(release=second["release"], bytes=second["bytes"], **_transfer(updated))
        saved = second["bytes"] - updated.get("bytes_fetched", 0)
        facts["bytes_saved"] = saved
        told = describe_transfer({**updated, "bytes_reused": 0})
        facts["told"] = (
            f"{short_id(second['release'])}  {told}; {size(saved)} of {size(second['bytes'])} saved"
        )

    with report.step("A stops; B finds it by --tag 粤语 through the DHT and fetches from C alone") as facts:
        daemon.stop(a.client)
        daemon.end(a.process)
        voice, _ = _find(b, "粤语", second["release"])
        handed_on = _fetch(output, b, voice["release"])
        facts.update(_transfer(handed_on))
        facts["told"] = describe_transfer(handed_on)

    spoken = []
    with report.step("B speaks Cantonese, Mandarin and English") as facts:
        for lang, language, text in SENTENCES:
            target = into / f"demo-{lang}.wav"
            begun = time.monotonic()
            audio = b.client.speak(speak_request(second["release"], text, lang, seed=SEED))
            taken = time.monotonic() - begun
            write_output(target, audio.data)
            spoken.append(
                {
                    "file": str(target),
                    "lang": lang,
                    "text": text,
                    "bytes": len(audio.data),
                    "audio_seconds": audio.seconds,
                    "seconds": round(taken, 3),
                }
            )
            if not output.as_json:
                output.line(
                    f"        {language:10} {target}  {size(len(audio.data))}  "
                    f"{seconds(audio.seconds)} of speech in {seconds(taken)}"
                )
        facts["files"] = spoken

    with report.step("Every file says that it is synthetic, and which release spoke it") as facts:
        labels = []
        for clip_facts in spoken:
            label = _label(Path(clip_facts["file"]))
            if second["release"] not in label.values():
                raise IntegrityError(f"{clip_facts['file']} does not name the release that spoke it")
            clip_facts["label"] = label
            labels.append(label)
        facts["labels"] = labels
        facts["told"] = (
            f"AIGC label read back from {len(labels)} files, release {short_id(second['release'])}"
        )

    return {"release": second["release"], "files": [row["file"] for row in spoken], "preview": str(preview)}


def _publish(output: Output, node: Node, draft: str, description: str) -> dict[str, Any]:
    return _result(
        output,
        node.client.publish(
            publish_request(draft, TAGS, licence=LICENCE, consent="synthetic", description=description)
        ),
    )


def _find(node: Node, tag: str, release: str) -> tuple[dict[str, Any], int]:
    """Search until the release turns up; also tells how many searches that took."""
    deadline = time.monotonic() + SETTLE_TIMEOUT
    searches = 0
    while True:
        searches += 1
        for event in node.client.find(tags=(tag,), timeout=FIND_TIMEOUT):
            if event.get("event") == "voice" and voice_of(event).get("release") == release:
                return voice_of(event), searches
        if time.monotonic() > deadline:
            raise NotFoundError(
                f"node {node.name} did not find the voice by --tag {tag} in {SETTLE_TIMEOUT:.0f} s"
            )


def _fetch(output: Output, node: Node, release: str) -> dict[str, Any]:
    """Fetch; while the holders' announcements are still on their way, try again as a user would."""
    deadline = time.monotonic() + SETTLE_TIMEOUT
    while True:
        try:
            return _result(output, node.client.fetch(release))
        except NetworkError:
            if time.monotonic() > deadline:
                raise


def _update(output: Output, node: Node, voice: str, release: str) -> dict[str, Any]:
    """Update until the expected release is there: the new head may take a moment to arrive."""
    deadline = time.monotonic() + SETTLE_TIMEOUT
    while True:
        result = _result(output, node.client.update(voice))
        if result["updated"] and result["release"] == release:
            return result
        if time.monotonic() > deadline:
            raise NoPeersError(f"node {node.name} did not hear of the second release")


def _result(output: Output, events: Iterable[Event]) -> dict[str, Any]:
    """The last event of a stream, its progress shown on a terminal only: the report is enough."""
    result: dict[str, Any] = {}
    quiet = Output(as_json=output.as_json)
    quiet.quiet = output.quiet or not os.isatty(2)
    with Progress(quiet) as progress:
        for event in progress.follow(events):
            if event.get("event") == "result":
                result = event
    return result


def _transfer(result: dict[str, Any]) -> dict[str, Any]:
    return {name: result.get(name) for name in ("bytes_fetched", "bytes_reused", "transfer_seconds", "peers")}


def _label(file: Path) -> dict[str, Any]:
    label = inspect_audio(file)["label"]
    if not label:
        raise IntegrityError(f"{file} carries no AIGC label")
    return dict(label)


@contextlib.contextmanager
def _daemons(root: Path) -> Iterator[Callable[..., Node]]:
    """A function that starts daemons below `root`; all of them are gone when the block ends."""
    running: list[Node] = []
    scratch = root / "tmp"
    scratch.mkdir(exist_ok=True)
    # Whatever a library caches in a home or in /tmp lands in the demo's folder and goes with it.
    environment = {
        "HOME": str(root),
        "TMPDIR": str(scratch),
        **{
            name: str(root / "xdg")
            for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
        },
    }

    def start(name: str, bootstrap: Iterable[str] = ()) -> Node:
        client = Client(root / name.lower())
        process = daemon.spawn(client, [LISTEN], list(bootstrap), environment=environment, tied=True)
        node = Node(name, client, process)
        running.append(node)
        node.status = daemon.wait_ready(client, process)
        return node

    try:
        yield start
    finally:
        # A second Ctrl-C must not leave daemons behind.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for node in running:
                if node.process.poll() is None:
                    node.process.terminate()
            for node in running:
                daemon.end(node.process)
        finally:
            signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM and a closed terminal end the demo through its clean-up, as Ctrl-C does."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
