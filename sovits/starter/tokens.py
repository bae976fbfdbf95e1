"""What the teachers are told to say: their alphabet's tokens for each of our sounds, language by language.

Both teachers read the same alphabet, IPA letters as ``misaki`` writes them. In Mandarin an arrow after the
vowel is the tone; Cantonese, which the teachers never learnt, borrows Mandarin's consonants and the nearest
vowels of any language they know. What this module is not for: timing and pitch. Follows specs/starter.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from p2pvoice.sovits.lite.sounds import MARKS, SILENCE, SOUNDS, Sound, sounds_of, tone_of


@dataclass(frozen=True)
class Phone:
    """A symbol of the phone table, whether a word begins with it, and whether that word is stressed."""

    symbol: str
    begins_word: bool = False
    stressed: bool = True


@dataclass(frozen=True)
class Part:
    """One sound of an utterance, the phone it is of, and the tokens that make it."""

    phone: int
    sound: Sound
    tokens: tuple[str, ...]
    mark: str = ""


_ENGLISH: Final = {"ɝ": ("ɜ", "ɹ"), "ɚ": ("ə", "ɹ"), "ts": ("t", "s")}
_CHINESE: Final = {
    "b": ("p",), "p": ("p", "ʰ"), "d": ("t",), "t": ("t", "ʰ"), "ɡ": ("k",), "k": ("k", "ʰ"), "ts": ("ʦ",),
    "tsʰ": ("ʦ", "ʰ"), "tɕ": ("ʨ",), "tɕʰ": ("ʨ", "ʰ"), "tʂ": ("ꭧ",), "tʂʰ": ("ꭧ", "ʰ"), "ʐ": ("ɻ",),
    "ɑ": ("a",), "I": ("a", "i"), "A": ("e", "i"), "W": ("a", "u"), "O": ("o", "u"), "Y": ("ɔ", "i"),
    "ɔ": ("o",), "ʅ": ("ɨ",),
}  # fmt: skip
_CANTONESE: Final = _CHINESE | {
    "ɔ": ("ɔ",), "ɵ": ("ø",), "p̚": ("p",), "t̚": ("t",), "k̚": ("k",), "ɪ": ("i",), "ʊ": ("u",),
}  # fmt: skip
_TONES: Final = {
    "zh1": "→", "zh2": "↗", "zh3": "↓", "zh4": "↘",
    "yue1": "→", "yue2": "↗", "yue3": "→", "yue4": "↓", "yue5": "↗", "yue6": "→",
}  # fmt: skip
_MARKS: Final = {"-": "—"}


def _tokens(sound: Sound, after: Sound | None, language: str) -> tuple[str, ...]:
    if language == "en":
        return _ENGLISH.get(sound.name, (sound.name,))
    if language == "zh" and sound.name == "ɛ":
        return ("ɛ",) if after is not None and after.name == "n" else ("e",)
    return (_CANTONESE if language == "yue" else _CHINESE).get(sound.name, (sound.name,))


def parts_of(phones: Sequence[Phone], language: str) -> list[Part]:
    """The sounds of an utterance in order, with their tokens; a stress or a word's space leads its sound."""
    parts: list[Part] = []
    every = sounds_of([phone.symbol for phone in phones])
    space = False
    for index, (phone, sounds) in enumerate(zip(phones, every, strict=True)):
        tone, vowel_done = tone_of(phone.symbol), False
        space |= phone.begins_word
        for place, sound in enumerate(sounds):
            if phone.symbol in MARKS:
                mark = phone.symbol
                parts.append(Part(index, sound, (_MARKS.get(mark, mark),), mark))
                space = False
                continue
            lead: list[str] = [" "] if space and parts else []
            space = False
            tail: list[str] = []
            bears = sound.vowel or (tone is not None and len(sounds) == 1)
            if bears and not vowel_done:
                vowel_done = True
                if tone is not None:
                    tail += [_TONES[tone]] if tone in _TONES else []
                elif phone.stressed and phone.symbol[-1] in "12":
                    lead.append("ˈ" if phone.symbol.endswith("1") else "ˌ")
            after = sounds[place + 1] if place + 1 < len(sounds) else None
            parts.append(Part(index, sound, (*lead, *_tokens(sound, after, language), *tail)))
    return parts


PAUSE: Final = Part(0, SOUNDS[SILENCE], ())
"""The silence before an utterance."""
