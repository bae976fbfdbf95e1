"""What must hold for whatever bytes a reader of weight files is given, and small weight files to begin with.

The readers take a path, so a case is written to a file in memory first. Only refusals may come out; what is
accepted is inert, within its limits and finite. Follows specs/fuzzing.md and specs/checkpoints.md.
"""

import io
import os
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save as save_safetensors

from p2pvoice.protocol.errors import BadCheckpointError, RefusedError
from p2pvoice.sovits.checkpoint import NOTE_LIMIT, TENSOR_LIMIT, read_checkpoint
from p2pvoice.sovits.mapped import MappedFile
from p2pvoice.sovits.pickle_walk import Name, Record, StorageSpec, TensorSpec, walk
from p2pvoice.sovits.torch_file import open_torch
from p2pvoice.sovits.torch_zip import open_zip
from p2pvoice.sovits.voicefile import decode_voice, encode_voice

GOLDEN = Path(__file__).parent.parent / "golden" / "checkpoints"

#: Bytes of a golden file that is small enough to begin with.
SEED_LIMIT = 4096

#: All that a walk may build, whatever the index says.
_INERT = (str, int, float, bool, type(None), tuple, list, dict, Name, Record, StorageSpec, TensorSpec)


@cache
def _place() -> Path:
    """A file in memory where there is such a thing, written anew for each case."""
    memory = Path("/dev/shm")
    folder = tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)
    # Kept as long as the function's cache, that is until the process ends.
    _place.folder = folder  # type: ignore[attr-defined]
    return Path(folder.name) / "case"


def _written(data: bytes) -> Path:
    path = _place()
    # A new file each time: a mapping of the last one may still live.
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return path


def check_checkpoint(data: bytes) -> None:
    """A whole weight file, safetensors or torch."""
    try:
        found = read_checkpoint(_written(data))
    except RefusedError:
        return
    assert found.part in ("s1", "s2")
    assert 0 < len(found.tensors) <= TENSOR_LIMIT
    assert all(tensor.is_floating_point() for tensor in found.tensors.values())
    assert len(found.info) <= NOTE_LIMIT
    assert found.info.isascii()


def check_zip(data: bytes) -> None:
    """The container alone: every entry lies inside the file, none over another."""
    try:
        archive = open_zip(MappedFile(_written(data)))
    except RefusedError:
        return
    assert archive.pickle in data
    at = 0
    for entry in sorted(archive.storages.values(), key=lambda entry: entry.start):
        assert at <= entry.start <= entry.start + entry.size <= len(data)
        at = entry.start + entry.size


def check_legacy(data: bytes) -> None:
    """The form before torch 1.6: what is inert, each storage inside the file and none over another."""
    try:
        opened = open_torch(MappedFile(_written(data)))
    except RefusedError:
        return
    at = 0
    for entry in sorted(opened.storages.values(), key=lambda entry: entry.start):
        assert at <= entry.start <= entry.start + entry.size <= len(data)
        at = entry.start + entry.size


def check_pickle(data: bytes) -> None:
    """The index alone: what it builds is inert, and no tensor reaches out of its storage."""
    try:
        top = walk(data)
    except RefusedError:
        return
    seen: set[int] = set()
    pending = [top]
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        assert type(value) in _INERT
        if isinstance(value, dict):
            pending += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            pending += value
        elif isinstance(value, Record):
            pending.append(value.fields)
        elif isinstance(value, TensorSpec) and 0 not in value.shape:
            last = value.offset + sum((n - 1) * s for n, s in zip(value.shape, value.stride, strict=True))
            assert last < value.storage.count


def check_voice_json(data: bytes) -> None:
    """voice.json of a stranger's release."""
    try:
        voice = decode_voice(data)
    except BadCheckpointError:
        return
    assert decode_voice(encode_voice(voice)) == voice


def checkpoints() -> Iterator[bytes]:
    """Whole weight files of some kilobytes: hostile ones of the golden set, and small ones made here."""
    for path in sorted((GOLDEN / "bad").iterdir()):
        if path.stat().st_size <= SEED_LIMIT:
            yield path.read_bytes()
    config = {
        "model": {"version": "v3", "n_heads": 2, "resblock_kernel_sizes": [3, 7]},
        "data": {},
        "version": "v3",
    }
    lora = {"cfm.estimator.a.lora_A.default.weight": torch.ones(4, 2).half()}
    plain = {"cfm.estimator.proj_out.weight": torch.ones(2, 2).half(), "enc_p.x.weight": torch.ones(3)}
    known = {
        name: torch.ones(shape).half()
        for name, shape in {
            "enc_p.text_embedding.weight": (732, 1),
            "enc_p.encoder_text.attn_layers.0.emb_rel_k": (1, 9, 1),
            "enc_p.encoder_text.ffn_layers.0.conv_1.weight": (2, 2, 3),
            "flow.flows.0.post.weight": (2, 2, 1),
            "dec.conv_pre.weight": (4, 2, 7),
            "dec.ups.0.weight_v": (4, 2, 16),
            "ref_enc.spectral.0.fc.weight": (2, 704),
            "quantizer.vq.layers.0._codebook.embed": (4, 2),
            "enc_q.pre.weight": (2, 2),
        }.items()
    }
    gpt = {
        "model.ar_predict_layer.weight": torch.ones(5, 2).half(),
        "model.ar_text_embedding.word_embeddings.weight": torch.ones(732, 2).half(),
        "model.h.layers.0.norm1.weight": torch.ones(2).half(),
    }
    for weight, rank in ((lora, 4), (plain, None), (known, None), (gpt, None)):
        content = {
            "weight": weight,
            "config": config if rank else {"model": {}, "data": {}},
            "info": "8epoch",
        }
        yield _saved(content | ({"lora_rank": rank} if rank else {}))
        yield save_safetensors(weight, {"config": '{"model": {"version": "v3"}}'} if rank else None)


def _saved(content: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def legacies() -> Iterator[bytes]:
    """Small files in the form before torch 1.6."""
    for weight in ({"a.b": torch.ones(2, 3).half()}, {"a.b": torch.ones(4), "c": torch.ones(3).bfloat16()}):
        buffer = io.BytesIO()
        torch.save({"weight": weight, "info": "x"}, buffer, _use_new_zipfile_serialization=False)
        yield buffer.getvalue()


def pickles() -> Iterator[bytes]:
    """The indexes of those files."""
    for data in checkpoints():
        try:
            yield open_zip(MappedFile(_written(data))).pickle
        except RefusedError:
            continue


def voices() -> Iterator[bytes]:
    """A voice.json of every field."""
    yield VOICE.encode()


VOICE = (
    '{"bases":{"bert":"bert","content":"hubert"},"family":"gpt-sovits","format":1,"gpt":{"heads":2},"references":'
    '[{"clip":"reference/0.wav","codes":[' + ",".join(["5"] * 60) + '],"lang":"yue","milliseconds":4000,'
    '"spec":"reference/0.safetensors","text":"今日"}],"sovits":{"filter_length":2048,"heads":2,"hop_length":640,'
    '"resblock_dilations":[[1,3,5],[1,3,5],[1,3,5]],"resblock_kernels":[3,7,11],"sample_rate":32000,'
    '"upsample_kernels":[16,16,8,2,2],"upsample_rates":[10,8,2,2,2],"win_length":2048},"version":"v2"}\n'
)
