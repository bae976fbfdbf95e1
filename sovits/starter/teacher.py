"""The teacher: an openly licensed English synthesiser driven sound by sound, with the timing under our
control.

hibari-tts (Apache-2.0) predicts, for a string of IPA tokens, a duration for each token and then, for
every frame, an F0 value and filter envelopes. This module splits that network at its durations, so that
the corpus can set them (every sound lasts a whole number of code steps), can average the envelopes of two
token strings (a front rounded vowel is between two English vowels) and can set the pitch curve (lexical
tones). It then synthesises at 16 kHz. It knows nothing of texts or codes. Follows specs/bootstrap-
voice.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
FRAME = 160
"""Samples of one teacher frame as we play it: 10 ms."""
FFT = 800
"""The teacher's spectra have 20 Hz a bin, so at 16 kHz a frame is this long."""
BINS = FFT // 2 + 1
UNITS_PER_SECOND = 40
"""Rate of the teacher's own durations."""
FRAMES_PER_UNIT = 2
DURATIONS = "/Clip_output_0"
"""Name of the duration tensor inside the published graph."""
VOICED_ABOVE = 40.0
PAD = 0

Curve = NDArray[np.float32]


@dataclass(frozen=True)
class Frames:
    """What the network says of an utterance: one row of each envelope, and one F0 value, a frame."""

    harmonic: Curve
    rotation: Curve
    noise: Curve
    free: Curve
    free_phase: Curve
    f0: Curve

    def mixed(self, other: "Frames", share: Curve) -> "Frames":
        """Between this and ``other``; ``share`` is the other one's part in each frame."""

        def between(a: Curve, b: Curve) -> Curve:
            return (a * (1 - share[:, None]) + b * share[:, None]).astype(np.float32)

        return Frames(
            between(self.harmonic, other.harmonic),
            np.where(share[:, None] > 0.5, other.rotation, self.rotation),
            between(self.noise, other.noise),
            between(self.free, other.free),
            self.free_phase,
            self.f0,
        )


class Teacher:
    """The two halves of the network, before and after its durations."""

    def __init__(self, model: Path | None = None):
        import json

        import hibari
        import onnx
        import onnxruntime

        assets = Path(hibari.__file__).parent / "assets"
        self.vocabulary: dict[str, int] = json.loads((assets / "vocab.json").read_text("utf-8"))
        graph = onnx.load(str(model or assets / "hibari.onnx"))
        before = onnx.ModelProto()
        before.CopyFrom(graph)
        before.graph.output.append(onnx.helper.make_empty_tensor_value_info(DURATIONS))
        clip = next(node for node in graph.graph.node if DURATIONS in node.output)
        graph.graph.node.remove(clip)
        shape = ["tokens"]
        graph.graph.input.append(onnx.helper.make_tensor_value_info(DURATIONS, onnx.TensorProto.FLOAT, shape))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3

        def session(part: onnx.ModelProto) -> onnxruntime.InferenceSession:
            return onnxruntime.InferenceSession(
                part.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )

        self._before, self._after = session(before), session(graph)
        self._inputs = {value.name for value in self._after.get_inputs()}

    def ids(self, tokens: Sequence[str]) -> NDArray[np.int64]:
        """Token numbers between the two pads that the network expects."""
        return np.array([[PAD, *(self.vocabulary[token] for token in tokens), PAD]], np.int64)

    def durations(self, tokens: Sequence[str]) -> NDArray[np.float32]:
        """Seconds of each token, the two pads included."""
        feeds = {"ids": self.ids(tokens), "speed": np.ones(1, np.float32)}
        units = self._before.run([DURATIONS], feeds)[0]
        return np.asarray(units, np.float32).ravel() / UNITS_PER_SECOND

    def frames(self, tokens: Sequence[str], units: Sequence[int]) -> Frames:
        """The envelopes when each token (pads included) lasts ``units``."""
        feeds = {
            "ids": self.ids(tokens),
            "speed": np.ones(1, np.float32),
            DURATIONS: np.asarray(units, np.float32),
        }
        out = self._after.run(None, {name: value for name, value in feeds.items() if name in self._inputs})
        harmonic, rotation, noise, free, free_phase = (value[0].T[:, :BINS] for value in out[:5])
        return Frames(harmonic, rotation, noise, free, free_phase, out[5][0].ravel())


def pulses(f0: Curve) -> Curve:
    """A train of all cosines below 7.8 kHz over the F0 curve; silent where a frame is unvoiced."""
    at = (np.arange(len(f0) * FRAME) + 0.5) / FRAME - 0.5
    voiced = np.repeat(f0 > VOICED_ABOVE, FRAME)
    held = f0.copy()
    known = np.flatnonzero(f0 > VOICED_ABOVE)
    if not len(known):
        return np.zeros(len(at), np.float32)
    held = np.interp(np.arange(len(f0)), known, f0[known])
    pitch = np.interp(at, np.arange(len(f0)), held)
    phase = np.cumsum(pitch / SAMPLE_RATE) % 1.0 * 2 * np.pi
    count = np.floor(7800 / pitch)
    half = 2 * np.sin(phase / 2)
    near = np.abs(half) < 2e-3
    train = np.where(near, 2 * count + 1, np.sin((count + 0.5) * phase) * 2 / np.where(near, 1, half)) / 2
    return ((train - 0.5) * voiced).astype(np.float32)


def render(frames: Frames, f0: Curve, random: np.random.Generator) -> Curve:
    """Waveform at 16 kHz: filtered pulses, shaped noise and the free part, overlap-added."""
    count = len(f0)
    window = np.hanning(FFT + 1)[:FFT].astype(np.float32)
    source = np.pad(pulses(f0), FFT // 2)
    cut = np.lib.stride_tricks.sliding_window_view(source, FFT)[::FRAME][:count] * window
    turn = np.exp(1j * np.pi * np.tanh(frames.rotation))
    spectrum = np.fft.rfft(cut / (FFT / 4)) * np.exp(np.minimum(frames.harmonic, 7)) * turn * (2 / 3)
    shape = (count, BINS)
    noise = random.standard_normal(shape) + 1j * random.standard_normal(shape)
    spectrum += noise * np.exp(np.minimum(frames.noise, 7)) * np.sqrt(2 / 3)
    spectrum += np.exp(np.minimum(frames.free, 7)) * np.exp(1j * frames.free_phase) * (2 / 3)
    pieces = np.fft.irfft(spectrum, FFT) * window
    overlap = FFT // FRAME
    audio = np.zeros((count + overlap - 1, FRAME))
    weight = np.zeros((count + overlap - 1, FRAME))
    for part in range(overlap):
        audio[part : part + count] += pieces[:, part * FRAME : (part + 1) * FRAME]
        weight[part : part + count] += window[part * FRAME : (part + 1) * FRAME] ** 2
    half = FFT // 2
    flat = (audio / np.maximum(weight, 1e-3)).reshape(-1)
    return flat[half : half + count * FRAME].astype(np.float32)
