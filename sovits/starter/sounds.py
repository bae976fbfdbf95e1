"""Which sounds a phone of our tables is made of, and how the English teacher is brought to make each.

A sound is the unit the bootstrap voice's codes are built from; the three languages share them. Most are
one token of the teacher's alphabet. A sound English lacks is an average of two that it has: for as long
as it lasts, the teacher's envelopes of both are mixed. What this module is not for: durations, pitch and
text. Follows specs/bootstrap-voice.md.
"""

# ruff: noqa: SIM905 (word lists are easier to read and check as text)

from dataclasses import dataclass
from typing import Final

SILENCE: Final = "sil"


@dataclass(frozen=True)
class Sound:
    """One sound: the teacher's tokens, those it is mixed with, and what it carries."""

    name: str
    tokens: tuple[str, ...]
    other: tuple[str, ...] = ()
    share: float = 0.0
    """Part of ``other`` in the mixture."""
    pitch: bool = False
    """A sonorant: its codes tell the pitch level."""
    gain: float = 0.0
    """Added to the log envelopes; a stop that is not released is nearly silent."""


def _table() -> dict[str, Sound]:
    sounds = [Sound(SILENCE, (",",))]
    vowels = "ɑ æ ə ʌ ɔ W I ɛ A ɪ i O Y ʊ u".split()
    sounds += [Sound(name, (name,), pitch=True) for name in vowels]
    sounds += [Sound("ɝ", ("ɜ", "ɹ"), pitch=True), Sound("ɚ", ("ə", "ɹ"), pitch=True)]
    sounds += [Sound(name, (name,), pitch=True) for name in "m n ŋ l ɹ w j".split()]
    sounds += [Sound(name, (name,)) for name in "b d ɡ v ð z ʒ ʤ p t k f θ s ʃ ʧ h".split()]
    sounds += [Sound("ts", ("t", "s")), Sound("dz", ("d", "z"))]
    sounds += [
        Sound("a", ("ɑ",), ("æ",), 0.5, pitch=True),
        Sound("y", ("i",), ("u",), 0.4, pitch=True),
        Sound("ɤ", ("ʌ",), ("ʊ",), 0.5, pitch=True),
        Sound("ɨ", ("ɪ",), ("ʊ",), 0.5, pitch=True),
        Sound("œ", ("ɛ",), ("ɔ",), 0.5, pitch=True),
        Sound("ɵ", ("ɪ",), ("ɔ",), 0.5, pitch=True),
        Sound("ɕ", ("ʃ",), ("s",), 0.4),
    ]
    sounds += [Sound(name + "̚", (name,), gain=-2.5) for name in "ptk"]
    return {sound.name: sound for sound in sounds}


SOUNDS: Final = _table()

_ENGLISH: Final = dict(
    pair.split("=")
    for pair in (
        "AA=ɑ AE=æ AH=ʌ AO=ɔ AW=W AY=I EH=ɛ ER=ɝ EY=A IH=ɪ IY=i OW=O OY=Y UH=ʊ UW=u B=b CH=ʧ D=d DH=ð F=f "
        "G=ɡ HH=h JH=ʤ K=k L=l M=m N=n NG=ŋ P=p R=ɹ S=s SH=ʃ T=t TH=θ V=v W=w Y=j Z=z ZH=ʒ"
    ).split()
)

_MANDARIN_INITIALS: Final = dict(
    pair.split("=")
    for pair in (
        "b=b p=p m=m f=f d=d t=t n=n l=l g=ɡ k=k h=h j=ʤ q=ʧ x=ɕ zh=ʤ ch=ʧ sh=ʃ r=ɹ z=dz c=ts s=s y=j w=w"
    ).split()
)

