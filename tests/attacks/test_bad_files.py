"""Every file of the golden checkpoint set has an outcome that its manifest allows, and does nothing else."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from p2pvoice.protocol.errors import RefusedError
from p2pvoice.sovits.checkpoint import read_checkpoint

from . import forge

MANIFEST = forge.manifest()
CANARY = "p2pvoice_canary"
#: What reading one bad file may take on top of what the program held before.
MEMORY_LIMIT = 300 << 20


@pytest.mark.parametrize(("name", "entry"), MANIFEST["bad"].items(), ids=list(MANIFEST["bad"]))
def test_bad_file_is_refused_without_side_effects(
    name: str, entry: dict[str, Any], tmp_path: Path, nowhere: Path
) -> None:
    path = forge.place("bad", name, tmp_path)
    modules = set(sys.modules)
    outcome, told = "accept", ""
    try:
        names = set(read_checkpoint(path).tensors)
    except RefusedError as error:
        outcome, told, names = error.code, f"{error.message} | {error.hint}", set()
    assert outcome in entry["outcome"]
    assert not any("/" in tensor or tensor.startswith("__") for tensor in names)
    # A refusal is one line with something to do next.
    assert outcome == "accept" or re.fullmatch(r".{10,300} \| .{10,200}", told)
    assert told.isprintable()
    assert list(nowhere.iterdir()) == []
    assert not any((folder / CANARY).exists() for folder in (Path("/"), tmp_path, path.parent, Path("/tmp")))
    assert not {"runpy", "utils"} & (set(sys.modules) - modules)


@pytest.mark.parametrize(("name", "entry"), MANIFEST["good"].items(), ids=list(MANIFEST["good"]))
def test_good_file_is_identified(name: str, entry: dict[str, Any], tmp_path: Path) -> None:
    path = forge.place("good", name, tmp_path)
    checkpoint = read_checkpoint(path)
    assert (checkpoint.part, checkpoint.version) == (entry["part"], entry["version"])
    assert checkpoint.lora_rank == entry.get("lora_rank")
    assert not any("enc_q" in tensor or "cluster_size" in tensor for tensor in checkpoint.tensors)
    told = json.dumps(checkpoint.config)
    assert "logs/" not in told
    assert "demo" not in told
    assert "pretrained" not in told


@pytest.mark.skipif(forge.foreign() is not None, reason="another set is tried")
def test_messages_name_the_cause(tmp_path: Path) -> None:
    for name, word in {
        "text_file.pth": "Git LFS pointer",
        "html_error_page.ckpt": "web page",
        "no_weight_key.pth": "checkpoint of training",
        "empty.pth": "empty",
        "unknown_vocab_500.pth": "500 rows",
        "reduce_os_system.pth": "posix.system",
        "zip_path_traversal.pth": "outside",
        "nan_weight.pth": "NaN",
    }.items():
        with pytest.raises(RefusedError, match=word):
            read_checkpoint(forge.place("bad", name, tmp_path))


def test_memory_stays_small(tmp_path: Path) -> None:
    """All bad files, one after another in one process: the peak of that process barely rises."""
    files = [str(forge.place("bad", name, tmp_path)) for name in MANIFEST["bad"]]
    script = """
import json, resource, sys
from pathlib import Path
from p2pvoice.protocol.errors import RefusedError
from p2pvoice.sovits.checkpoint import read_checkpoint
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
start, grown = peak(), {}
for name in sys.argv[1:]:
    before = peak()
    try:
        read_checkpoint(Path(name))
    except RefusedError:
        pass
    grown[name] = peak() - before
print(json.dumps({"total": peak() - start, "grown": grown}))
"""
    out = subprocess.run(
        [sys.executable, "-c", script, *files], capture_output=True, text=True, check=True, timeout=120
    )
    assert json.loads(out.stdout)["total"] < MEMORY_LIMIT
