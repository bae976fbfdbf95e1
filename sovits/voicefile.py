"""A voice on disk: ``voice.json`` and the safetensors files beside it, read as if an enemy had written them.

For: writing ``voice.json``, reading it back within bounds, and loading a whole bundle for synthesis with
every shape checked against the settings. Not for: checkpoints (see checkpoint) and not for signatures or
hashes, which are the node's business. Follows specs/bundle.md.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from p2pvoice.protocol import pronunciation
from p2pvoice.protocol.errors import BadCheckpointError, UsageError, VoiceNotLoadableError

from . import architecture, declared
from .checkpoint import file_header, map_tensors
from .declared import GptSettings, SovitsSettings
from .identify import VERSIONS, is_finite
from .mapped import MappedFile
from .text.pronunciations import of_texts

#: Bytes of ``voice.json``; with 16 references of 10 s it has about 40 KB.
VOICE_LIMIT = 256 * 1024
#: Reference clips of one voice.
REFERENCES_LIMIT = 16
#: Characters of one transcript.
TEXT_LIMIT = 500
#: Milliseconds of one reference clip.
MILLISECONDS_MIN, MILLISECONDS_MAX = 3_000, 10_000
#: Codes of one reference: 25 a second, and the encoder hears 0.6 s of silence after the clip.
CODES_MIN, CODES_MAX = 60, 280
#: Spectrogram frames of one reference, 50 a second.
FRAMES_MIN, FRAMES_MAX = 140, 520

FORMAT = 1
FAMILY = "gpt-sovits"
#: Versions of the family that this program can build and speak with.
SPOKEN_VERSIONS = ("v1", "v2", "v2Pro", "v2ProPlus", declared.LITE)
#: Those of them that listen to a speaker vector beside the spectrogram.
PRO_VERSIONS = ("v2Pro", "v2ProPlus")
LANGUAGES = ("yue", "zh", "en", "ja", "ko", "auto", "auto_yue", "all_zh", "all_yue", "all_ja", "all_ko")

#: How a transcript may be marked -> the language that is heard in it.
SPOKEN_AS = {
    "all_zh": "zh", "all_yue": "yue", "all_ja": "ja", "all_ko": "ko", "auto": "zh", "auto_yue": "yue",
}  # fmt: skip

VOICE_NAME, SOVITS_NAME, GPT_NAME = "voice.json", "sovits.safetensors", "gpt.safetensors"
#: The tensors of a reference's safetensors file: linear magnitudes, [bins, frames], and what of a Pro voice
#: says who speaks, [numbers].
SPECTROGRAM, SPEAKER = "spectrogram", "speaker"

_BASE_ID = re.compile(r"hubert|b[a-z2-7]{50,100}")
_BERT_ID = re.compile(r"bert|b[a-z2-7]{50,100}")
_SPEAKER_ID = re.compile(r"speaker|b[a-z2-7]{50,100}")


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One reference clip with what a listener needs from it: no content encoder is needed to speak."""

    clip: str
    text: str
    lang: str
    milliseconds: int
    codes: tuple[int, ...]
    spec: str


class BaseIds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The networks a voice was made with: ``hubert``, ``bert`` and ``speaker`` are the installed ones.

    A CID pins one. ``bert`` is None for a voice that does not listen to its features, ``speaker`` for every
    voice that is not Pro; then voice.json does not have it.
    """

    content: str
    bert: str | None = None
    speaker: str | None = None


class VoiceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of ``voice.json``."""

    family: str
    version: str
    sovits: SovitsSettings
    gpt: GptSettings
    bases: BaseIds
    references: tuple[Reference, ...]
    format: int = FORMAT

    def sovits_config(self) -> dict[str, object]:
        """The settings in upstream's words; ``checkpoint`` reads them back to the same settings."""
        content = "cnhubert" if self.bases.content == "hubert" else self.bases.content
        return {"version": self.version, "content_module": content, **self.sovits.to_config()}

    def gpt_config(self) -> dict[str, object]:
        """The same for the GPT."""
        return {**self.gpt.to_config()}


@dataclass(frozen=True)
class Bundle:
    """A loaded voice. The tensors lie in the mapped files.

    ``spectrograms`` and, for a Pro voice, ``speakers`` are in the references' order; else these are empty.
    ``words`` is the voice's pronunciation dictionary as text; empty for a voice without one.
    """

    voice: VoiceFile
    sovits: dict[str, torch.Tensor]
    gpt: dict[str, torch.Tensor]
    spectrograms: tuple[torch.Tensor, ...]
    speakers: tuple[torch.Tensor, ...] = ()
    words: str = ""


