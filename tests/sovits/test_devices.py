"""Every network computes where it was put, whatever device that is.

The meta device has no numbers but refuses, as a graphics device does, to mix with tensors that lie
elsewhere. So this is tried on machines that have no graphics device at all.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from p2pvoice.sovits.bert import Bert, BertSettings
from p2pvoice.sovits.gpt import Text2Semantic
from p2pvoice.sovits.hubert import Hubert
from p2pvoice.sovits.sizes import GptSettings
from p2pvoice.sovits.speaker import SpeakerNetwork
from p2pvoice.sovits.vits import SoVits

from . import test_hubert, test_speaker, test_vits

GPT = GptSettings(phone_vocab=30, vocab=21, width=16, heads=2, layers=2, feed_forward=32, bert_dim=8)
BERT = BertSettings(vocab=20, width=16, heads=2, layers=1, feed_forward=32, positions=32)


def numbers(*shape: int) -> Tensor:
    return torch.zeros(shape, device="meta")


def whole(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.long, device="meta")


def gpt(half: bool = False) -> Tensor:
    model = Text2Semantic(GPT).to("meta")
    if half:
        model.half()
    _, cache = model.prefill(whole(1, 6), numbers(1, 8, 6), whole(1, 5), room=2)
    assert cache.keys.dtype == (torch.float16 if half else torch.float32)
    return model.step(3, cache)


def sovits() -> Tensor:
    model = SoVits(test_vits.SMALL).fold().to("meta")
    model.extract_codes(numbers(1, 24, 20))
    return model.decode(whole(1, 10), whole(1, 6), model.style(numbers(1, 129, 40)), speed=1.3)


def hubert() -> Tensor:
    return Hubert(test_hubert.SMALL).to("meta")(numbers(1, 4000))


def bert() -> Tensor:
    return Bert(BERT).to("meta")(whole(1, 9))


def speaker() -> Tensor:
    return SpeakerNetwork(test_speaker.SMALL).to("meta").eval().vector(numbers(16_000))


@torch.inference_mode()
@pytest.mark.parametrize("compute", [gpt, lambda: gpt(half=True), sovits, hubert, bert, speaker])
def test_a_network_computes_where_it_lies(compute: Callable[[], Tensor]) -> None:
    assert compute().device.type == "meta"
