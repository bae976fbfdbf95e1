"""Does a voice stay itself? Cosines of its speaker embedding over sentences, devices and languages.

What is compared with is the voice's own recording where there is one (its reference clips), else the mean of
its plain sentences. Every figure is what the encoder of embed says, which hears devices too: the same report
over recordings of one person does not reach 1 either. Follows specs/measurement.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p2pvoice.protocol.errors import SynthesisError, UsageError
from p2pvoice.sovits.measure import devices as simulated
from p2pvoice.sovits.measure.embed import similarity, speaker_embedding, speakers_embedding

Samples = NDArray[np.float32]
Speak = Callable[[str, str, int], tuple[Samples, int]]
"""Text, language, seed -> mono samples and their rate."""

PROMISE: Final = 0.85
"""The cosine that a voice made of 60 seconds is meant to keep; the report says what it keeps."""
PLAIN: Final = "plain"
"""The name under which no device stands."""
SENTENCES_LIMIT: Final = 50
"""Sentences a language that are spoken at most."""

SENTENCES: Final[Mapping[str, tuple[str, ...]]] = {
    "en": (
        "The ferry leaves at seven, so we should be at the harbour a little earlier.",
        "Nobody expected the old bridge to carry so much traffic for so long.",
        "Could you tell me where the nearest library is?",
        "She opened the window, and the smell of rain came into the room.",
    ),
    "zh": (
        "这座城市的早晨总是从街边的早点铺开始的。",
        "如果明天不下雨，我们就去山上看日出。",
        "请问这趟车经过图书馆吗？",
        "他把信读了两遍，才慢慢地放回抽屉里。",
    ),
    "yue": (
        "呢個城市嘅朝早，成日都係由街邊嘅早餐檔開始。",
        "如果聽日唔落雨，我哋就上山睇日出。",
        "唔該，呢架車經唔經圖書館㗎？",
        "佢將封信睇咗兩次，先至慢慢放返入櫃桶度。",
    ),
}
"""Our own, none of them in any corpus of this project."""


@dataclass(frozen=True)
class Row:
    """One cosine: which sentence, in which language, on which device."""

    lang: str
    sentence: int
    device: str
    cosine: float


def report(
    speak: Speak,
    languages: Sequence[str],
    reference: Sequence[tuple[Samples, int]] = (),
    *,
    sentences: Mapping[str, Sequence[str]] = SENTENCES,
    devices: Mapping[str, simulated.Device] | None = None,
    seed: int = 1,
    tell: Callable[[int, int], None] = lambda done, all_of_them: None,
) -> dict[str, Any]:
    """Let a voice speak and compare: plain JSON with every row, and means and 5th percentiles of each kind.

    ``reference`` are clips of the voice (samples, rate). ``tell`` hears how many of all sentences are done. A
    language that cannot be spoken is named under ``left_out``. Raises UsageError without any sentence, and
    where embed does.
    """
    wanted = [(lang, text) for lang in languages for text in sentences.get(lang, ())[:SENTENCES_LIMIT]]
    if not wanted:
        raise UsageError(f"there are no sentences in {', '.join(languages) or 'no language'} to speak")
    through = simulated.all_devices() if devices is None else devices
    spoken: list[tuple[str, int, Samples, int]] = []
    left_out: dict[str, str] = {}
    for number, (lang, text) in enumerate(wanted):
        tell(number, len(wanted))
        if lang in left_out:
            continue
        try:
            audio, rate = speak(text, lang, seed + number)
        except SynthesisError as error:
            left_out[lang] = error.message
            continue
        spoken.append((lang, number, np.asarray(audio[: round(simulated.SECONDS_LIMIT * rate)]), rate))
    if not spoken:
        raise UsageError("none of the languages could be spoken: " + "; ".join(left_out.values()))
    plain = [(audio, rate) for _, _, audio, rate in spoken]
    centre = speakers_embedding(list(reference) or plain)
    limits = _limits(reference, centre, through, seed)
    rows = []
    for lang, number, audio, rate in spoken:
        rows.append(Row(lang, number, PLAIN, similarity(centre, speaker_embedding(audio, rate))))
        for name, device in through.items():
            heard = speaker_embedding(device(audio, rate, seed + number), rate)
            rows.append(Row(lang, number, name, similarity(centre, heard)))
    tell(len(wanted), len(wanted))
    compared_with = "the voice's reference clips" if reference else "the mean of its own sentences"
    return {"compared_with": compared_with, **_summary(rows, limits), "left_out": left_out}


def _limits(
    reference: Sequence[tuple[Samples, int]],
    centre: NDArray[np.float32],
    through: Mapping[str, simulated.Device],
    seed: int,
) -> dict[str, float]:
    """What the recordings themselves keep on each device: no voice made of them can be asked for more."""
    found = {}
    for name, device in through.items() if reference else ():
        heard = [speaker_embedding(device(audio, rate, seed), rate) for audio, rate in reference[:4]]
        found[name] = round(float(np.mean([similarity(centre, one) for one in heard])), 3)
    return found


def _summary(rows: Sequence[Row], limits: Mapping[str, float]) -> dict[str, Any]:
    plain = [row for row in rows if row.device == PLAIN]
    devices = {name: _figures([row for row in rows if row.device == name]) for name in _names(rows, "device")}
    return {
        "encoder": "GE2E, the weights of Resemblyzer 0.1.4",
        "promise": PROMISE,
        "plain": _figures(plain),
        "all": _figures(rows),
        "languages": {lang: _figures([r for r in plain if r.lang == lang]) for lang in _names(rows, "lang")},
        "devices": {
            name: figures | ({"recording": limits[name]} if name in limits else {})
            for name, figures in devices.items()
        },
        "measured": _measured(plain, rows),
    }


def _figures(rows: Sequence[Row]) -> dict[str, float | int]:
    cosines = np.array([row.cosine for row in rows])
    return {
        "count": len(rows),
        "mean": round(float(cosines.mean()), 3),
        "p5": round(float(np.percentile(cosines, 5)), 3),
        "least": round(float(cosines.min()), 3),
        "kept": round(float(np.mean(cosines >= PROMISE)), 3),
    }


def _measured(plain: Sequence[Row], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The figures as manifests carry them."""
    fields = []
    for kind, some in (("plain", plain), ("devices", [row for row in rows if row.device != PLAIN])):
        figures = _figures(some) if some else {}
        for name in ("mean", "p5"):
            if figures:
                method = f"speaker embedding (GE2E), {kind}, {figures['count']} clips"
                fields.append((f"stability.{kind}.{name}", str(figures[name]), method))
    return [
        {"field": field, "value": value, "unit": "cosine", "method": method, "confidence": 60}
        for field, value, method in fields
    ]


def _names(rows: Sequence[Row], what: str) -> list[str]:
    return list(dict.fromkeys(getattr(row, what) for row in rows))
