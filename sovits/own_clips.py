"""A voice's own clips, spoken by itself, in the place of the recordings it was given as references.

For publishing a voice without any recording of the person: with each reference the voice speaks a sentence
of ours, and what it said is heard and encoded like any other clip. The bundle it is read from keeps the
originals. Not for whether recordings may travel: that is the consent's. Follows specs/bundle.md and
specs/consent.md.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from p2pvoice.protocol.errors import SynthesisError

from . import convert
from .audio import Samples
from .bases import Bases
from .hearing import Listener, listener
from .synthesize import SpeakText, Voice
from .training import bundle
from .voicefile import SPOKEN_AS, Bundle, VoiceFile

SECONDS: Final = (3.1, 9.9)
"""Length of a clip: within the bundle's bounds, whatever a sample rate rounds."""
CODES_LIMIT: Final = 248
"""Codes of 40 ms after which a sentence has gone astray: longer than any clip may be."""
TAKES: Final = 3
"""Takes of a sentence; the one of the middle length is kept, since words left out or repeated show there."""
ATTEMPTS: Final = 16
"""Takes, usable or not, that are tried for one reference."""

TEXTS: Final = {
    "en": (
        "Every morning I open the window, make a cup of tea, and listen to the street below.",
        "We took the slow road along the river, and talked about nothing in particular.",
        "If the weather holds, they will finish painting the fence before the weekend.",
    ),
    "zh": (
        "每天早上我打开窗户，泡一杯茶，听一听楼下街上的声音。",
        "我们沿着河边慢慢地走，一路上聊的都是些平常的小事。",
        "要是天气一直这么好，他们周末以前就能把篱笆刷完。",
    ),
    "yue": (
        "每日朝早我打開個窗，沖杯茶，聽下樓下條街嘅聲音。",
        "我哋沿住河邊慢慢行，一路傾嘅都係啲好平常嘅嘢。",
        "如果天氣一直咁好，佢哋周末之前就油得晒個圍欄。",
    ),
}
"""What a voice says, about five seconds each, by the language of the reference. Our own sentences."""


class _TooLong(Exception):
    """The voice does not come to an end."""


def speak(
    loaded: Bundle,
    voice: Voice,
    bases: Bases,
    *,
    seed: int = 0,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> list[convert.Clip]:
    """A clip for each reference of a bundle, spoken with it by ``voice``, which was loaded of the same one.

    The same voice and seed give the same clips on the same machine. ``tell`` hears how many are done and may
    raise to stop, also within a sentence. Raises SynthesisError when the voice says nothing that can serve,
    and NotFoundError when the encoder it was made with is not installed.
    """
    made = loaded.voice
    hearing = listener(
        made.version, loaded.sovits, made.sovits_config(), made.bases.content, bases, made.bases.speaker
    )
    clips = []
    for index, reference in enumerate(made.references):
        lang = SPOKEN_AS.get(reference.lang, reference.lang)
        said = TEXTS[lang][index % len(TEXTS[lang])]
        takes: list[Samples] = []
        for attempt in range(ATTEMPTS):
            tell(index, len(made.references))
            wanted = SpeakText(said, lang, seed=seed + attempt, reference=index)
            samples = _take(voice, wanted, lambda i=index: tell(i, len(made.references)))
            if samples is not None:
                takes.append(samples)
            if len(takes) == TAKES:
                break
        if not takes:
            raise SynthesisError(
                f"with reference {index} the voice speaks no clip of 3 to 10 s that could take its place",
                hint="p2pvoice publish … --clips-may-travel, if the person permits that recordings travel",
            )
        middle = sorted(takes, key=len)[len(takes) // 2]
        clips += _encoded(middle, voice.sample_rate, said, lang, hearing)
    tell(len(clips), len(clips))
    return clips


def write(out: Path, loaded: Bundle, clips: list[convert.Clip]) -> VoiceFile:
    """Write what of a bundle changes with its references to the new folder ``out``; the weights stay out."""
    return convert.write_references(out, loaded.voice, clips)


def _take(voice: Voice, wanted: SpeakText, check: Callable[[], None]) -> Samples | None:
    """One take; None when it is too short or too long to serve."""
    codes = 0

    def count(_: int) -> None:
        nonlocal codes
        codes += 1
        check()
        if codes > CODES_LIMIT:
            raise _TooLong

    try:
        samples = np.concatenate(list(voice.speak(wanted, on_code=count)))
    except _TooLong:
        return None
    low, high = SECONDS
    return samples if low <= len(samples) / voice.sample_rate <= high else None


def _encoded(samples: Samples, rate: int, said: str, lang: str, hearing: Listener) -> list[convert.Clip]:
    return bundle.encode([bundle.Candidate(samples, rate, said, lang, "")], hearing)
