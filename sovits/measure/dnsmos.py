"""How clean a recording sounds, as the network DNSMOS P.835 guesses people would say.

Reddy, Gopal, Cutler, "DNSMOS P.835" (2022). The networks are the published ones in the package speechmos, run
here with onnxruntime. They were trained on noise suppressors: an estimate of noise and distortion, not of how
natural a voice is, which is why no figure of theirs is called a MOS here. Follows specs/measurement.md.
"""

from functools import cache
from typing import Any, Final

import numpy as np
import soxr
from numpy.typing import NDArray

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits.measure.extra import missing, package_file
from p2pvoice.sovits.measure.mel import mel_power

Samples = NDArray[np.float32]

SECONDS_LIMIT: Final = 1200.0
"""Longest recording that is judged at once; checked before memory is taken."""
WINDOWS: Final = 8
"""Most windows that are heard of one recording, evenly spaced: each costs a few tenths of a CPU-second."""

_RATE = 16_000
_SAMPLES = int(9.01 * _RATE)
"""What the networks hear at once; shorter recordings are repeated until they fill it."""
_POLYNOMIALS = {
    "dnsmos_sig": (-0.08397278, 1.22083953, 0.0052439),
    "dnsmos_bak": (-0.13166888, 1.60915514, -0.39604546),
    "dnsmos_ovrl": (-0.06766283, 1.11546468, 0.04602535),
}
"""The published maps from what the network says to the scale of 1 to 5, highest power first."""


def ovrl(audio: Samples, rate: int) -> dict[str, float]:
    """Mono ``audio`` [n] -> ``dnsmos_ovrl``, ``dnsmos_sig``, ``dnsmos_bak`` and ``dnsmos_p808``, 1 to 5.

    Raises UsageError when the extra is missing, or for audio that is empty or too long.
    """
    if np.ndim(audio) != 1 or rate < 4000 or len(audio) < rate // 10:
        raise UsageError("DNSMOS needs at least 0.1 s of one channel")
    if len(audio) > SECONDS_LIMIT * rate:
        raise UsageError(f"the recording lasts more than {SECONDS_LIMIT:g} s", hint="cut it into pieces")
    primary, second = _sessions()
    sound = np.nan_to_num(np.asarray(audio, np.float32))
    if rate != _RATE:
        sound = np.asarray(soxr.resample(sound, rate, _RATE, quality="HQ"), np.float32)
    sound = np.clip(sound, -1.0, 1.0)
    while len(sound) < _SAMPLES:
        sound = np.concatenate([sound, sound])
    heard: list[dict[str, float]] = []
    for start in _starts(len(sound)):
        window = sound[start : start + _SAMPLES]
        raw = primary.run(None, {"input_1": window[None]})[0][0]
        said = {
            name: float(np.polyval(powers, value))
            for (name, powers), value in zip(_POLYNOMIALS.items(), raw, strict=True)
        }
        said["dnsmos_p808"] = float(second.run(None, {"input_1": _decibels(window)})[0][0][0])
        heard.append(said)
    return {name: float(np.mean([said[name] for said in heard])) for name in heard[0]}


def _starts(samples: int) -> list[int]:
    """One window a second as published; where that makes too many, some that are spread over all."""
    count = int(samples // _RATE - 9.01) + 1
    if count <= WINDOWS:
        return [start * _RATE for start in range(count) if start * _RATE + _SAMPLES <= samples]
    return [int(start) for start in np.linspace(0, samples - _SAMPLES, WINDOWS)]


def _decibels(window: Samples) -> NDArray[np.float32]:
    """The second network's input [1, frames, 120]: decibels under the loudest band, 80 at most, scaled."""
    power = np.maximum(mel_power(window[:-160], _RATE, 321, 160, 120), 1e-10)
    levels = 10 * np.log10(power / power.max())
    return np.asarray((np.maximum(levels, -80.0) + 40) / 40, np.float32)[None]


@cache
def _sessions() -> tuple[Any, Any]:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing("estimating quality (DNSMOS)") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    paths = [
        package_file("speechmos", f"dnsmos_models/{name}.onnx", "estimating quality (DNSMOS)")
        for name in ("sig_bak_ovr", "model_v8")
    ]
    primary, second = (
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]) for path in paths
    )
    return primary, second
