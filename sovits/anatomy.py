"""The named parts of a voice: which tensors a person means by "the decoder" or "how it reads".

Only names: no tensor is looked at here. The parts are what `layers` takes from one voice or the other, and by
which a diff is summed up. Follows specs/merging.md, "Definitions".
"""

from collections.abc import Iterable, Mapping
from typing import Final

from p2pvoice.protocol.errors import UsageError

PREFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    "reading": ("model.bert_proj.", "model.ar_text_embedding.", "model.ar_text_position."),
    "phrasing": ("model.h.",),
    "choice": ("model.ar_audio_embedding.", "model.ar_audio_position.", "model.ar_predict_layer."),
    "codes": ("quantizer.", "ssl_proj."),
    "text": ("enc_p.",),
    "style": ("ref_enc.", "sv_emb.", "prelu.", "ge_to512."),
    "flow": ("flow.",),
    "decoder": ("dec.",),
}
"""Part -> how the names of its tensors begin. In the order in which a text becomes sound."""

REFERENCES: Final = "references"
"""The part that is no weights: the clips a voice is prompted with."""
WORDS: Final = "pronunciation"
"""The dictionary of a voice, no weights either: a diff counts its words, and no mode takes it alone."""
OTHER: Final = "other"
"""What a newer family may bring."""
CODES: Final = "codes"
"""The part that both voices must share, without which GPT and decoder speak different languages."""

PARTS: Final = (*PREFIXES, REFERENCES, OTHER)
"""Every part, in the order in which they are shown."""

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "gpt": ("reading", "phrasing", "choice"),
    "sovits": ("text", "style", "flow", "decoder"),
}
"""Words that stand for several parts: a whole network."""


def part_of(name: str) -> str:
    """The part that a tensor belongs to."""
    return next((part for part, begins in PREFIXES.items() if name.startswith(begins)), OTHER)


def parts_named(words: Iterable[str]) -> frozenset[str]:
    """The parts that these words mean, groups opened. UsageError for a word that is none, or ``codes``."""
    found: set[str] = set()
    for word in words:
        if word in GROUPS:
            found.update(GROUPS[word])
        elif word == CODES:
            raise UsageError("the codes of two voices of one lineage are the same: there is nothing to take")
        elif word in PREFIXES or word == REFERENCES:
            found.add(word)
        else:
            known = (*GROUPS, *(part for part in PARTS if part not in (CODES, OTHER)))
            raise UsageError(f"{word[:40]!r} is no part of a voice", hint="parts: " + " ".join(known))
    return frozenset(found)
