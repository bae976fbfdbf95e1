"""Turns two upstream files and a reference clip into the bundle of a voice.

For: ``p2pvoice import``. The checkpoints are read without unpickling, converted to safetensors (the same
files always give the same bytes), and what a listener needs of the clip is computed once. Not for: previews,
names and signatures, which are the node's business. Follows specs/bundle.md.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import soundfile

from p2pvoice.protocol.errors import BadCheckpointError, ConflictError, NotFoundError, UsageError

from . import voicefile
from .audio import Samples, read_clip
from .bases import SPEAKER, Bases
from .checkpoint import METADATA_KEY, Checkpoint, read_checkpoint
from .declared import GptSettings, SovitsSettings
from .hearing import listener
from .reference import EncodedClip
from .tensorfile import write_half
from .text import phonemize
from .voicefile import LANGUAGES, SPOKEN_VERSIONS, BaseIds, Reference, VoiceFile

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Clip:
    """A reference clip with its transcript and what was computed of it."""

    samples: Samples
    rate: int
    text: str
    lang: str
    encoded: EncodedClip


@dataclass(frozen=True)
class Recording:
    """A reference as its owner brings it: a sound file, what is said in it, and in which language."""

    path: Path
    text: str
    lang: str


def import_voice(
    sovits: Path,
    gpt: Path,
    clip: Path,
    text: str,
    lang: str,
    out: Path,
    bases: Bases,
    progress: Progress = lambda stage, done: None,
    more: Sequence[Recording] = (),
) -> VoiceFile:
    """Write the bundle of a voice to the new folder ``out``; nothing is written when anything is refused.

    ``lang`` is the language of the transcript ``text``; ``more`` are further references. ``progress`` is
    called with a stage and how much of it is done (0 to 1); an exception it raises stops the import. Raises
    UnsafeFileError or BadCheckpointError for the weight files, UsageError for clip, transcript or language,
    NotFoundError for a missing file or base.
    """
    progress("read", 0.0)
    brought = [_checked(one) for one in (Recording(clip, text, lang), *more)]
    if len(brought) > voicefile.REFERENCES_LIMIT:
        raise UsageError(
            f"{len(brought)} references; a voice has at most {voicefile.REFERENCES_LIMIT}",
            hint="give the best of them",
        )
    s2, s1 = read_pair(sovits, gpt)
    for one in brought:
        phonemize(one.text, one.lang, s2.version)
    progress("read", 1.0)
    progress("listen", 0.0)
    heard_by = listener(s2.version, s2.tensors, s2.config, s2.content_encoder, bases)
    clips = []
    for index, one in enumerate(brought):
        samples, rate = read_clip(one.path)
        progress("listen", max(0.3, index / len(brought)))
        encoded = heard_by.clip(samples, rate, one.text, one.lang)
        clips.append(Clip(samples, rate, one.text, one.lang, encoded))
    progress("listen", 1.0)
    return write_bundle(out, s2, s1, clips, progress)


def _checked(brought: Recording) -> Recording:
    """A reference whose transcript may stand in a bundle, with its spaces in order."""
    text, lang = " ".join(brought.text.split()), brought.lang
    if lang not in LANGUAGES:
        raise UsageError(
            f"{lang[:20]!a} is no language of a transcript", hint=f"languages: {' '.join(LANGUAGES)}"
        )
    if not text or len(text) > voicefile.TEXT_LIMIT or not text.isprintable():
        raise UsageError(
            f"a transcript is 1 to {voicefile.TEXT_LIMIT} printable characters",
            hint="give what the clip says",
        )
    return Recording(brought.path, text, lang)


def read_pair(sovits: Path, gpt: Path) -> tuple[Checkpoint, Checkpoint]:
    """Read the two weight files of one voice and check that they can be spoken with and fit each other."""
    s2, s1 = read_checkpoint(sovits), read_checkpoint(gpt)
    if (s2.part, s1.part) == ("s1", "s2"):
        s2, s1 = s1, s2
    if (s2.part, s1.part) != ("s2", "s1"):
        kind = "SoVITS" if s2.part == "s2" else "GPT"
        raise UsageError(
            f"both weight files are {kind} files", hint="give one .pth (SoVITS) and one .ckpt (GPT) file"
        )
    if s2.lora_rank is not None:
        raise BadCheckpointError(
            f"this is a LoRA of a {s2.version} voice; importing it comes later",
            hint="wait for a newer p2pvoice; versions that can be imported now: " + " ".join(SPOKEN_VERSIONS),
        )
    if s2.version not in SPOKEN_VERSIONS:
        raise BadCheckpointError(
            f"this is a voice of version {s2.version}; importing it comes later",
            hint=f"versions that can be imported now: {' '.join(SPOKEN_VERSIONS)}",
        )
    voicefile.check_pair(s2.tensors, s1.tensors, s2.version)
    return s2, s1


def write_bundle(
    out: Path,
    s2: Checkpoint,
    s1: Checkpoint,
    clips: Sequence[Clip],
    progress: Progress = lambda stage, done: None,
) -> VoiceFile:
    """Write a bundle of checked weights and encoded clips to the new folder ``out``, whole or not at all."""
    assert isinstance(s2.settings, SovitsSettings)
    assert isinstance(s1.settings, GptSettings)
    references = _references(clips)
    # Some voices are made without BERT: their projection is zero, so its features would change nothing.
    bert = "bert" if bool(s1.tensors["model.bert_proj.weight"].any()) else None
    speaker = SPEAKER if s2.version in voicefile.PRO_VERSIONS else None
    voice = voicefile.check_voice(
        VoiceFile(
            family=voicefile.FAMILY,
            version=s2.version,
            sovits=s2.settings,
            gpt=s1.settings,
            bases=BaseIds(content=s2.content_encoder, bert=bert, speaker=speaker),
            references=references,
        )
    )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConflictError(f"{out.name!a} is not empty", hint="give a new folder")
    if not out.parent.is_dir():
        raise NotFoundError(f"there is no folder {str(out.parent)!a}", hint="make it first")
    growing = out.parent / f".{out.name}.growing"
    shutil.rmtree(growing, ignore_errors=True)
    try:
        (growing / "reference").mkdir(parents=True)
        progress("convert", 0.0)
        write_half(growing / voicefile.SOVITS_NAME, s2.tensors, _note(voice.sovits_config()))
        progress("convert", 0.4)
        write_half(growing / voicefile.GPT_NAME, s1.tensors, _note(voice.gpt_config()))
        _write_clips(growing, references, clips)
        (growing / voicefile.VOICE_NAME).write_bytes(voicefile.encode_voice(voice))
        progress("convert", 0.9)
        if out.exists():
            out.rmdir()
        growing.rename(out)
    finally:
        shutil.rmtree(growing, ignore_errors=True)
    progress("convert", 1.0)
    return voice


def write_references(out: Path, voice: VoiceFile, clips: Sequence[Clip]) -> VoiceFile:
    """Write ``voice.json`` and the references of a voice that is given other clips to the new folder ``out``.

    The weight files of its bundle stay as they are, so they are not written again.
    """
    changed = voicefile.check_voice(msgspec.structs.replace(voice, references=_references(clips)))
    (out / "reference").mkdir(parents=True)
    _write_clips(out, changed.references, clips)
    (out / voicefile.VOICE_NAME).write_bytes(voicefile.encode_voice(changed))
    return changed


def _references(clips: Sequence[Clip]) -> tuple[Reference, ...]:
    """What ``voice.json`` says of these clips."""
    return tuple(
        Reference(
            clip=voicefile.clip_name(index),
            text=clip.text,
            lang=clip.lang,
            milliseconds=int(clip.encoded.seconds * 1000),
            codes=tuple(int(code) for code in clip.encoded.codes),
            spec=voicefile.spec_name(index),
        )
        for index, clip in enumerate(clips)
    )


def _write_clips(folder: Path, references: Sequence[Reference], clips: Sequence[Clip]) -> None:
    for reference, clip in zip(references, clips, strict=True):
        heard = {voicefile.SPECTROGRAM: clip.encoded.spectrogram}
        if clip.encoded.speaker is not None:
            heard[voicefile.SPEAKER] = clip.encoded.speaker
        write_half(folder / reference.spec, heard, {})
        # The clip is written anew, so that nothing of the original file but its sound travels.
        soundfile.write(folder / reference.clip, clip.samples, clip.rate, format="WAV", subtype="PCM_16")


def _note(config: Mapping[str, object]) -> dict[str, str]:
    """A safetensors file's metadata: enough to import the file again by itself."""
    return {METADATA_KEY: json.dumps(config, sort_keys=True, separators=(",", ":"))}
