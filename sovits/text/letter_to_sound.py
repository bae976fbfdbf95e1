"""A guess at the pronunciation of an English word that no dictionary has.

Runs the small recurrent network of the g2p_en package (one GRU reads the letters, one writes the
phonemes) in plain numpy, from weights stored as package data (see data/text/LICENSES.md). Not for names
of people or acronyms, which :mod:`.english` treats first. Follows specs/text.md.
"""

# ruff: noqa: SIM905 (word lists are easier to read and check as text)

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from .tables import open_data

LONGEST_WORD: Final = 64
"""Letters read; what follows is ignored (no English word is longer, and the time grows with the length)."""
MOST_PHONEMES: Final = 20
"""Phonemes written at most, as in the network's training."""

_UNKNOWN_LETTER, _END_OF_WORD, _FIRST_LETTER = 1, 2, 3
_START, _STOP, _FIRST_PHONEME = 2, 3, 4
# The network's own phoneme order. UW without a stress digit is in no voice's table, so it is dropped.
_PHONEMES = (
    "AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 B CH D DH EH0 EH1 EH2 ER0 ER1 "
    "ER2 EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG OW0 OW1 OW2 OY0 OY1 OY2 P R S SH T TH "
    "UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH"
).split()

Array = npt.NDArray[np.floating]


@cache
def _weights() -> dict[str, Array]:
    with open_data("letter_to_sound.npz") as stream, np.load(stream, allow_pickle=False) as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}


def _sigmoid(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-x))
    return result


def _step(weights: dict[str, Array], part: str, x: Array, state: Array) -> Array:
    """One step of the GRU ``part`` ("enc" or "dec"): reset and update gates, then the new state."""
    width = state.shape[0]
    from_input = weights[f"{part}_w_ih"] @ x + weights[f"{part}_b_ih"]
    from_state = weights[f"{part}_w_hh"] @ state + weights[f"{part}_b_hh"]
    reset = _sigmoid(from_input[:width] + from_state[:width])
    update = _sigmoid(from_input[width : 2 * width] + from_state[width : 2 * width])
    candidate = np.tanh(from_input[2 * width :] + reset * from_state[2 * width :])
    result: Array = (1 - update) * candidate + update * state
    return result


def predict(word: str) -> list[str]:
    """Phonemes of ``word`` (lower-case letters; anything else counts as an unknown letter)."""
    weights = _weights()
    state: Array = np.zeros(weights["enc_w_hh"].shape[1], np.float32)
    letters = [
        _FIRST_LETTER + ord(letter) - ord("a") if "a" <= letter <= "z" else _UNKNOWN_LETTER
        for letter in word[:LONGEST_WORD]
    ]
    for letter in (*letters, _END_OF_WORD):
        state = _step(weights, "enc", weights["enc_emb"][letter], state)
    phonemes = []
    last = _START
    for _ in range(MOST_PHONEMES):
        state = _step(weights, "dec", weights["dec_emb"][last], state)
        last = int(np.argmax(weights["fc_w"] @ state + weights["fc_b"]))
        if last == _STOP:
            break
        if last >= _FIRST_PHONEME and _PHONEMES[last - _FIRST_PHONEME] != "UW":
            phonemes.append(_PHONEMES[last - _FIRST_PHONEME])
    return phonemes
