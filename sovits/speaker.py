"""ERes2NetV2: a filter bank becomes a vector that says who speaks, as the Pro models want it.

What is taken is the network's map before its embedding layer, averaged over time: 2048 channels of 10 bands.
Needed by those who import a Pro voice or give it clips; a listener has the vectors in the bundle. Not for
comparing speakers: see measure. State-dict keys are the published ones. Shapes: B batch, C channels, F
bands, T frames. Follows specs/models.md.
"""

from dataclasses import dataclass
from typing import Any, Final, Self

import torch
from torch import Tensor, nn

from p2pvoice.protocol.errors import BadCheckpointError
from p2pvoice.sovits.filterbank import BANDS, filter_bank
from p2pvoice.sovits.layers import load_exactly
from p2pvoice.sovits.sizes import Config, Sizes, Tensors, shapes_of
from p2pvoice.sovits.weightless import weightless

CEILING: Final = 20.0
"""Rectifiers within blocks stop here."""
STAGES: Final = 4
FUSED_FROM: Final = 3
"""From this stage on the groups of a block are joined by attention instead of a sum."""
CHANNELS_LIMIT: Final = 8192
"""No convolution may have more channels; the published network's widest has 4096."""
UNUSED: Final = ("seg_1.", "num_batches_tracked")
"""In the published file, and not needed for the map: the embedding layer, and counts of training."""


@dataclass(frozen=True)
class SpeakerSettings:
    """Every size; the defaults are those of the published network (w24s4ep4)."""

    channels: int = 64
    """Of the first convolution; each stage doubles the width of the one before."""
    groups: int = 4
    """Parts into which a block's channels are cut."""
    width: int = 24
    """Channels of one part in the first stage."""
    outputs: int = 256
    """Channels that the first stage puts out."""
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    squeeze: int = 4
    """How many times narrower the attention is inside than what it joins."""

    @property
    def vector(self) -> int:
        """Numbers of one speaker vector."""
        bands = BANDS
        for _ in range(STAGES - 1):
            bands = (bands + 1) // 2
        return (self.outputs << (STAGES - 1)) * bands

    @classmethod
    def from_tensors(cls, tensors: Tensors, config: Config) -> Self:
        """Sizes of the network that ``tensors`` were saved from; the configuration tells nothing."""
        size = Sizes(shapes_of(tensors))
        inner = size("layer3.0.fuse_models.0.local_att.0.weight", 0)
        found = cls(
            channels=size("conv1.weight", 0),
            groups=size.count("layer1.0.convs."),
            width=size("layer1.0.convs.0.weight", 0),
            outputs=size("layer1.0.conv3.weight", 0),
            blocks=tuple(size.count(f"layer{stage}.") for stage in range(1, STAGES + 1)),
            squeeze=size("layer3.0.convs.0.weight", 0) // inner,
        )
        if not all(found.blocks) or found.groups < 1 or found.squeeze < 1:
            raise BadCheckpointError("impossible sizes of a speaker network: a stage without blocks")
        if max(found.outputs, found.width * found.groups) << (STAGES - 1) > CHANNELS_LIMIT:
            raise BadCheckpointError(f"a speaker network of more than {CHANNELS_LIMIT} channels")
        return found

    def to_config(self) -> dict[str, Any]:
        """What an installed base says beside its tensors: nothing, since they tell all."""
        return {}


def _capped(x: Tensor) -> Tensor:
    return x.clamp(0.0, CEILING)


class _Fusion(nn.Module):
    """Two maps weighed against each other, place by place."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        inner = channels // squeeze
        self.local_att = nn.Sequential(
            nn.Conv2d(2 * channels, inner, 1), nn.BatchNorm2d(inner), nn.SiLU(),
            nn.Conv2d(inner, channels, 1), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        share = self.local_att(torch.cat([x, y], dim=1)).tanh()
        return x * (1.0 + share) + y * (1.0 - share)


class _Block(nn.Module):
    """A residual block whose channels are cut into groups, each of which hears the one before."""

    def __init__(self, s: SpeakerSettings, stage: int, inputs: int, stride: int) -> None:
        super().__init__()
        width, outputs = s.width << (stage - 1), s.outputs << (stage - 1)
        self.conv1 = nn.Conv2d(inputs, width * s.groups, 1, stride=stride, bias=False)
        self.bn1 = nn.BatchNorm2d(width * s.groups)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(s.groups))
        self.bns = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(s.groups))
        if stage >= FUSED_FROM:
            self.fuse_models = nn.ModuleList(_Fusion(width, s.squeeze) for _ in range(s.groups - 1))
        self.conv3 = nn.Conv2d(width * s.groups, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.fused = stage >= FUSED_FROM

    def forward(self, x: Tensor) -> Tensor:
        groups = _capped(self.bn1(self.conv1(x))).chunk(len(self.convs), dim=1)
        heard: list[Tensor] = []
        for i, (group, conv, norm) in enumerate(zip(groups, self.convs, self.bns, strict=True)):
            if i:
                group = self.fuse_models[i - 1](heard[-1], group) if self.fused else heard[-1] + group
            heard.append(_capped(norm(conv(group))))
        return _capped(self.bn3(self.conv3(torch.cat(heard, dim=1))) + self.shortcut(x))


class SpeakerNetwork(nn.Module):
    """The network up to its map."""

    def __init__(self, settings: SpeakerSettings) -> None:
        super().__init__()
        s = self.settings = settings
        self.conv1 = nn.Conv2d(1, s.channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(s.channels)
        inputs = s.channels
        for stage in range(1, STAGES + 1):
            blocks = []
            for i in range(s.blocks[stage - 1]):
                blocks.append(_Block(s, stage, inputs, 2 if stage > 1 and i == 0 else 1))
                inputs = s.outputs << (stage - 1)
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.layer3_ds = nn.Conv2d(inputs // 2, inputs, 3, stride=2, padding=1, bias=False)
        self.fuse34 = _Fusion(inputs, s.squeeze)

    @classmethod
    def from_tensors(cls, tensors: Tensors, config: Config) -> Self:
        """Build the network that ``tensors`` were saved from, in float32 and ready to listen.

        What the published file has beyond the map is passed over. Raises BadCheckpointError.
        """
        wanted = needed(tensors)
        with weightless():
            model = cls(SpeakerSettings.from_tensors(wanted, config))
            counts = {k: v for k, v in model.state_dict().items() if k.endswith(UNUSED[1])}
        device = next(iter(wanted.values())).device
        load_exactly(model, wanted | {k: torch.zeros_like(v, device=device) for k, v in counts.items()})
        return model.eval()

    def forward(self, energies: Tensor) -> Tensor:
        """Filter bank [B, T, BANDS] -> speaker vectors [B, vector]."""
        x = self.bn1(self.conv1(energies.mT.unsqueeze(1))).relu()  # [B, C, F, T]
        maps = []
        for stage in range(1, STAGES + 1):
            x = getattr(self, f"layer{stage}")(x)
            maps.append(x)
        joined = self.fuse34(maps[-1], self.layer3_ds(maps[-2]))
        return joined.flatten(1, 2).mean(-1)

    @torch.inference_mode()
    def vector(self, speech: Tensor) -> Tensor:
        """Speech [N] at 16 kHz -> the speaker vector [vector]."""
        return self(filter_bank(speech)[None])[0]


def needed(tensors: Tensors) -> dict[str, Tensor]:
    """The tensors that the map needs."""
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not name.startswith(UNUSED[0]) and not name.endswith(UNUSED[1])
    }
