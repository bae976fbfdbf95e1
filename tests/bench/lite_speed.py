"""How fast the lite decoder is beside HiFi-GAN decoders, in one run on one thread: ``python lite_speed.py``.

Random weights, five seconds of latent, the best of some rounds; what is printed stands in specs/lite.md.
"""

import time
from collections.abc import Callable

import torch

from p2pvoice.sovits.lite.model import LiteVoice
from p2pvoice.sovits.sizes import LiteSettings, SoVitsSettings
from p2pvoice.sovits.vits import SoVits

SECONDS = 5
FRAMES = 50 * SECONDS
ROUNDS = 5
SMALL = SoVitsSettings(
    inter_channels=96, hidden_channels=128, gin_channels=128, mrte_channels=128, ref_bins=513,
    upsample_rates=(5, 4, 4, 4), upsample_kernels=(11, 8, 8, 8), upsample_initial=256,
    resblock_kernels=(3, 7), resblock_dilations=((1, 3), (1, 3, 5)),
    sample_rate=16_000, filter_length=1024, hop_length=320,
)  # fmt: skip
"""The voice that came with p2pvoice before the starter."""


def best(work: Callable[[], object]) -> float:
    """Seconds of the fastest round."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return min(taken)


def millions(part: torch.nn.Module) -> float:
    return sum(weights.numel() for weights in part.parameters()) / 1e6


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{'decoder':<26}{'Hz':>7}{'M':>7}{'CPU-s per s':>13}")
    lite = LiteVoice(LiteSettings()).eval()
    style = torch.zeros(1, lite.settings.gin_channels, 1)
    latent, white = torch.zeros(1, 82, FRAMES), torch.randn(1, FRAMES * 480)
    rows = [("lite", lite.dec, 24_000, best(lambda: lite.dec(latent, style, white)))]
    for name, settings in (
        ("HiFi-GAN, small", SMALL),
        ("HiFi-GAN, GPT-SoVITS v2", SoVitsSettings()),
    ):
        voice = SoVits(settings).eval().fold()
        z = torch.randn(1, settings.inter_channels, FRAMES)
        ge = torch.randn(1, settings.gin_channels, 1)
        rows.append((name, voice.dec, settings.sample_rate, best(lambda v=voice, z=z, ge=ge: v.dec(z, ge))))
    for name, part, rate, seconds in rows:
        print(f"{name:<26}{rate:>7}{millions(part):>7.2f}{seconds / SECONDS:>13.4f}")
    codes, phones = torch.zeros(1, FRAMES // 2, dtype=torch.long), torch.zeros(1, 60, dtype=torch.long)
    whole = best(lambda: lite.decode(codes, phones, style))
    print(f"{'lite, text encoder too':<26}{24_000:>7}{millions(lite):>7.2f}{whole / SECONDS:>13.4f}")


if __name__ == "__main__":
    main()
