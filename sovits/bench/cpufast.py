"""The other side: gpt-sovits-cpufast, a fork of upstream tuned for the CPU, on the same weights.

Its networks are loaded and called as its own pipeline does (batch path, weight norm removed, style computed
once). It is no dependency: its requirements and ours exclude each other, so it lies in a folder that only
this process puts on its path. Follows specs/speed.md.
"""

import importlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from p2pvoice.sovits.bench.work import GPT, PHONES, SOVITS, Spent, Work, read, timed


def theirs(package: Path, folder: Path, version: str, tokens: int) -> Callable[[int], dict[str, Spent]]:
    """A run of its networks; ImportError when ``package`` does not hold it."""
    sys.path.insert(0, str(package))
    # It scripts a few functions, which PyTorch calls out of date.
    warnings.simplefilter("ignore")
    importlib.import_module("GPT_SoVITS")  # Puts its own folder on the path.
    gpt, sovits = _gpt(folder), _sovits(folder, version)
    work = Work.of(version, tokens)
    text_style = sovits.ge_to512(work.style.mT).mT if SOVITS[version].speaker_dim else work.style
    lengths, phones = torch.tensor([work.phones.shape[1]]), work.phones[:, -PHONES:]

    def draw(count: int) -> Spent:
        torch.manual_seed(1)
        drawn: list[int] = []

        def infer() -> None:
            codes, _ = gpt.infer_panel_batch_infer(
                [work.phones[0]],
                lengths,
                work.prompt,
                [work.bert[0]],
                top_k=15,
                top_p=1,
                temperature=1.0,
                repetition_penalty=1.35,
                early_stop_num=count - 1,
                max_len=work.phones.shape[1],
            )
            drawn.append(codes[0].shape[0] - work.prompt.shape[1])

        spent = timed(infer)
        # An early stop returns all codes but the last one drawn.
        assert drawn == [count - 1]
        return spent

    def run(count: int) -> dict[str, Spent]:
        with torch.no_grad():
            prefill, all_of_it = draw(1), draw(count)
            codes = work.codes[None, :, :count]
            decode = timed(lambda: sovits.decode(codes, phones, None, ge=work.style, ge_text=text_style))
        steps = all_of_it[0] - prefill[0], all_of_it[1] - prefill[1]
        return {"prefill": prefill, "steps": steps, "decoder": decode}

    return run


def _gpt(folder: Path) -> Any:
    kind = importlib.import_module("AR.models.t2s_lightning_module").Text2SemanticLightningModule
    model = kind(GPT.to_config(), "", is_train=False, build_t2s_transformer=False, build_h_module=False)
    model.load_inference_only_state_dict(read(folder, "gpt"))
    model.model.release_inference_only_unused_modules()
    return model.eval().model


def _sovits(folder: Path, version: str) -> Any:
    s = SOVITS[version]
    config = s.to_config()["model"] | {"n_speakers": 300, "semantic_frame_rate": "25hz", "version": version}
    model = importlib.import_module("module.models").SynthesizerTrn(s.spec_bins, 32, **config)
    model.load_state_dict(read(folder, version), strict=False)
    model.dec.remove_weight_norm()
    return model.eval()