_MANDARIN_FINALS: Final = {
    name: tuple(sounds.split())
    for name, sounds in (
        pair.split("=")
        for pair in (
            "a=ɑ|ai=I|an=a n|ang=ɑ ŋ|ao=W|e=ɤ|ei=A|en=ə n|eng=ʌ ŋ|er=ɑ ɹ|i=i|i0=ɨ|ir=ɝ|ia=j ɑ|ian=j ɛ n|"
            "iang=j ɑ ŋ|iao=j W|ie=j ɛ|in=i n|ing=i ŋ|iong=j ʊ ŋ|iu=j O|o=w ɔ|ong=ʊ ŋ|ou=O|u=ʊ|ua=w ɑ|"
            "uai=w I|uan=w a n|uang=w ɑ ŋ|ui=w A|un=w ə n|uo=w ɔ|v=y|van=y ɛ n|ve=y ɛ|vn=y n|E=ɛ|En=ɛ n"
        ).split("|")
    )
}

_CANTONESE_INITIALS: Final = {
    name: tuple(sounds.split())
    for name, sounds in (
        pair.split("=")
        for pair in (
            "b=b|p=p|m=m|f=f|d=d|t=t|n=n|l=l|g=ɡ|k=k|ng=ŋ|h=h|gw=ɡ w|kw=k w|w=w|z=dz|c=ts|s=s|j=j"
        ).split("|")
    )
}

_NUCLEI: Final = {
    "aa": "ɑ", "a": "ʌ", "e": "ɛ", "i": "i", "o": "ɔ", "u": "u", "oe": "œ", "eo": "ɵ", "yu": "y",
}  # fmt: skip
_CODAS: Final = {"m": "m", "n": "n", "ng": "ŋ", "p": "p̚", "t": "t̚", "k": "k̚", "i": "ɪ", "u": "ʊ"}
_WHOLE: Final = {
    "aai": "I", "aau": "W", "ei": "A", "oi": "Y", "ou": "O", "ing": "ɪ ŋ", "ik": "ɪ k̚", "ung": "ʊ ŋ",
    "uk": "ʊ k̚", "eoi": "ɵ y", "m": "m", "n": "n", "g": "ŋ", "ng": "ŋ",
}  # fmt: skip

MARKS: Final = frozenset("!?…,.-")


def _cantonese_final(name: str) -> tuple[str, ...]:
    if name in _WHOLE:
        return tuple(_WHOLE[name].split())
    for size in (2, 1):
        nucleus, coda = name[:size], name[size:]
        if nucleus in _NUCLEI and (not coda or coda in _CODAS):
            return (_NUCLEI[nucleus], *([_CODAS[coda]] if coda else []))
    return (_CODAS.get(name, "ə"),)


def sounds_of(phone: str) -> tuple[Sound, ...]:
    """The sounds of one phone symbol; none for a Mandarin syllable's empty onset."""
    if phone in MARKS or phone in ("SP", "SP2", "SP3", "UNK"):
        return (SOUNDS[SILENCE],)
    if phone in ("AA", "EE", "OO"):
        return ()
    if phone.startswith("Y") and phone != "Y" and not phone.startswith("YY"):
        body = phone[1:]
        if not body[-1].isdigit():
            names = _CANTONESE_INITIALS.get(body) or _cantonese_final(body)
        else:
            names = _cantonese_final(body[:-1])
    elif phone[0].isupper() and phone.rstrip("0123456789") not in ("E", "En"):
        bare = phone.rstrip("012")
        if bare == "AH" and phone.endswith("0"):
            names = ("ə",)
        elif bare == "ER" and phone.endswith("0"):
            names = ("ɚ",)
        else:
            names = (_ENGLISH[bare],)
    elif phone in _MANDARIN_INITIALS:
        names = (_MANDARIN_INITIALS[phone],)
    else:
        names = _MANDARIN_FINALS[phone[:-1]]
    return tuple(SOUNDS[name] for name in names)


def tone_of(phone: str) -> str | None:
    """``zh4``, ``yue6`` … for a final that carries a lexical tone, else nothing."""
    if phone in MARKS or not phone[-1].isdigit() or phone in ("SP2", "SP3"):
        return None
    if phone.startswith("Y"):
        return "yue" + phone[-1]
    if phone[0].isupper() and phone[:-1] not in ("E", "En"):
        return None
    return "zh" + phone[-1]
