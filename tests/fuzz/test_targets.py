"""Every target holds for its seeds, its kept corpus and a short seeded run; and the run can fail at all."""

import pytest

from p2pvoice.protocol.errors import ManifestError

from .engine import Finding, bounded_memory, run_seeded, try_case
from .targets import CORPUS, TARGETS, Target, case_name, corpus

#: Bytes of the kept corpus.
CORPUS_LIMIT = 1_000_000


@pytest.mark.parametrize("name", TARGETS)
def test_target_holds(name: str) -> None:
    target, cases = TARGETS[name], corpus(name)
    assert cases
    assert run_seeded(target, cases, runs=target.quick, seed=name).cases >= target.quick


def test_corpus_is_small_and_belongs_to_targets() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < CORPUS_LIMIT
    for path in files:
        assert path.name == case_name(path.read_bytes())
        assert path.parent.name in TARGETS
        assert path.stat().st_size <= TARGETS[path.parent.name].length


def test_what_is_no_refusal_is_a_finding() -> None:
    def check(data: bytes) -> None:
        if b"\xff" in data:
            raise KeyError("somewhere deep inside")

    target = Target(check, lambda: [b"abc"])
    with pytest.raises(Finding, match="KeyError") as caught:
        run_seeded(target, [b"abc"], runs=5_000, seed="one")
    assert b"\xff" in caught.value.data
    with pytest.raises(Finding) as again:
        run_seeded(target, [b"abc"], runs=5_000, seed="one")
    assert again.value.data == caught.value.data


def test_a_case_that_takes_too_much_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.engine.SECONDS_LIMIT", 0.0, raising=True)
    with pytest.raises(Finding, match="computing"):
        try_case(Target(lambda data: None, lambda: []), b"")


def test_memory_is_bounded_while_cases_run() -> None:
    def greedy(data: bytes) -> None:
        bytearray(600 << 20)

    with bounded_memory(), pytest.raises(Finding, match="MemoryError"):
        try_case(Target(greedy, lambda: []), b"")
    bytearray(600 << 20)


def test_a_refusal_is_no_finding() -> None:
    def refuse(data: bytes) -> None:
        raise ManifestError("no")

    from .checks import wire

    try_case(Target(wire(refuse, lambda value: b""), lambda: []), b"anything")
