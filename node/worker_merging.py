"""The worker's operations on two voices: compare, merge, and judging what came out by ear.

It sees the two bundles and writes the merged one into its scratch folder. Which voices may be merged is the
node's to say. Follows specs/merging.md and specs/worker.md.
"""

import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pvoice.protocol.errors import ConflictError, P2PVoiceError

if TYPE_CHECKING:
    from p2pvoice.node.worker import Worker

#: Tensors that one answer lists at most.
TENSORS_LIMIT = 4096

#: Progress events of one stage.
TWENTIETHS = 20

#: Kinds of figures of a report.
FIGURES = 3

#: What likeness is measured against, in words.
ANCHORS = {"before": "the voice before", "a": "the first voice"}

Heard = Sequence[tuple[Any, int]]


def compare(worker: "Worker", arguments: dict[str, Any]) -> dict[str, Any]:
    """What differs between two bundles: parts, tensors (the largest change first), and whether they fit."""
    from p2pvoice.sovits import compare as comparing
    from p2pvoice.sovits.merge import require_fitting

    a, b = Path(arguments["a"]), Path(arguments["b"])
    changes = comparing.compare(a, b, _told(worker, "compare"))
    try:
        require_fitting(a, b)
        unfit = None
    except ConflictError as error:
        unfit = error.message
    # What cannot be put into a number comes first: it is the largest change there is.
    order = sorted(
        changes, key=lambda one: (one.relative is not None, -(one.relative or 0.0), -one.largest, one.name)
    )
    return {
        "parts": [*comparing.by_part(changes), comparing.references(a, b), *comparing.words(a, b)],
        "tensors": [one.to_json() for one in order if not one.equal][:TENSORS_LIMIT],
        "count": len(changes),
        "changed": sum(not one.equal for one in changes),
        "unfit": unfit,
    }


def merge(worker: "Worker", arguments: dict[str, Any]) -> dict[str, Any]:
    """Merge two bundles into a new folder of the scratch, and describe it for a manifest."""
    from p2pvoice.node.worker import inspect
    from p2pvoice.sovits.anatomy import parts_named
    from p2pvoice.sovits.merge import Recipe
    from p2pvoice.sovits.merge import merge as combine

    recipe = Recipe(arguments["mode"], int(arguments["share"]), parts_named(arguments["parts"]))
    out = Path(arguments["out"])
    shutil.rmtree(out, ignore_errors=True)
    combine(Path(arguments["ours"]), Path(arguments["theirs"]), out, recipe, _told(worker, "merge"))
    found = inspect(worker, {"folder": str(out), "bases": arguments["bases"]})
    return {"facts": found, "parts": sorted(recipe.parts)}


def judge(worker: "Worker", arguments: dict[str, Any]) -> dict[str, Any]:
    """Likeness, quality and errors of what voices said; likeness is to the one whose role is ``anchor``.

    ``spoken`` maps a voice's role to WAV files, one for each of ``sentences`` (text, language).
    """
    anchor = str(arguments["anchor"])
    spoken = {name: [_samples(data) for data in files] for name, files in arguments["spoken"].items()}
    report: dict[str, Any] = {"sentences": len(arguments["sentences"])}
    for name, figure in (("similarity", lambda heard: _similarity(heard, anchor)), ("quality", _quality)):
        worker.progress("judge", (len(report) - 1) / FIGURES)
        report[name] = _measured(spoken, figure)
    worker.progress("judge", (len(report) - 1) / FIGURES)
    report["errors"] = _measured(spoken, lambda heard: _errors(worker, heard, arguments))
    return report


def _measured(
    spoken: dict[str, list[tuple[Any, int]]], figure: Callable[[dict[str, Heard]], dict[str, Any]]
) -> dict[str, Any]:
    """A figure of each role with its method; where it cannot be told, null and the reason."""
    try:
        return figure(dict(spoken))
    except P2PVoiceError as error:
        reason = f"{error.message} ({error.hint})" if error.hint else error.message
        return {**dict.fromkeys(spoken), "reason": reason}


def _similarity(spoken: dict[str, Heard], anchor: str) -> dict[str, Any]:
    from p2pvoice.sovits.measure import embed

    vectors = {name: embed.speakers_embedding(list(heard)) for name, heard in spoken.items()}
    found = {name: round(embed.similarity(vectors[anchor], one), 3) for name, one in vectors.items()}
    return {**found, "method": f"cosine of speaker embeddings (GE2E) to {ANCHORS[anchor]}"}


def _quality(spoken: dict[str, Heard]) -> dict[str, Any]:
    from p2pvoice.sovits.measure import dnsmos

    found = {}
    for name, heard in spoken.items():
        figures = [dnsmos.ovrl(audio, rate)["dnsmos_ovrl"] for audio, rate in heard]
        found[name] = round(sum(figures) / len(figures), 2)
    return {**found, "method": "DNSMOS P.835 overall (1-5), mean of the sentences"}


def _errors(worker: "Worker", spoken: dict[str, Heard], arguments: dict[str, Any]) -> dict[str, Any]:
    from p2pvoice.sovits.measure import words
    from p2pvoice.sovits.measure.asr import Ear

    if not arguments["asr"]:
        return {**dict.fromkeys(spoken), "reason": "no recogniser was given (--asr)"}
    ear, sentences = Ear(Path(arguments["asr"])), arguments["sentences"]
    found: dict[str, float] = {}
    for name, heard in spoken.items():
        wrong = length = 0
        for (said, lang), (audio, rate) in zip(sentences, heard, strict=True):
            worker.check()
            errors, count = words.count_errors(said, ear.hear(audio, rate, lang), lang)
            wrong, length = wrong + errors, length + count
        found[name] = round(wrong / max(length, 1), 3)
    kinds = "/".join(dict.fromkeys(words.kind_of(lang) for _, lang in sentences))
    return {**found, "method": f"{kinds} by the recogniser"}


def _samples(data: bytes) -> tuple[Any, int]:
    import soundfile

    return soundfile.read(io.BytesIO(data), dtype="float32")  # type: ignore[no-any-return]


def _told(worker: "Worker", stage: str) -> Callable[[float], None]:
    """Tells how much of a stage is done, in twentieths, and stops when nobody waits for it."""
    told = -1

    def tell(done: float) -> None:
        nonlocal told
        worker.check()
        if int(done * TWENTIETHS) > told:
            told = int(done * TWENTIETHS)
            worker.progress(stage, done)

    return tell
