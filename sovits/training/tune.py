"""Tuning: a voice learns words that it gets wrong, from some twenty sentences, and shows what it forgets.

Only the GPT learns; how codes become sound stays the base's, tensor by tensor. What is reported is an error
on the sentences and on ordinary ones, before and after: by a recogniser where there is one, else by the
network's own surprise. A tuning that takes more from the ordinary sentences than it gives to the others has
gained nothing: then the voice keeps the base's GPT. Not for another speaker (see run, kind ``train``).
Follows specs/training-data.md, "Tune".
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from p2pvoice.sovits.voicefile import Bundle

from . import evaluate, transcripts
from .dataset import Example, Extractor
from .texts import ORDINARY

if TYPE_CHECKING:
    from .run import Run


def judge(
    run: "Run",
    base: Bundle,
    weights: Mapping[str, Mapping[str, Tensor]],
    examples: Sequence[Example],
    extractor: Extractor,
) -> dict[str, Any]:
    """The error on the sentences and on ordinary ones, before and after, how it was told, and ``gained``."""
    ordinary = ORDINARY[run.request.lang]
    if run.request.asr is not None:
        told = _by_ear(run, [example.text for example in examples], ordinary)
    else:
        told = _by_surprise(run, base, weights, examples, ordinary, extractor)
    return {**told, "gained": gained(told)}


def gained(told: Mapping[str, Any]) -> bool:
    """Whether the sentences gained, and more than the ordinary ones lost."""
    gain = told["sentences"]["before"] - told["sentences"]["after"]
    return bool(gain > max(0.0, told["ordinary"]["after"] - told["ordinary"]["before"]))


def _by_surprise(
    run: "Run",
    base: Bundle,
    weights: Mapping[str, Mapping[str, Tensor]],
    examples: Sequence[Example],
    ordinary: Sequence[str],
    extractor: Extractor,
) -> dict[str, Any]:
    # The base's own speech is what it could say before: a network that forgets is surprised by it.
    own = evaluate.speak(
        run.request.base, run.bases, ordinary, run.request.lang, lambda i, n: run.stage("judge", i, n)
    )
    heard = [
        extractor.example(f"ordinary-{i}", one.text, run.request.lang, one.samples, one.rate)
        for i, one in enumerate(own)
    ]
    before, after = base.gpt, weights["gpt"]
    return {
        "method": "nats of surprise a code (GPT, told the truth so far); no recogniser was given (--asr)",
        "sentences": {
            "count": len(examples),
            "before": _surprise(run, base, before, examples),
            "after": _surprise(run, base, after, examples),
        },
        "ordinary": {
            "count": len(heard),
            "before": _surprise(run, base, before, heard),
            "after": _surprise(run, base, after, heard),
        },
    }


def _by_ear(run: "Run", sentences: Sequence[str], ordinary: Sequence[str]) -> dict[str, Any]:
    assert run.request.asr is not None
    ear, lang = transcripts.recogniser(run.request.asr), run.request.lang
    report: dict[str, Any] = {}
    kind = ""
    for name, texts in (("sentences", sentences), ("ordinary", ordinary)):
        report[name] = {"count": len(texts)}
        for when, folder in (("before", run.request.base), ("after", run.work / "bundle")):
            spoken = evaluate.speak(folder, run.bases, texts, lang, lambda i, n: run.stage("judge", i, n))
            rate, kind = evaluate.word_errors(spoken, ear, lang)
            report[name][when] = round(rate, 3)
    return {"method": f"{kind} by the recogniser", **report}


def _surprise(run: "Run", base: Bundle, gpt: Mapping[str, Tensor], examples: Sequence[Example]) -> float:
    told = Bundle(base.voice, base.sovits, dict(gpt), base.spectrograms, base.speakers)
    return round(run.family.gpt_objective(told, examples, examples, "all", 0).entropy(), 4)
