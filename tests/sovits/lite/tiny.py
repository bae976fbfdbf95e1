"""A lite voice of a few thousand weights, as files that are imported like any other voice's."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import soundfile
import torch

from p2pvoice.sovits import bases
from p2pvoice.sovits.gpt import Text2Semantic
from p2pvoice.sovits.lite import units
from p2pvoice.sovits.lite.codebook import WIDTH, codebook
from p2pvoice.sovits.lite.content import ContentEncoder, ContentSettings
from p2pvoice.sovits.lite.model import LiteVoice
from p2pvoice.sovits.lite.sounds import sounds_of
from p2pvoice.sovits.sizes import GptSettings, LiteSettings
from p2pvoice.sovits.symbols import SYMBOLS
from p2pvoice.sovits.text import phonemize

SETTINGS = LiteSettings(
    ssl_dim=WIDTH, encoder_channels=8, encoder_hidden=12, text_hidden=10, code_blocks=2, frame_blocks=1,
    gin_channels=8, style_channels=8, decoder_channels=12, decoder_hidden=16, decoder_blocks=3,
)  # fmt: skip
GPT = GptSettings(width=16, heads=2, layers=1, feed_forward=16)
SAID = "We walked along the river this morning."
RATE = 24_000


def voice(seed: int = 0) -> LiteVoice:
    """The network with random weights and the family's codebook."""
    torch.manual_seed(seed)
    made = LiteVoice(SETTINGS)
    made.quantizer.embed.copy_(torch.from_numpy(codebook()))
    return made.eval()


def speech(seconds: float, hertz: float = 150.0, seed: int = 0) -> np.ndarray:
    """A buzz that comes and goes, with some noise in it."""
    rnd = np.random.default_rng(seed)
    at = np.arange(round(seconds * RATE)) / RATE
    f0 = hertz * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * at))
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    buzz = sum(np.sin(k * phase) / k for k in range(1, 12)) * (np.sin(2 * np.pi * 1.3 * at) > -0.5)
    return (0.15 * buzz + 0.01 * rnd.standard_normal(len(at))).astype(np.float32)


def content() -> ContentEncoder:
    """An encoder that hears the sounds of SAID in everything."""
    torch.manual_seed(1)
    made = ContentEncoder(ContentSettings(width=8, hidden=8, blocks=1))
    phones = [SYMBOLS["v2"][row] for row in phonemize(SAID, "en").ids]
    heard = {sound.name for sounds in sounds_of(phones) for sound in sounds}
    with torch.no_grad():
        made.head.weight.zero_()
        made.head.bias.copy_(torch.tensor([5.0 if name in heard else 0.0 for name in units.NAMES]))
    return made.eval()


def files(folder: Path) -> tuple[Path, Path, Path, bases.Bases]:
    """The weights as .pth and .ckpt, a reference clip, and the installed content encoder."""
    encoder = content()
    base = bases.write("content", encoder.state_dict(), encoder.settings.to_config(), folder / "bases" / "x")
    torch.manual_seed(2)
    gpt = Text2Semantic(GPT).published_state()
    gpt["model.bert_proj.weight"] = torch.zeros_like(gpt["model.bert_proj.weight"])
    config = {**SETTINGS.to_config(), "version": "lite", "content_module": bases.content_id(base)}
    for name, weight, said in (
        ("x.pth", voice().published_state(), config),
        ("x.ckpt", gpt, GPT.to_config()),
    ):
        halves = OrderedDict((key, value.half().contiguous()) for key, value in weight.items())
        torch.save(OrderedDict(weight=halves, config=said, info="tiny"), folder / name)
    soundfile.write(folder / "clip.wav", speech(4.0), RATE)
    return folder / "x.pth", folder / "x.ckpt", folder / "clip.wav", bases.Bases([folder / "bases"])
