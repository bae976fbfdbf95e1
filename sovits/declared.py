"""The few numbers that a model's tensors do not tell: heads, rates, dilations, audio parameters.

For: the bounds of these numbers, wherever they come from (a checkpoint's config, or ``voice.json``). Not for:
sizes, which always come from the tensors. Follows specs/bundle.md.
"""

from math import prod

import msgspec

from p2pvoice.protocol.errors import BadCheckpointError

#: Attention heads of one layer.
HEADS_LIMIT = 64
#: Upsampling stages of the generator, kernels of its residual blocks, dilations of one block.
STAGES_LIMIT = 8
#: One upsampling rate.
RATE_LIMIT = 32
#: One kernel's width, one dilation.
KERNEL_LIMIT = 64
#: Samples a second of the speech that comes out.
SAMPLE_RATES = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
#: Frames a second of the spectrogram and of the latent: twice the rate of the codes.
FRAME_RATE = 50
#: Samples of one spectrogram window.
FILTER_LIMIT = 4096

#: The version of the family whose decoder drives a synthesiser: see specs/lite.md.
LITE = "lite"
#: Its sample rate, and its analysis: window, hop and window again.
LITE_AUDIO = (24_000, 1024, 480, 1024)


class SovitsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the SoVITS decoder needs beside its tensors. Lengths count samples at ``sample_rate``."""

    heads: int
    upsample_rates: tuple[int, ...]
    upsample_kernels: tuple[int, ...]
    resblock_kernels: tuple[int, ...]
    resblock_dilations: tuple[tuple[int, ...], ...]
    sample_rate: int
    filter_length: int
    hop_length: int
    win_length: int

    def to_config(self) -> dict[str, dict[str, object]]:
        """These settings in the words of upstream's config."""
        return {
            "data": {
                "sampling_rate": self.sample_rate,
                "filter_length": self.filter_length,
                "hop_length": self.hop_length,
                "win_length": self.win_length,
            },
            "model": {
                "n_heads": self.heads,
                "upsample_rates": list(self.upsample_rates),
                "upsample_kernel_sizes": list(self.upsample_kernels),
                "resblock": "1",
                "resblock_kernel_sizes": list(self.resblock_kernels),
                "resblock_dilation_sizes": [list(group) for group in self.resblock_dilations],
                "semantic_frame_rate": "25hz",
            },
        }


class GptSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the GPT needs beside its tensors."""

    heads: int

    def to_config(self) -> dict[str, dict[str, object]]:
        """These settings in the words of upstream's config."""
        return {"model": {"head": self.heads}}


def check_sovits(settings: SovitsSettings, version: str = "v2") -> SovitsSettings:
    """Return ``settings`` if every number is within bounds and they agree with each other."""
    _within("heads", settings.heads, 1, HEADS_LIMIT)
    if version == LITE:
        # Its decoder does not up-sample, and its analysis is part of the architecture.
        if settings != lite_settings(settings.heads):
            raise _bad("a lite voice has no up-sampling stages and one fixed analysis")
        return settings
    stages = len(settings.upsample_rates)
    _within("number of upsampling rates", stages, 1, STAGES_LIMIT)
    if len(settings.upsample_kernels) != stages:
        raise _bad("upsampling rates and kernels differ in number")
    for rate, kernel in zip(settings.upsample_rates, settings.upsample_kernels, strict=True):
        _within("upsampling rate", rate, 1, RATE_LIMIT)
        _within("upsampling kernel", kernel, rate, KERNEL_LIMIT)
        if (kernel - rate) % 2:
            raise _bad(f"an upsampling kernel of {kernel} does not fit the rate {rate}")
    blocks = len(settings.resblock_kernels)
    _within("number of residual blocks", blocks, 1, STAGES_LIMIT)
    if len(settings.resblock_dilations) != blocks:
        raise _bad("residual kernels and dilations differ in number")
    for kernel, dilations in zip(settings.resblock_kernels, settings.resblock_dilations, strict=True):
        _within("residual kernel", kernel, 1, KERNEL_LIMIT)
        _within("number of dilations", len(dilations), 1, STAGES_LIMIT)
        for dilation in dilations:
            _within("dilation", dilation, 1, KERNEL_LIMIT)
        if kernel % 2 == 0:
            raise _bad(f"a residual kernel of {kernel} is even")
    if settings.sample_rate not in SAMPLE_RATES:
        raise _bad(f"the sample rate {settings.sample_rate} is not one of {SAMPLE_RATES}")
    _within("filter length", settings.filter_length, 64, FILTER_LIMIT)
    _within("window length", settings.win_length, 1, settings.filter_length)
    _within("hop length", settings.hop_length, 1, settings.win_length)
    if prod(settings.upsample_rates) != settings.hop_length:
        raise _bad(f"the upsampling rates do not multiply to the hop length {settings.hop_length}")
    if settings.hop_length * FRAME_RATE != settings.sample_rate:
        raise _bad(f"the hop length {settings.hop_length} does not give {FRAME_RATE} frames a second")
    return settings


def lite_settings(heads: int) -> SovitsSettings:
    """The settings of a lite voice, which may choose nothing but its heads."""
    return SovitsSettings(heads, (), (), (), (), *LITE_AUDIO)


def check_gpt(settings: GptSettings) -> GptSettings:
    """Return ``settings`` if every number is within bounds."""
    _within("heads", settings.heads, 1, HEADS_LIMIT)
    return settings


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise _bad(f"{name} {str(value)[:24]} is not between {low} and {high}")


def _bad(reason: str) -> BadCheckpointError:
    return BadCheckpointError(f"the model's settings cannot be right: {reason}")
