"""`inspect` reads what a file says about itself, without a daemon, and opens nothing that could run."""

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import save_file

from p2pvoice.protocol.ids import release_id
from p2pvoice.protocol.label import Label, label_flac, label_mp3, label_ogg, label_wav

from .conftest import Command

RELEASE = release_id(b"any manifest")


def clip(path: Path) -> bytes:
    soundfile.write(path, np.zeros(3200, dtype=np.float32), 32000)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("suffix", "write"),
    [("wav", label_wav), ("flac", label_flac), ("mp3", label_mp3), ("ogg", label_ogg)],
)
def test_a_label_is_read_back(p2pvoice: Command, tmp_path: Path, suffix: str, write: object) -> None:
    path = tmp_path / f"clip.{suffix}"
    label = Label(produce_id="0190-id", producer="p2pvoice/0.1.0", release=RELEASE)
    path.write_bytes(write(clip(path), label))  # type: ignore[operator]
    ran = p2pvoice("inspect", str(path), "--json")
    assert ran.code == 0, ran.err
    assert ran.json["kind"] == suffix
    assert ran.json["label"]["release"] == RELEASE
    assert ran.json["label"]["produce_id"] == "0190-id"
    shown = p2pvoice("inspect", str(path))
    assert RELEASE in shown.out
    assert shown.err == ""


def test_no_label_is_told_as_no_proof(p2pvoice: Command, tmp_path: Path) -> None:
    clip(tmp_path / "plain.wav")
    assert p2pvoice("inspect", str(tmp_path / "plain.wav"), "--json").json["label"] is None
    ran = p2pvoice("inspect", str(tmp_path / "plain.wav"))
    assert ran.code == 0
    assert "proves nothing" in ran.err


def test_tensors_are_listed(p2pvoice: Command, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(
        {f"t{n}": np.zeros((2, 3), dtype=np.float16) for n in range(20)}, path, metadata={"family": "x"}
    )
    ran = p2pvoice("inspect", str(path), "--json")
    assert ran.code == 0, ran.err
    assert len(ran.json["tensors"]) == 20
    assert ran.json["metadata"] == {"family": "x"}
    assert ran.json["tensors"][0] == {"name": "t0", "dtype": "F16", "shape": [2, 3], "bytes": 12}
    shown = p2pvoice("inspect", str(path)).out
    assert "… and 8 more" in shown


def test_a_header_that_promises_more_than_the_file_is_refused(p2pvoice: Command, tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    path.write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    ran = p2pvoice("inspect", str(path))
    assert ran.code == 2
    assert ran.err.startswith("error: ")


def test_a_pickle_is_not_opened(p2pvoice: Command, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.touch, (canary,))

    plain = tmp_path / "plain.pth"
    plain.write_bytes(pickle.dumps(Trap()))
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Trap()))
    for path in (plain, packed):
        ran = p2pvoice("inspect", str(path), "--json")
        assert ran.code == 2
        assert json.loads(ran.err)["error"]["hint"].startswith("p2pvoice import")
    assert not canary.exists()
