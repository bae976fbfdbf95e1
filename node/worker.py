"""A worker: ``python -m p2pvoice.node.worker``, the only part of a node that loads torch.

It reads requests from stdin and answers on what was its stdout (libraries that print are sent to stderr
instead), one request at a time, and leaves when stdin ends, so it never outlives its daemon. Each
operation is one function, here for speaking, in worker_training.py and its neighbours for the rest; none of
them knows the network, the store or a key, and sandbox/ sees to it. Voices stay loaded, the least recently
used one leaves first. Follows specs/worker.md.
"""

import argparse
import ctypes
import io
import json
import os
import queue
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from p2pvoice.node import (
    jobs,
    worker_evaluating,
    worker_export,
    worker_measuring,
    worker_merging,
    worker_references,
    worker_selftest,
    worker_text,
    worker_training,
)
from p2pvoice.node.partial import FULL
from p2pvoice.node.sandbox.room import Room, enter
from p2pvoice.protocol.errors import (
    BugError,
    DiskFullError,
    OutOfMemoryError,
    P2PVoiceError,
    SynthesisError,
    UsageError,
    VoiceNotLoadableError,
)
from p2pvoice.protocol.ids import slugify

#: Longest text of one request, in characters.
TEXT_LIMIT = 20_000


class Cancelled(Exception):
    """The daemon no longer wants the answer."""


class Worker:
    """The request being worked on, the voices that are loaded, and the way back to the daemon."""

    def __init__(self, out: BinaryIO, voices: int) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._limit = voices
        self._voices: OrderedDict[str, Any] = OrderedDict()
        self._cancelled: set[int] = set()
        self._current = 0

    def send(self, message: jobs.FromWorker) -> None:
        """Tell the daemon something."""
        data = jobs.frame(message)
        with self._lock:
            self._out.write(data)
            self._out.flush()

    def cancel(self, request: int) -> None:
        """Note that nobody waits for a request; called from the reading thread."""
        self._cancelled.add(request)

    def check(self) -> None:
        """Raise Cancelled when nobody waits for the current request any more."""
        if self._current in self._cancelled:
            raise Cancelled

    def cancelled(self) -> bool:
        """Whether nobody waits for the current request any more."""
        return self._current in self._cancelled

    def tell(self, data: dict[str, Any]) -> None:
        """Report on the current request, also when nobody waits for it any more."""
        self.send(jobs.Progress(self._current, data))

    def progress(self, stage: str, done: float = 0.0) -> None:
        """Report how far the current request has come (0 to 1 within its stage)."""
        self.check()
        self.send(jobs.Progress(self._current, {"stage": stage, "done": float(done)}))

    def piece(self, pcm: bytes) -> None:
        """Hand over some audio of the current request."""
        self.check()
        self.send(jobs.Piece(self._current, pcm))

    def handle(self, request: jobs.Request) -> None:
        """Work on one request and answer it, whatever happens."""
        self._current = request.id
        try:
            operation = OPERATIONS.get(request.operation)
            if operation is None:
                raise UsageError(f"the worker knows no operation {request.operation!r}")
            self.check()
            self.send(jobs.Result(request.id, operation(self, request.arguments)))
        except Exception as error:
            self.send(jobs.Failure(request.id, _to_error(error).to_dict()))
        finally:
            self._cancelled.discard(request.id)

    def voice(self, key: str, folder: Path, bases: list[str]) -> Any:
        """The loaded voice of a folder, loaded now if it was not."""
        if key in self._voices:
            self._voices.move_to_end(key)
            return self._voices[key]
        from p2pvoice.sovits.synthesize import Voice

        while len(self._voices) >= self._limit:
            self._voices.popitem(last=False)
            give_back()
        self.progress("load")
        voice = Voice.load(folder, bases_in(bases), check=self.check)
        self._voices[key] = voice
        return voice

    def forget(self, key: str) -> None:
        """Drop a loaded voice."""
        if self._voices.pop(key, None) is not None:
            give_back()


