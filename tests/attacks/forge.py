"""Builds the larger files of the golden checkpoint set from ``tiny_v2``, as its manifest describes them.

The small files of the set are in the tree; those of a megabyte are made here, each by one small function,
with ``torch.save`` itself. When P2PVOICE_GOLDEN names the full set, the real files are used instead. When
P2PVOICE_BAD names a folder of the same form (manifest.json, bad/, good/), its files are tried in their place.
"""

import io
import json
import os
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent.parent / "golden" / "checkpoints"


def folder() -> Path:
    """The golden checkpoints: the full set when it is there, else the part in the tree."""
    named = os.environ.get("P2PVOICE_GOLDEN")
    full = Path(named).parent / "checkpoints" if named else HERE
    return full if full.is_dir() else HERE


def foreign() -> Path | None:
    """Another set that is to be tried, if one is named."""
    named = os.environ.get("P2PVOICE_BAD")
    return Path(named) if named else None


def manifest() -> dict[str, dict[str, dict[str, Any]]]:
    """Every file of the set, good and bad, with what may become of it."""
    content = json.loads(((foreign() or HERE) / "manifest.json").read_text())
    return {kind: content.get(kind, {}) for kind in ("good", "bad")}


def place(kind: str, name: str, into: Path) -> Path:
    """A path to the file ``name``: the golden one if there is one, else one forged in ``into``."""
    golden = (foreign() or folder()) / kind / name
    if golden.exists() or foreign():
        return golden
    made = into / name
    made.write_bytes(MAKERS[name]())
    return made


@contextmanager
def upstream_classes() -> Iterator[type]:
    """While this runs, pickle finds the one class of upstream that its files name."""
    module = types.ModuleType("utils")

    class HParams:
        pass

    HParams.__module__, HParams.__qualname__ = "utils", "HParams"
    module.HParams = HParams  # type: ignore[attr-defined]
    before = sys.modules.get("utils")
    sys.modules["utils"] = module
    try:
        yield HParams
    finally:
        del sys.modules["utils"]
        if before is not None:
            sys.modules["utils"] = before


@cache
def _tiny() -> bytes:
    return (HERE / "good" / "tiny_v2.pth").read_bytes()


def plain(value: Any) -> Any:
    """An upstream config as plain dictionaries."""
    if hasattr(value, "__dict__"):
        value = vars(value)
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def tiny() -> dict[str, Any]:
    """The content of tiny_v2.pth: weight, config (plain) and info. The file is ours and trusted."""
    with upstream_classes():
        content = torch.load(io.BytesIO(_tiny()), weights_only=False)
    return {"weight": dict(content["weight"]), "config": plain(content["config"]), "info": content["info"]}


def save(content: Any, *, objects: bool = True, head: bytes = b"PK", **options: Any) -> bytes:
    """``content`` as torch.save writes it, with its config as upstream's objects and ``head`` in front."""
    with upstream_classes() as hparams:

        def wrap(value: Any) -> Any:
            if not isinstance(value, dict):
                return value
            made = hparams()
            made.__dict__.update({key: wrap(item) for key, item in value.items()})
            return made

        if objects and isinstance(content, dict) and "config" in content:
            content = {**content, "config": wrap(content["config"])}
        buffer = io.BytesIO()
        torch.save(content, buffer, **options)
    return head + buffer.getvalue()[2:]


def _weights(change: Callable[[dict[str, torch.Tensor]], None]) -> bytes:
    content = tiny()
    change(content["weight"])
    return save(content)


def _set(name: str, value: float) -> Callable[[], bytes]:
    def change(weight: dict[str, torch.Tensor]) -> None:
        weight[name] = weight[name].clone()
        weight[name].view(-1)[0] = value

    return lambda: _weights(change)


def _absurd_config() -> bytes:
    content = tiny()
    content["config"]["model"]["n_layers"] = 10**9
    content["config"]["model"]["upsample_rates"] = [10**6] * 5
    return save(content)


def _hostile_names(weight: dict[str, torch.Tensor]) -> None:
    weight["../../x"] = weight["__class__.__init__"] = torch.zeros(1, dtype=torch.float16)


def _without_a_flow(weight: dict[str, torch.Tensor]) -> None:
    for name in [name for name in weight if name.startswith("flow.flows.2.")]:
        del weight[name]


def _three_outputs(weight: dict[str, torch.Tensor]) -> None:
    weight["dec.conv_post.weight"] = torch.zeros(3, 1, 7, dtype=torch.float16)


def _vocabulary(rows: int) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(weight: dict[str, torch.Tensor]) -> None:
        weight["enc_p.text_embedding.weight"] = weight["enc_p.text_embedding.weight"][:rows].clone()

    return change


def raw_zip(pickle: bytes, storages: dict[str, bytes] | None = None) -> bytes:
    """A torch container around a pickle written by hand."""
    buffer = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(buffer)
    writer.write_record("data.pkl", pickle, len(pickle))
    writer.write_record("byteorder", b"little", 6)
    for key, data in (storages or {}).items():
        writer.write_record(f"data/{key}", data, len(data))
    writer.write_end_of_file()
    return buffer.getvalue()


def _long_int() -> bytes:
    size = 2_000_000
    body = b"\x80\x02}X\x04\x00\x00\x00infoq\x00\x8b" + size.to_bytes(4, "little") + b"\x7f" * size + b"s."
    return raw_zip(body)


def _version(version: str, head: bytes, change: Callable[[dict[str, torch.Tensor]], None]) -> bytes:
    content = tiny()
    content["config"]["version"] = content["config"]["model"]["version"] = version
    change(content["weight"])
    return save(content, head=head)


def _to_v3(weight: dict[str, torch.Tensor]) -> None:
    for name in [name for name in weight if name.startswith(("dec.", "flow."))]:
        del weight[name]
    weight["cfm.estimator.proj_out.weight"] = torch.zeros(4, 4, dtype=torch.float16)


def _cuda_and_posterior() -> bytes:
    content = tiny()
    weight: OrderedDict[str, torch.Tensor] = OrderedDict(content["weight"])
    weight["enc_q.pre.weight"] = torch.ones(32, 1025, 1, dtype=torch.float16)
    weight._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    data = save({**content, "weight": weight})
    return data


#: Name in the manifest -> the bytes of a file like it.
MAKERS: dict[str, Callable[[], bytes]] = {
    "absurd_config.pth": _absurd_config,
    "deep_nesting.pth": lambda: raw_zip(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."),
    "extra_keys.pth": lambda: _weights(_hostile_names),
    "inf_in_unused_ema_buffer.pth": _set("quantizer.vq.layers.0._codebook.cluster_size", float("inf")),
    "inf_weight.pth": _set("enc_p.encoder_text.attn_layers.0.conv_q.weight", float("inf")),
    "nan_weight.pth": _set("dec.conv_pre.weight", float("nan")),
    "long_int.pth": _long_int,
    "missing_keys.pth": lambda: _weights(_without_a_flow),
    "truncated_half.pth": lambda: _tiny()[: len(_tiny()) // 2],
    "unknown_head_07.pth": lambda: b"07" + _tiny()[2:],
    "unknown_vocab_500.pth": lambda: _weights(_vocabulary(500)),
    "wrong_shape.pth": lambda: _weights(_three_outputs),
    "tiny_v2_cuda_location_with_enc_q.pth": _cuda_and_posterior,
    "tiny_v2_plain_dict_config.pth": lambda: save(tiny(), objects=False),
    "tiny_v3.pth": lambda: _version("v3", b"PK", _to_v3),
}