def encode_voice(voice: VoiceFile) -> bytes:
    """The bytes of ``voice.json``: the same voice always gives the same bytes."""
    check_voice(voice)
    fields = msgspec.to_builtins(voice, order="sorted")
    if voice.bases.speaker is None:
        del fields["bases"]["speaker"]
    return (json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n").encode()


def decode_voice(data: bytes) -> VoiceFile:
    """Read ``voice.json`` strictly. Raises BadCheckpointError for anything out of bounds."""
    if len(data) > VOICE_LIMIT:
        raise _bad(f"it has {len(data)} bytes, more than {VOICE_LIMIT}")
    try:
        voice = msgspec.json.decode(data, type=VoiceFile, strict=True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(ascii(str(error))[1:160]) from error
    return check_voice(voice)


def check_voice(voice: VoiceFile) -> VoiceFile:
    """Return ``voice`` if every field is within bounds."""
    if voice.format != FORMAT or voice.family != FAMILY:
        raise _bad(f"it is of format {voice.format}, family {voice.family[:40]!a}", "update p2pvoice")
    if voice.version not in VERSIONS:
        raise _bad(f"its version {voice.version[:20]!a} is unknown", "update p2pvoice")
    declared.check_sovits(voice.sovits, voice.version)
    declared.check_gpt(voice.gpt)
    if not _BASE_ID.fullmatch(voice.bases.content):
        raise _bad(f"its content encoder {voice.bases.content[:80]!a} is no id")
    if voice.bases.bert is not None and not _BERT_ID.fullmatch(voice.bases.bert):
        raise _bad(f"its BERT {voice.bases.bert[:80]!a} is no id")
    if (voice.bases.speaker is not None) != (voice.version in PRO_VERSIONS):
        raise _bad("a Pro voice names its speaker network, and no other voice has one")
    if voice.bases.speaker is not None and not _SPEAKER_ID.fullmatch(voice.bases.speaker):
        raise _bad(f"its speaker network {voice.bases.speaker[:80]!a} is no id")
    if not 1 <= len(voice.references) <= REFERENCES_LIMIT:
        raise _bad(f"it has {len(voice.references)} references; a voice has 1 to {REFERENCES_LIMIT}")
    for index, reference in enumerate(voice.references):
        if (reference.clip, reference.spec) != (clip_name(index), spec_name(index)):
            raise _bad(f"reference {index} does not name its own files")
        check_text(reference.text)
        if reference.lang not in LANGUAGES:
            raise _bad(f"reference {index} is in the unknown language {reference.lang[:20]!a}")
        if not MILLISECONDS_MIN <= reference.milliseconds <= MILLISECONDS_MAX:
            raise _bad(f"reference {index} is not 3 to 10 seconds long")
        if not CODES_MIN <= len(reference.codes) <= CODES_MAX:
            raise _bad(f"reference {index} has {len(reference.codes)} codes, not {CODES_MIN} to {CODES_MAX}")
        if not all(0 <= code < architecture.CODES_LIMIT for code in reference.codes):
            raise _bad(f"reference {index} has a code that no codebook has")
    return voice


def check_text(text: str) -> str:
    """Return a transcript that is one short printable line."""
    if not 1 <= len(text) <= TEXT_LIMIT or not text.isprintable() or not text.strip():
        raise _bad(f"a transcript is one line of 1 to {TEXT_LIMIT} printable characters")
    return text


def clip_name(index: int) -> str:
    """Where the audio of reference ``index`` lies in the bundle."""
    return f"reference/{index}.wav"


def spec_name(index: int) -> str:
    """Where the spectrogram of reference ``index`` lies in the bundle."""
    return f"reference/{index}.safetensors"


def load_bundle(folder: Path) -> Bundle:
    """Load a voice for synthesis: every tensor is there, of the right shape and finite, and nothing else is.

    Raises BadCheckpointError when a file breaks a rule, NotFoundError when one is missing, and
    VoiceNotLoadableError for a version that this program cannot speak with yet. The files must not change
    while the bundle is in use.
    """
    voice = read_voice(folder)
    if voice.version not in SPOKEN_VERSIONS:
        raise VoiceNotLoadableError(
            f"this voice is of version {voice.version}; speaking with it comes later",
            hint=f"versions that can speak now: {' '.join(SPOKEN_VERSIONS)}",
        )
    sovits, gpt = _load(folder / SOVITS_NAME), _load(folder / GPT_NAME)
    shapes = {name: tuple(tensor.shape) for name, tensor in sovits.items()}
    architecture.check_sovits(shapes, voice.sovits, voice.version)
    architecture.check_gpt({name: tuple(tensor.shape) for name, tensor in gpt.items()}, voice.gpt)
    codes = check_pair(sovits, gpt, voice.version)
    bins = shapes["ref_enc.spectral.0.fc.weight"][1]
    spectrograms, speakers = [], []
    pro = voice.version in PRO_VERSIONS
    kinds = {SPECTROGRAM, SPEAKER} if pro else {SPECTROGRAM}
    for reference in voice.references:
        if max(reference.codes) >= codes:
            raise _bad(f"{reference.clip} has a code beyond the codebook's {codes}")
        tensors = _load(folder / reference.spec)
        if tensors.keys() != kinds:
            raise _bad(f"{reference.spec} does not hold exactly the tensors {' and '.join(sorted(kinds))}")
        spectrogram = tensors[SPECTROGRAM]
        if pro:
            wanted = shapes["sv_emb.weight"][1:]
            if tensors[SPEAKER].shape != wanted:
                found = list(tensors[SPEAKER].shape)
                raise _bad(f"{reference.spec} has a speaker vector of {found} instead of {list(wanted)}")
            speakers.append(tensors[SPEAKER])
        if spectrogram.ndim != 2 or spectrogram.shape[0] != bins:
            raise _bad(
                f"{reference.spec} has the shape {list(spectrogram.shape)} instead of [{bins}, frames]"
            )
        frames = spectrogram.shape[1]
        if not FRAMES_MIN <= frames <= FRAMES_MAX or abs(frames - reference.milliseconds // 20) > 2:
            raise _bad(f"{reference.spec} has {frames} frames, which does not fit its clip")
        spectrograms.append(spectrogram)
    return Bundle(voice, sovits, gpt, tuple(spectrograms), tuple(speakers), read_words(folder))


def check_bundle(
    folder: Path, progress: Callable[[str, float], None] = lambda stage, done: None
) -> dict[str, object]:
    """Check a bundle as :func:`load_bundle` does and tell what a manifest says about it."""
    progress("check", 0.0)
    bundle = load_bundle(folder)
    voice = bundle.voice
    progress("check", 1.0)
    bases = {role: base for role, base in msgspec.structs.asdict(voice.bases).items() if base}
    languages = {SPOKEN_AS.get(reference.lang, reference.lang) for reference in voice.references}
    return {
        "family": voice.family,
        "version": voice.version,
        "sample_rate": voice.sovits.sample_rate,
        "bases": bases,
        "languages": sorted(languages),
        "references": [{"lang": r.lang, "milliseconds": r.milliseconds} for r in voice.references],
        "parameters": sum(t.numel() for part in (bundle.sovits, bundle.gpt) for t in part.values()),
    }


def read_voice(folder: Path) -> VoiceFile:
    """Read ``voice.json`` of a bundle."""
    file = MappedFile(folder / VOICE_NAME)
    return decode_voice(file.bytes(0, min(file.size, VOICE_LIMIT + 1)))


def read_words(folder: Path) -> str:
    """The pronunciation dictionary of a bundle as text, with every reading checked; empty when it has none.

    Raises BadCheckpointError for one that is too long or that no voice can speak.
    """
    path = folder / pronunciation.VOICE_NAME
    if not path.exists():
        return ""
    file = MappedFile(path)
    try:
        text = pronunciation.text_of(
            file.bytes(0, min(file.size, pronunciation.VOICE_BYTES + 1)), size=pronunciation.VOICE_BYTES
        )
        pronunciation.parse(text, entries=pronunciation.VOICE_ENTRIES)
        of_texts(text, "")
    except UsageError as error:
        raise _bad(f"its {path.name}: {error.message}") from error
    return text


def check_pair(sovits: dict[str, torch.Tensor], gpt: dict[str, torch.Tensor], version: str) -> int:
    """Check that the two models speak of the same codes and symbols; return the number of codes."""
    codes = sovits["quantizer.vq.layers.0._codebook.embed"].shape[0]
    vocabulary = gpt["model.ar_predict_layer.weight"].shape[0]
    if vocabulary != codes + 1:
        raise _bad(
            f"the GPT knows {vocabulary - 1} codes, the SoVITS model {codes}",
            "give the two files of one voice",
        )
    rows = gpt["model.ar_text_embedding.word_embeddings.weight"].shape[0]
    if (architecture.GPT_SYMBOL_ROWS[rows] == "v1") != (version == "v1"):
        raise _bad(
            f"the GPT is of {architecture.GPT_SYMBOL_ROWS[rows]}, the SoVITS model of {version}",
            "give the two files of one voice",
        )
    return codes


def _load(path: Path) -> dict[str, torch.Tensor]:
    file = MappedFile(path)
    tensors = map_tensors(file, file_header(file))
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            raise _bad(f"{path.name}: {name!a} holds NaN or infinity")
    return tensors


def _bad(reason: str, hint: str = "") -> BadCheckpointError:
    return BadCheckpointError(
        f"this voice cannot be used: {reason}", hint=hint or "ask its author for a new release"
    )
