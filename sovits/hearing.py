"""What a voice hears in a clip: codes to prompt its GPT with and an analysis that gives its style.

One interface over the families: a GPT-SoVITS voice listens with HuBERT and its own codebook, a lite voice
with the family's content encoder, to which the transcript tells the sounds. Used when a voice is imported,
trained and given references; a listener of a release needs none of it. Follows specs/reference-audio.md and
specs/lite.md.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from p2pvoice.protocol.errors import VoiceNotLoadableError
from p2pvoice.sovits import audio, hubert, reference, text
from p2pvoice.sovits.audio import Samples
from p2pvoice.sovits.bases import SPEAKER, Bases
from p2pvoice.sovits.declared import LITE
from p2pvoice.sovits.lite import analysis
from p2pvoice.sovits.lite.codebook import codebook
from p2pvoice.sovits.measure import pitch
from p2pvoice.sovits.reference import EncodedClip
from p2pvoice.sovits.sizes import Tensors
from p2pvoice.sovits.speaker import SpeakerNetwork
from p2pvoice.sovits.vits import CODEBOOK, SoVits

if TYPE_CHECKING:
    from p2pvoice.sovits.lite.content import ContentEncoder


class Listener(Protocol):
    """How one voice hears. ``said`` is the transcript of what is heard, in the language ``lang``."""

    def codes(self, samples: Samples, rate: int, said: str, lang: str) -> NDArray[np.int64]:
        """Semantic codes of a clip, 25 a second. Raises UsageError when clip and text do not fit."""

    def pitch(self, samples: Samples, rate: int) -> NDArray[np.float32] | None:
        """Pitch in hertz at 100 a second, 0 where unvoiced; None for a voice that does not learn from it."""

    def clip(self, samples: Samples, rate: int, said: str, lang: str) -> EncodedClip:
        """What is kept of a reference clip. Raises UsageError for one that does not last 3 to 10 s."""


def listener(
    version: str,
    tensors: Tensors,
    config: Mapping[str, Any],
    content: str,
    bases: Bases,
    speaker: str | None = None,
) -> Listener:
    """How the voice of these SoVITS tensors hears.

    ``content`` and ``speaker`` name its networks; a Pro voice that names no speaker network uses the
    published one. Raises NotFoundError when one is not installed.
    """
    if version == LITE:
        return LiteListener(tensors, bases.content(content))
    sovits = SoVits.from_tensors(tensors, config)
    network = bases.speaker(speaker or SPEAKER) if sovits.settings.speaker_dim else None
    return SovitsListener(bases.hubert(content), sovits, network)


class SovitsListener:
    """HuBERT and the voice's own codebook, for Pro the speaker network; the transcript is not used."""

    def __init__(self, encoder: hubert.Hubert, sovits: SoVits, speaker: SpeakerNetwork | None = None) -> None:
        self.encoder, self.sovits, self.speaker = encoder, sovits, speaker

    @torch.inference_mode()
    def codes(self, samples: Samples, rate: int, said: str, lang: str) -> NDArray[np.int64]:
        speech = audio.resample_soxr(samples, rate, hubert.SAMPLE_RATE)
        return reference.prompt_codes(speech, self.encoder, self.sovits).numpy()

    def pitch(self, samples: Samples, rate: int) -> NDArray[np.float32] | None:
        return None

    def clip(self, samples: Samples, rate: int, said: str, lang: str) -> EncodedClip:
        return reference.encode_samples(samples, rate, self.encoder, self.sovits, self.speaker)


class LiteListener:
    """The family's content encoder, aligned to the sounds of the transcript, and a pitch tracker."""

    def __init__(self, tensors: Tensors, encoder: "ContentEncoder") -> None:
        self.encoder = encoder
        # The codes are the family's table: a voice that was trained on others cannot be prompted with these.
        if tensors[CODEBOOK + "embed"].shape != codebook().shape:
            raise VoiceNotLoadableError(
                "this voice's codes are not those of the lite family", hint="import it with its own program"
            )

    @torch.inference_mode()
    def codes(self, samples: Samples, rate: int, said: str, lang: str) -> NDArray[np.int64]:
        from p2pvoice.sovits.lite import align

        phones = text.phonemize(said, lang, LITE).ids
        return np.asarray(align.codes_of(self.encoder, samples, rate, phones, self.pitch(samples, rate)))

    def pitch(self, samples: Samples, rate: int) -> NDArray[np.float32]:
        return np.asarray(pitch.track(samples, rate), np.float32)

    def clip(self, samples: Samples, rate: int, said: str, lang: str) -> EncodedClip:
        speech = audio.tame_peak(audio.resample_soxr(samples, rate, analysis.SAMPLE_RATE))
        seconds = len(speech) / analysis.SAMPLE_RATE
        reference.check_seconds(seconds)
        heard = analysis.analyse(speech, self.pitch(speech, analysis.SAMPLE_RATE))
        codes = torch.from_numpy(self.codes(speech, analysis.SAMPLE_RATE, said, lang))
        return EncodedClip(codes, heard, seconds)