def give_back() -> None:
    """Return freed memory to the system, where the C library would keep it for later."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def bases_in(folders: list[str]) -> Any:
    """The helper networks in some folders."""
    from p2pvoice.sovits.bases import Bases

    return Bases([Path(folder) for folder in folders])


def ping(worker: Worker, arguments: dict[str, Any]) -> dict[str, Any]:
    """Answer, so that the daemon knows the worker lives; says which voices are loaded."""
    return {"voices": list(worker._voices), "torch": "torch" in sys.modules}


def import_voice(worker: Worker, arguments: dict[str, Any]) -> dict[str, Any]:
    """Convert a pair of upstream checkpoints and reference clips into a bundle folder."""
    from p2pvoice.sovits.convert import Recording
    from p2pvoice.sovits.convert import import_voice as convert

    more = arguments.get("more", ())
    convert(
        Path(arguments["sovits"]),
        Path(arguments["gpt"]),
        Path(arguments["clip"]),
        str(arguments["text"]),
        str(arguments["lang"]),
        Path(arguments["out"]),
        bases_in(arguments["bases"]),
        worker.progress,
        [Recording(Path(one["clip"]), str(one["text"]), str(one["lang"])) for one in more],
    )
    return inspect(worker, {"folder": arguments["out"], "bases": arguments["bases"]})


def import_bundled(worker: Worker, arguments: dict[str, Any]) -> dict[str, Any]:
    """Make a bundle folder of the voice that comes with the package, through the same import as any other."""
    from p2pvoice.sovits.packaged import packaged_voice

    return import_voice(worker, {**arguments, **vars(packaged_voice())})


def inspect(worker: Worker, arguments: dict[str, Any]) -> dict[str, Any]:
    """Check a bundle folder the way admission needs it, and describe it for a manifest.

    voice.json is read with its bounds, every tensor is compared with the architecture it declares and
    must be finite. Raises what the checks raise; then the files must not be used.
    """
    from p2pvoice.sovits.voicefile import check_bundle

    return dict(check_bundle(Path(arguments["folder"]), worker.progress))


def inspect_base(worker: Worker, arguments: dict[str, Any]) -> dict[str, Any]:
    """Check the files of a shared base the way admission needs it. Raises what the checks raise."""
    from p2pvoice.sovits.base_file import check_base

    return dict(check_base(Path(arguments["folder"]), str(arguments["kind"]), worker.progress))


def base_add(worker: Worker, arguments: dict[str, Any]) -> dict[str, Any]:
    """Install a helper network (HuBERT, BERT, the speaker network) from a folder of its published files."""
    from p2pvoice.sovits import bases

    name = slugify(str(arguments["name"]))
    place = bases.install("", Path(arguments["source"]), Path(arguments["into"]) / name)
    record = {"name": name, "kind": bases.kind_of(place), "id": bases.content_id(place)}
    (place / "base.json").write_text(json.dumps(record))
    return record


def speak(worker: Worker, arguments: dict[str, Any]) -> dict[str, Any]:
    """Speak a turn of a text; the sample rate goes out first, then the audio as pieces while it is made.

    A turn is a sentence, or as many as it takes to speak for as long as loading the voice took. ``place``
    says where the turn before left off, and the result's where this one did: None when all is said.
    """
    import numpy

    from p2pvoice.sovits.synthesize import SpeakText
    from p2pvoice.sovits.utterance import Place, Utterance

    text, began = str(arguments["text"]), time.monotonic()
    if not text.strip():
        raise UsageError("there is nothing to speak")
    if len(text) > TEXT_LIMIT:
        raise UsageError(f"the text has {len(text)} characters; at most {TEXT_LIMIT} are spoken at once")
    voice = worker.voice(str(arguments["key"]), Path(arguments["folder"]), arguments["bases"])
    options = {**arguments["options"], "also": tuple(arguments["options"].get("also", ()))}
    words = str(arguments.get("words", ""))
    wanted = SpeakText(text=text, lang=str(arguments["lang"]), words=words, **options)
    place = arguments.get("place")
    utterance = Utterance(voice, wanted, Place(**place) if place else None)
    rate, told = int(voice.sample_rate), len(voice.notices)
    worker.tell({"stage": "speak", "sample_rate": rate})
    samples = 0

    def take(part: Any) -> None:
        nonlocal samples
        pcm = (numpy.clip(part, -1.0, 1.0) * 32767.0).astype("<i2")
        samples += len(pcm)
        worker.piece(pcm.tobytes())

    begun = time.monotonic()
    loading = begun - began
    while True:
        utterance.say(take, on_code=lambda _: worker.check(), check=worker.check)
        left = utterance.place
        if left is None or time.monotonic() - begun >= loading:
            break
    return {
        "sample_rate": rate,
        "samples": samples,
        "notices": voice.notices[told:],
        "place": vars(left) if left is not None else None,
    }


def forget(worker: Worker, arguments: dict[str, Any]) -> dict[str, Any]:
    """Drop a loaded voice whose files are about to be others."""
    worker.forget(str(arguments["key"]))
    return {}


OPERATIONS: dict[str, Callable[[Worker, dict[str, Any]], dict[str, Any]]] = {
    "ping": ping,
    "selftest": worker_selftest.selftest,
    "import": import_voice,
    "import_bundled": import_bundled,
    "inspect": inspect,
    "inspect_base": inspect_base,
    "base_add": base_add,
    "speak": speak,
    "check_words": worker_text.check_words,
    "read_text": worker_text.read_text,
    "export": worker_export.export,
    "own_clips": worker_references.own_clips,
    "train": worker_training.train,
    "describe": worker_measuring.describe,
    "similarity": worker_measuring.similarity,
    "stability": worker_measuring.stability,
    "compare": worker_merging.compare,
    "merge": worker_merging.merge,
    "judge": worker_merging.judge,
    "forget": forget,
    "evaluate": worker_evaluating.evaluate,
}


def _to_error(error: Exception) -> P2PVoiceError:
    if isinstance(error, P2PVoiceError):
        return error
    if isinstance(error, Cancelled):
        return SynthesisError("cancelled")
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return OutOfMemoryError()
    if (isinstance(error, OSError) and error.errno in FULL) or "No space left" in str(error):
        return DiskFullError()
    traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, KeyError | FileNotFoundError):
        return VoiceNotLoadableError(f"the voice's files do not fit together: {error}")
    return BugError(f"the worker failed: {type(error).__name__}")


def _requests(source: BinaryIO) -> Iterator[jobs.ToWorker]:
    while head := source.read(jobs.LENGTH.size):
        if len(head) < jobs.LENGTH.size:
            return
        body = source.read(jobs.body_length(head))
        yield jobs.read_request(body)


def _read(source: BinaryIO, worker: Worker, pending: "queue.SimpleQueue[jobs.Request]") -> None:
    """The reading thread: hears a cancellation while the main thread computes."""
    try:
        for message in _requests(source):
            if isinstance(message, jobs.Cancel):
                worker.cancel(message.id)
            else:
                pending.put(message)
    finally:
        # The daemon is gone or does not want us any more. Nothing here needs an orderly end.
        os._exit(0)


def main() -> None:
    """Work until stdin ends."""
    parser = argparse.ArgumentParser(prog="p2pvoice-worker")
    parser.add_argument("--voices", type=int, default=2)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--room", type=Room.from_json, default=Room("off"), help="what it may see, as JSON")
    options = parser.parse_args()
    if options.nice:
        os.nice(options.nice)
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    worker = Worker(io.BufferedWriter(out), options.voices)
    # Before the first thread, the first library and the first request.
    try:
        worker.send(jobs.Hello(enter(options.room).to_dict()))
    except (P2PVoiceError, OSError) as error:
        worker.send(jobs.Failure(0, _to_error(error).to_dict()))
        return
    pending: queue.SimpleQueue[jobs.Request] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, worker, pending), daemon=True).start()
    while True:
        worker.handle(pending.get())


if __name__ == "__main__":
    main()
