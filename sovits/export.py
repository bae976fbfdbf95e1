"""A voice in the form that GPT-SoVITS loads: a ``.pth`` and a ``.ckpt``, the reference clips and their list.

So that nobody is locked in: what was imported comes out again, every number that speech uses bit for bit. The
settings are written from this program's own and never copied from the file that was brought, so no path or
name of the trainer's machine is in them. Not for lite voices, which upstream cannot load. Follows
specs/export.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from p2pvoice.protocol.errors import UsageError

from . import sizes, voicefile
from .declared import LITE
from .gpt import PREFIX
from .torch_writer import Piece, Settings, torch_file
from .vits import CODEBOOK
from .voicefile import Bundle

FORMAT: Final = "gpt-sovits"
FORMATS: Final = (FORMAT,)
MARKS: Final = {"v1": b"PK", "v2": b"PK", "v2Pro": b"05", "v2ProPlus": b"06"}
"""The first two bytes of a SoVITS file, by which upstream tells the Pro versions."""
LANGUAGES: Final = {"zh": "ZH", "yue": "YUE", "en": "EN", "ja": "JA", "ko": "KO"}
"""Languages as upstream's lists write them."""
LONGEST_SECONDS: Final = 54
"""What upstream's GPT settings call max_sec; it bounds a sentence's length there."""
SEGMENT_FRAMES: Final = 32
"""Frames of one training slice; upstream's network is built with this number."""
SPEAKERS: Final = 300
"""Another number that upstream's settings carry and no inference uses."""
MEL_BANDS: Final = 128
DROPOUT: Final = {"v1": 0.1, "v2": 0.1, "v2Pro": 0.0, "v2ProPlus": 0.0}
INFO: Final = "exported by p2pvoice"


@dataclass(frozen=True)
class ExportedFile:
    """One file of an export, as pieces that need not be copied."""

    name: str
    pieces: Sequence[Piece]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(len, self.pieces))


def export(
    folder: Path, name: str, notes: Mapping[str, str], *, plain: bool = False
) -> Iterator[ExportedFile]:
    """The files of an export of the bundle in ``folder``; ``name`` is the stem of their names.

    ``notes`` are further text files by name: what is to be known of licence and consent. With ``plain`` the
    settings are dictionaries, not objects of upstream's class. Raises UsageError for a voice that upstream
    has no form for, and what `voicefile.load_bundle` raises.
    """
    bundle = voicefile.load_bundle(folder)
    if bundle.voice.version == LITE:
        raise UsageError(
            "a lite voice has no GPT-SoVITS form", hint="its own files are safetensors, in the store"
        )
    yield ExportedFile(f"{name}.pth", sovits_file(bundle, name, plain=plain))
    yield ExportedFile(f"{name}.ckpt", gpt_file(bundle))
    for reference in bundle.voice.references:
        yield ExportedFile(reference.clip, [(folder / reference.clip).read_bytes()])
    yield ExportedFile(f"{name}.list", [clip_list(bundle, name).encode()])
    for note, text in notes.items():
        yield ExportedFile(note, [text.encode()])


def sovits_file(bundle: Bundle, name: str, *, plain: bool = False) -> list[Piece]:
    """The SoVITS weights as upstream saves them for inference."""
    settings = _sovits_settings(bundle, name)
    embed = bundle.sovits[CODEBOOK + "embed"]
    # Upstream fills a codebook that does not say that it is filled anew from the clip it hears.
    unused = {
        CODEBOOK + "inited": torch.ones(1, dtype=embed.dtype),
        CODEBOOK + "cluster_size": torch.ones(len(embed), dtype=embed.dtype),
        CODEBOOK + "embed_avg": embed,
    }
    return torch_file(
        {
            "weight": {key: tensor.contiguous() for key, tensor in (bundle.sovits | unused).items()},
            "config": settings if plain else Settings(settings),
            "info": INFO,
        },
        MARKS[bundle.voice.version],
    )


def _sovits_settings(bundle: Bundle, name: str) -> dict[str, object]:
    """What upstream builds the network by, in its own words."""
    version = bundle.voice.version
    settings = sizes.SoVitsSettings.from_tensors(bundle.sovits, bundle.voice.sovits_config())
    content = bundle.voice.bases.content
    config = settings.to_config()
    return {
        "train": {"segment_size": SEGMENT_FRAMES * settings.hop_length},
        "data": {
            "max_wav_value": 32768.0,
            **config["data"],
            "n_mel_channels": MEL_BANDS,
            "mel_fmin": 0.0,
            "mel_fmax": None,
            "add_blank": True,
            "n_speakers": SPEAKERS,
            "cleaned_text": True,
        },
        "model": {
            **config["model"],
            "p_dropout": DROPOUT[version],
            "use_spectral_norm": False,
            "freeze_quantizer": True,
            "version": version,
        },
        "content_module": "cnhubert" if content == "hubert" else content,
        "name": name,
        "version": version,
    }


def gpt_file(bundle: Bundle) -> list[Piece]:
    """The GPT weights as upstream saves them for inference."""
    plain = {key.removeprefix(PREFIX): tensor for key, tensor in bundle.gpt.items()}
    settings = sizes.GptSettings.from_tensors(plain, bundle.voice.gpt_config())
    model = settings.to_config()["model"]
    return torch_file(
        {
            "weight": {key: tensor.contiguous() for key, tensor in bundle.gpt.items()},
            "config": {
                "data": {"max_sec": LONGEST_SECONDS, "pad_val": settings.eos},
                "model": {**model, "random_bert": 0},
                "inference": {"top_k": 15},
            },
            "info": INFO,
        }
    )


def clip_list(bundle: Bundle, name: str) -> str:
    """The references as a list of upstream's: path, speaker, language and text of each."""
    lines = []
    for reference in bundle.voice.references:
        lang = LANGUAGES[voicefile.SPOKEN_AS.get(reference.lang, reference.lang)]
        # A bar would end the text's field.
        lines.append(f"{reference.clip}|{name}|{lang}|{reference.text.replace('|', ' ')}\n")
    return "".join(lines)
