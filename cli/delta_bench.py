"""What a codec makes of the step from one weight file to the next: bytes, speed each way, and memory.

Each codec runs in processes of its own, one that encodes and one that decodes, so that the memory of one does
not hide that of another. Every result is decoded and compared with the file before it counts. The others work
on whole files, as they do elsewhere; ours works on chunks, as it does between peers. Not for the command: see
commands/bench_delta.py. Follows specs/delta.md.
"""

import hashlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pvoice.protocol.chunks import plan_chunks
from p2pvoice.protocol.errors import BugError, UsageError
from p2pvoice.protocol.tensors import header_size, read_header

CODECS = ("zstd -3", "zstd --patch-from", "BitX", "delta1")
"""What is compared: plain zstd, zstd with the base as its dictionary, XOR with both bytes apart, and ours."""

TIMEOUT = 600
"""Seconds one process may take."""

MISSING = "no zstd program on PATH"


@dataclass(frozen=True)
class Run:
    """What one codec took: encoded bytes, CPU-seconds each way, bytes of memory above the start each way."""

    codec: str
    size: int
    encode: float
    decode: float
    encode_memory: int
    decode_memory: int


def compare(base: Path, new: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """All codecs over a pair of safetensors files with 16-bit numbers; ``tell`` hears which one runs.

    Raises UsageError for files that are none or do not have the same tensors.
    """
    check_pair(base, new)
    runs: list[Run] = []
    skipped: dict[str, str] = {}
    for codec in CODECS:
        if codec == "zstd --patch-from" and shutil.which("zstd") is None:
            skipped[codec] = MISSING
            continue
        tell(codec)
        runs.append(run(codec, base, new))
    tell("entropy")
    return {
        "base": str(base),
        "new": str(new),
        "size": new.stat().st_size,
        "entropy": entropy(base, new),
        "runs": [vars(one) for one in runs],
        "skipped": skipped,
    }


def check_pair(base: Path, new: Path) -> None:
    """UsageError unless both files are safetensors with the same 16-bit tensors."""
    shapes = []
    for path in (base, new):
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                head = file.read(8)
                head += file.read(header_size(head, size) - len(head))
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from error
        header = read_header(head, size)
        shapes.append({name: (one.dtype, one.shape) for name, one in header.tensors.items()})
    if shapes[0] != shapes[1]:
        raise UsageError(f"{base.name} and {new.name} do not have the same tensors")
    if {dtype for dtype, _ in shapes[0].values()} - {"F16", "BF16"}:
        raise UsageError("the codecs are compared on 16-bit weights", hint="p2pvoice export writes them")


def run(codec: str, base: Path, new: Path) -> Run:
    """One codec, in two processes of its own."""
    with tempfile.TemporaryDirectory(prefix="p2pvoice-bench-") as folder:
        encoded = Path(folder) / "encoded"
        found = [_child(way, codec, base, new, encoded) for way in ("encode", "decode")]
    digest = hashlib.sha256(new.read_bytes()).hexdigest()
    if found[1]["digest"] != digest:
        raise BugError(f"{codec} did not give the file back")
    sizes = int(found[0]["size"])
    seconds = [float(one["seconds"]) for one in found]
    memory = [int(one["memory"]) for one in found]
    return Run(codec, sizes, *seconds, *memory)


def _child(way: str, codec: str, base: Path, new: Path, encoded: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", __name__, way, codec, str(base), str(new), str(encoded)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        raise BugError(f"{codec} failed: {done.stderr.strip().splitlines()[-1:]}")
    return dict(json.loads(done.stdout))


def entropy(base: Path, new: Path) -> int:
    """Bytes that a perfect coder of differences would take that knows the base's exponent and the chunk."""
    import numpy as np

    from p2pvoice.protocol.delta_planes import F16, fold

    bits = 0.0
    for old, data in zip(chunks(base), chunks(new), strict=True):
        if old == data or len(old) != len(data) or len(data) % 2:
            continue
        before = np.frombuffer(old, F16.dtype)
        folded = fold(np.frombuffer(data, F16.dtype), before, F16)
        exponents = before >> np.uint16(10) & np.uint16(31)
        for exponent in np.unique(exponents):
            counts = np.bincount(folded[exponents == exponent])
            share = counts[counts > 0] / counts.sum()
            bits -= float((share * np.log2(share)).sum() * counts.sum())
    return round(bits / 8)


def chunks(path: Path) -> Iterator[bytes]:
    """The chunks of a safetensors file, one in memory at a time."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        head += file.read(header_size(head, size) - len(head))
        file.seek(0)
        for length in plan_chunks(size, read_header(head, size)):
            yield file.read(length)


# -- in a process of its own ------------------------------------------------------------------------------


def main() -> None:
    """``encode`` or ``decode`` with one codec; prints what it took as JSON."""
    way, codec = sys.argv[1:3]
    base, new, encoded = map(Path, sys.argv[3:])
    from p2pvoice.protocol import codec as chunk_codec
    from p2pvoice.protocol import delta, delta_planes

    # What everybody pays once, imports and a first small chunk, is not the codec's.
    small = bytes(4096)
    blob = delta.encode(small, small, delta_planes.F16)
    if blob is None or delta.decode(blob, small) != small:
        raise BugError("a chunk of zeros did not come back")
    chunk_codec.encode_chunk(small)
    start, begun = peak_bytes(resource.RUSAGE_SELF), cpu_seconds()
    if way == "encode":
        ENCODERS[codec](base, new, encoded)
        result: dict[str, Any] = {"size": encoded.stat().st_size}
    else:
        # What is decoded is hashed as it comes: keeping it would be the file's memory, not the codec's.
        whole = hashlib.sha256()
        for part in DECODERS[codec](base, encoded):
            whole.update(part)
        result = {"digest": whole.hexdigest()}
    seconds = cpu_seconds() - begun
    # A program of its own counts as a whole: it did nothing else.
    memory = peak_bytes(resource.RUSAGE_CHILDREN) or peak_bytes(resource.RUSAGE_SELF) - start
    print(json.dumps(result | {"seconds": seconds, "memory": memory}))


def peak_bytes(who: int) -> int:
    """The most memory that this process, or the largest one it ran, has had resident so far."""
    return resource.getrusage(who).ru_maxrss * 1024


def cpu_seconds() -> float:
    """What this process and those that it ran have taken so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _zstd(base: Path, new: Path, encoded: Path) -> None:
    import zstandard

    encoded.write_bytes(zstandard.ZstdCompressor(level=3).compress(new.read_bytes()))


def _unzstd(base: Path, encoded: Path) -> Iterator[bytes]:
    import zstandard

    yield from zstandard.ZstdDecompressor().read_to_iter(encoded.read_bytes())


def _patch(base: Path, new: Path, encoded: Path) -> None:
    subprocess.run(["zstd", "-q", "-3", f"--patch-from={base}", str(new), "-o", str(encoded)], check=True)


def _unpatch(base: Path, encoded: Path) -> Iterator[bytes]:
    command = ["zstd", "-q", "-d", f"--patch-from={base}", str(encoded), "-c"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while part := process.stdout.read(1 << 20):
            yield part


def _bitx(base: Path, new: Path, encoded: Path) -> None:
    import numpy as np
    import zstandard

    before, after = (np.frombuffer(_padded(path), np.uint16) for path in (base, new))
    crossed = after.copy()
    crossed[: len(before)] ^= before[: len(after)]
    with encoded.open("wb") as file:
        file.write(new.stat().st_size.to_bytes(8, "little"))
        for plane in (crossed >> 8, crossed & np.uint16(255)):
            frame = zstandard.ZstdCompressor(level=3).compress(plane.astype(np.uint8).tobytes())
            file.write(len(frame).to_bytes(8, "little") + frame)


def _unbitx(base: Path, encoded: Path) -> Iterator[bytes]:
    import numpy as np
    import zstandard

    before = np.frombuffer(_padded(base), np.uint16)
    with encoded.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        planes = [file.read(int.from_bytes(file.read(8), "little")) for _ in range(2)]
    high, low = (np.frombuffer(zstandard.ZstdDecompressor().decompress(one), np.uint8) for one in planes)
    crossed = high.astype(np.uint16) << np.uint16(8) | low
    crossed[: len(before)] ^= before[: len(crossed)]
    yield crossed.tobytes()[:size]


def _padded(path: Path) -> bytes:
    data = path.read_bytes()
    return data + bytes(len(data) % 2)


def _delta(base: Path, new: Path, encoded: Path) -> None:
    """As between peers: equal chunks are copied, the header and what saves nothing goes as it is."""
    from p2pvoice.protocol import delta
    from p2pvoice.protocol.codec import encode_chunk
    from p2pvoice.protocol.delta_planes import F16

    with encoded.open("wb") as file:
        for old, data in zip(chunks(base), chunks(new), strict=True):
            blob = b"" if old == data else delta.encode(data, old, F16)
            kind = "delta1"
            if blob is None:
                kind, blob = encode_chunk(data)
            file.write(bytes([("delta1", "zstd", "raw").index(kind)]))
            file.write(len(data).to_bytes(4, "little") + len(blob).to_bytes(4, "little") + blob)


def _undelta(base: Path, encoded: Path) -> Iterator[bytes]:
    from p2pvoice.protocol import delta, frames

    with encoded.open("rb") as file:
        for old in chunks(base):
            kind = ("delta1", "zstd", "raw")[file.read(1)[0]]
            size, length = (int.from_bytes(file.read(4), "little") for _ in range(2))
            blob = file.read(length)
            if not blob:
                yield old
            elif kind == "delta1":
                yield delta.decode(blob, old)
            else:
                yield frames.decompress(blob, size) if kind == "zstd" else blob


ENCODERS = dict(zip(CODECS, (_zstd, _patch, _bitx, _delta), strict=True))
DECODERS = dict(zip(CODECS, (_unzstd, _unpatch, _unbitx, _undelta), strict=True))

if __name__ == "__main__":
    main()
