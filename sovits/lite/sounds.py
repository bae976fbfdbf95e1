"""The sounds that the lite family's codes are made of, and which of them each phone symbol consists of.

One table serves English, Mandarin and Cantonese: a sound is shared wherever two languages say nearly the
same thing, so that a base trained on all three needs less speech of each. What this module is not for:
durations, pitch, text, or how a teacher is brought to say a sound. Follows specs/lite.md.
"""

# ruff: noqa: SIM905 (word lists are easier to read and check as text)

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SILENCE: Final = "sil"
MARKS: Final = frozenset("!?…,.-")
"""Phone symbols that are heard as a pause."""


@dataclass(frozen=True)
class Sound:
    """One sound; ``pitched`` says that its codes tell a pitch level, ``vowel`` that it can bear a tone."""

    name: str
    pitched: bool = False
    vowel: bool = False


_VOWELS: Final = "ɑ æ ə ʌ ɔ W I ɛ A ɪ i O Y ʊ u ɝ ɚ a y ɤ ɨ ʅ œ ɵ ɐ".split()
_SONORANTS: Final = "m n ŋ l ɹ w j ɥ ʐ".split()
_OBSTRUENTS: Final = "b d ɡ v ð z ʒ ʤ p t k f θ s ʃ ʧ h ts tsʰ tɕ tɕʰ ɕ tʂ tʂʰ ʂ x p̚ t̚ k̚".split()

SOUNDS: Final[dict[str, Sound]] = {
    sound.name: sound
    for sound in (
        Sound(SILENCE),
        *(Sound(name, pitched=True, vowel=True) for name in _VOWELS),
        *(Sound(name, pitched=True) for name in _SONORANTS),
        *(Sound(name) for name in _OBSTRUENTS),
    )
}
"""Every sound by its name, in the order of the codes; A W I O Y are those of day, now, my, go, boy."""


def _pairs(text: str, between: str = " ") -> dict[str, tuple[str, ...]]:
    """``"a=x y|b=z"`` as a dictionary of tuples."""
    return {name: tuple(sounds.split()) for name, sounds in (pair.split("=") for pair in text.split(between))}


_ENGLISH: Final = _pairs(
    "AA=ɑ AE=æ AH=ʌ AO=ɔ AW=W AY=I EH=ɛ ER=ɝ EY=A IH=ɪ IY=i OW=O OY=Y UH=ʊ UW=u B=b CH=ʧ D=d DH=ð F=f "
    "G=ɡ HH=h JH=ʤ K=k L=l M=m N=n NG=ŋ P=p R=ɹ S=s SH=ʃ T=t TH=θ V=v W=w Y=j Z=z ZH=ʒ"
)
_UNSTRESSED: Final = {"AH": ("ə",), "ER": ("ɚ",)}

_MANDARIN_INITIALS: Final = _pairs(
    "b=b p=p m=m f=f d=d t=t n=n l=l g=ɡ k=k h=x j=tɕ q=tɕʰ x=ɕ zh=tʂ ch=tʂʰ sh=ʂ r=ʐ z=ts c=tsʰ s=s y=j w=w"
)
_NO_ONSET: Final = ("AA", "EE", "OO")
"""Openings of Mandarin syllables that begin with their vowel."""
_MANDARIN_FINALS: Final = _pairs(
    "a=a|ai=I|an=a n|ang=ɑ ŋ|ao=W|e=ɤ|ei=A|en=ə n|eng=ə ŋ|er=ɚ|i=i|i0=ɨ|ir=ʅ|ia=j a|ian=j ɛ n|iang=j ɑ ŋ|"
    "iao=j W|ie=j ɛ|in=i n|ing=i ŋ|iong=j ʊ ŋ|iu=j O|o=w ɔ|ong=ʊ ŋ|ou=O|u=u|ua=w a|uai=w I|uan=w a n|"
    "uang=w ɑ ŋ|ui=w A|un=w ə n|uo=w ɔ|v=y|van=ɥ ɛ n|ve=ɥ ɛ|vn=y n|E=ɛ|En=ɛ n",
    "|",
)

