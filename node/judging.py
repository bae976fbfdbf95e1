"""Voices speak the same sentences, to be heard side by side and to be measured against each other.

Each sentence has a seed of its own that is the same for every voice, so what differs is the voices. What is
heard are samples for a person (samples.py); what is measured are figures, each with its method, or null with
the reason. Follows specs/merging.md, "Judge".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from p2pvoice.node import speech
from p2pvoice.node.loadable import LoadableVoice
from p2pvoice.node.parts import Parts
from p2pvoice.node.voices import Tell
from p2pvoice.protocol.errors import SynthesisError, UsageError

#: Seed of the first sentence.
SEED = 11

#: Sentences of one comparison, and characters of one.
SENTENCES_LIMIT, SENTENCE_LENGTH = 6, 200

#: Bytes of what one sentence may become: a minute at 48 kHz. A voice that says more does not come to an end.
SAMPLE_BYTES = 6 << 20

#: Languages of a voice that are tried, and sentences in each.
LANGUAGES_TRIED, SENTENCES_EACH = 2, 3

#: What voices say when nobody says what: our own sentences, of ordinary words, a question among them.
SENTENCES: Mapping[str, tuple[str, ...]] = {
    "yue": (
        "今朝落過雨，條街仲係濕嘅，行路要小心啲。",
        "你食咗飯未呀？廚房仲有碗熱湯。",
        "圖書館六點先閂門，我哋慢慢行過去都趕得切。",
    ),
    "zh": (
        "今天早上下过雨，路上还是湿的，走路要小心一点。",
        "你吃过饭了吗？厨房里还有一碗热汤。",
        "图书馆六点才关门，我们慢慢走过去也来得及。",
    ),
    "en": (
        "It rained this morning, so the street is still wet and you should walk with care.",
        "Have you had something to eat? There is a bowl of hot soup in the kitchen.",
        "The library closes at six, and we can get there in time if we leave now.",
    ),
}


#: Who speaks, in words.
ROLES = {
    "before": "your voice",
    "theirs": "the other voice",
    "after": "the merged voice",
    "a": "the first voice",
    "b": "the second voice",
}


@dataclass(frozen=True)
class Speaker:
    """A voice that is to speak, and its role."""

    role: str
    voice: LoadableVoice


def sentences_for(
    languages: Sequence[str], given: Sequence[str] = (), lang: str = ""
) -> list[tuple[str, str]]:
    """(text, language) pairs that a voice of these languages is tried with; ``given`` ones in their place.

    Raises UsageError for more or longer ones than are spoken.
    """
    spoken = [one for one in languages if one in SENTENCES] or ["en"]
    if not given:
        chosen = [lang] if lang in SENTENCES else spoken[:LANGUAGES_TRIED]
        return [(said, one) for one in chosen for said in SENTENCES[one][:SENTENCES_EACH]]
    if len(given) > SENTENCES_LIMIT:
        raise UsageError(f"at most {SENTENCES_LIMIT} sentences are spoken for a comparison")
    for said in given:
        if not said.strip() or len(said) > SENTENCE_LENGTH:
            raise UsageError(f"a sentence to compare by has 1 to {SENTENCE_LENGTH} characters")
    return [(said, lang or spoken[0]) for said in given]


async def speak_side_by_side(
    parts: Parts, speakers: Sequence[Speaker], sentences: Sequence[tuple[str, str]], tell: Tell
) -> tuple[dict[str, list[bytes]], list[dict[str, Any]]]:
    """Let each voice speak each sentence: the WAV files by role, and the samples that are kept of them.

    The work is one request a sentence, so that others may speak in between. Cancelling it leaves samples
    behind that go by themselves. Raises SynthesisError when a voice cannot speak, or does not end.
    """
    spoken: dict[str, list[bytes]] = {one.role: [] for one in speakers}
    kept: list[dict[str, Any]] = []
    steps = len(speakers) * len(sentences)
    for speaker in speakers:
        for number, (said, lang) in enumerate(sentences):
            await tell({"event": "progress", "stage": "samples", "done": len(kept) / steps})
            made = await speech.speak(
                parts,
                speaker.voice,
                said,
                lang,
                options={"seed": SEED + number},
                own_words=False,
            )
            require_ended(made.data, speaker.role)
            name = await trio.to_thread.run_sync(parts.samples.add, made.data, limiter=parts.disk)
            spoken[speaker.role].append(made.data)
            kept.append(
                {
                    "of": speaker.role,
                    "text": said,
                    "lang": lang,
                    "sample": name,
                    "seconds": round(made.seconds, 3),
                }
            )
    return spoken, kept


def require_ended(data: bytes, role: str) -> None:
    """SynthesisError for a sample that is too long to be one sentence."""
    if len(data) > SAMPLE_BYTES:
        raise SynthesisError(
            f"{ROLES.get(role, role)} does not come to an end: it says more than a minute for one sentence",
            hint="--sentence with a shorter one",
        )


async def judge(
    parts: Parts,
    spoken: Mapping[str, Sequence[bytes]],
    sentences: Sequence[tuple[str, str]],
    asr: Path | None,
    tell: Tell,
) -> dict[str, Any]:
    """Similarity to the first of the voices, quality, and errors by a recogniser, of what was spoken."""

    async def on_progress(data: Mapping[str, Any]) -> None:
        await tell({"event": "progress", **data})

    arguments = {
        "anchor": next(iter(spoken)),
        "spoken": {role: list(files) for role, files in spoken.items()},
        "sentences": [list(pair) for pair in sentences],
        "asr": str(asr) if asr is not None else None,
    }
    return await parts.engine.call("judge", arguments, on_progress=on_progress)
