"""Output files appear whole or not at all."""

import sys
from pathlib import Path

import pytest

from p2pvoice.cli.files import check_output, write_output
from p2pvoice.protocol.errors import UsageError


def test_an_old_file_survives_a_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.wav"
    write_output(target, b"old")
    write_output(target, b"new")
    assert target.read_bytes() == b"new"
    with pytest.raises(OSError, match="No such file"):
        write_output(tmp_path / "missing" / "out.wav", b"x")
    full = Path("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_output(full, b"x" * 100)
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]


def test_a_folder_that_is_not_there_is_told_of_with_the_way_out(tmp_path: Path) -> None:
    check_output(tmp_path / "out.wav")
    check_output(Path("-"))
    with pytest.raises(UsageError) as caught:
        check_output(tmp_path / "missing" / "out.wav")
    assert caught.value.hint == f"mkdir -p {tmp_path / 'missing'}"


def test_a_dash_is_stdout(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    write_output(Path("-"), b"RIFF")
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == b"RIFF"
