"""The devices that networks are tried on: the CPU, and every graphics device that this machine has."""

import pytest
import torch


def devices() -> list[str]:
    """Their names, as PyTorch knows them."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return ["cpu", *(name for name, found in there.items() if found)]


@pytest.fixture(scope="module", params=devices())
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each of them in turn. Numbers are compared, so float32 must not be shortened behind our back."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return torch.device(request.param)