_CANTONESE_INITIALS: Final = _pairs(
    "b=b|p=p|m=m|f=f|d=d|t=t|n=n|l=l|g=ɡ|k=k|ng=ŋ|h=h|gw=ɡ w|kw=k w|w=w|z=ts|c=tsʰ|s=s|j=j", "|"
)
_NUCLEI: Final = {
    "aa": "a", "a": "ɐ", "e": "ɛ", "i": "i", "o": "ɔ", "u": "u", "oe": "œ", "eo": "ɵ", "yu": "y",
}  # fmt: skip
_CODAS: Final = {"m": "m", "n": "n", "ng": "ŋ", "p": "p̚", "t": "t̚", "k": "k̚", "i": "ɪ", "u": "ʊ"}
_WHOLE_FINALS: Final = _pairs(
    "aai=I|aau=W|ei=A|oi=Y|ou=O|ing=ɪ ŋ|ik=ɪ k̚|ung=ʊ ŋ|uk=ʊ k̚|eoi=ɵ y|m=m|n=n|g=ŋ|ng=ŋ", "|"
)


def _cantonese_final(name: str) -> tuple[str, ...]:
    """Sounds of a rhyme in Jyutping without its tone."""
    if name in _WHOLE_FINALS:
        return _WHOLE_FINALS[name]
    for size in (2, 1):
        nucleus, coda = name[:size], name[size:]
        if nucleus in _NUCLEI and (not coda or coda in _CODAS):
            return (_NUCLEI[nucleus], *([_CODAS[coda]] if coda else []))
    return (_CODAS.get(name, "ə"),)


def language_of(phone: str) -> str | None:
    """``en``, ``zh`` or ``yue`` for a symbol that only one language has, else nothing (marks, pauses)."""
    if phone in MARKS or phone in ("SP", "SP2", "SP3", "UNK", "_"):
        return None
    if phone in _NO_ONSET or phone[0].islower() or phone.rstrip("0123456789") in ("E", "En"):
        return "zh"
    return "yue" if phone[0] == "Y" and phone != "Y" else "en"


def tone_of(phone: str) -> str | None:
    """``zh4``, ``yue6`` … for a rhyme that carries a lexical tone, else nothing."""
    language = language_of(phone)
    return language + phone[-1] if language in ("zh", "yue") and phone[-1].isdigit() else None


def _names(phone: str, before: str | None, after: str | None) -> tuple[str, ...]:
    """Sounds of ``phone`` between its neighbours, which matter where a syllable has no consonant."""
    language = language_of(phone)
    if language is None:
        return (SILENCE,)
    if language == "en":
        bare = phone.rstrip("012")
        plain = _ENGLISH.get(bare, (SILENCE,))
        return _UNSTRESSED.get(bare, plain) if phone.endswith("0") else plain
    toned = phone[-1].isdigit()
    if language == "zh":
        if toned:
            name = phone[:-1]
            # The glide of "wo" is its opening already.
            return ("ɔ",) if name == "o" and before == "w" else _MANDARIN_FINALS.get(name, (SILENCE,))
        glide = {"y": "iv", "w": "u"}.get(phone)
        if phone in _NO_ONSET or (glide and after is not None and after[0] in glide):
            return ()
        return _MANDARIN_INITIALS.get(phone, (SILENCE,))
    body = phone[1:]
    if not toned:
        consonant = _CANTONESE_INITIALS.get(body)
        alone = after is not None and language_of(after) == "yue" and after[-1].isdigit()
        if consonant is None:
            return () if alone else _cantonese_final(body)
        return () if alone and after is not None and _is_syllabic(body, after[1:-1]) else consonant
    rhyme = body[:-1]
    if before is not None and language_of(before) == "yue" and not before[-1].isdigit():
        opening = before[1:]
        if _is_syllabic(opening, rhyme):
            return _cantonese_final(rhyme)
        if opening not in _CANTONESE_INITIALS:
            return _cantonese_final(opening if rhyme == opening[-1] else opening + rhyme)
    return _cantonese_final(rhyme)


def _is_syllabic(opening: str, rhyme: str) -> bool:
    """Whether the front end's cut stands for a nasal that is a syllable: ``m`` + ``m``, ``ng`` + ``g``."""
    return (opening, rhyme) in (("m", "m"), ("ng", "g"), ("n", "n"))


def sounds_of(phones: Sequence[str]) -> list[tuple[Sound, ...]]:
    """The sounds of each phone symbol of an utterance; an empty onset has none.

    A symbol of a language that the family does not speak is heard as silence.
    """
    around: list[str | None] = [None, *phones, None]
    return [
        tuple(SOUNDS[name] for name in _names(phone, around[i], around[i + 2]))
        for i, phone in enumerate(phones)
    ]
