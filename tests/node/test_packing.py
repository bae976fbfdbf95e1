"""Whether a chunk is compressed: as often as it wins time on the stream, and now and then to look again."""

from p2pvoice.node.packing import LOOK_EVERY, Outflow, Packing

MIB = 1 << 20
WEIGHTS, TEXT = b"w" * 32, b"t" * 32


def packing() -> Packing:
    """Weights save 8 % at 3 ms a chunk, text 80 % at 1 ms."""
    found = Packing()
    found.note(WEIGHTS, MIB, int(MIB * 0.92), 0.003)
    found.note(TEXT, MIB, int(MIB * 0.20), 0.001)
    return found


def pace(rate: float) -> float:
    """Seconds a byte of a stream that takes so many bytes a second."""
    found = Outflow()
    found.note(MIB, MIB / rate)
    assert found.seconds_a_byte is not None
    return found.seconds_a_byte


def test_what_is_unknown_is_tried() -> None:
    assert packing().worth(bytes(32), pace(1e9))
    assert packing().worth(WEIGHTS, None)


def test_weights_are_compressed_on_slow_lines_only() -> None:
    assert packing().worth(WEIGHTS, pace(5e6))
    assert packing().worth(WEIGHTS, pace(12.5e6))
    assert not packing().worth(WEIGHTS, pace(20e6))
    assert not packing().worth(WEIGHTS, pace(200e6))


def test_text_is_compressed_on_fast_lines_too() -> None:
    assert packing().worth(TEXT, pace(200e6))
    assert not packing().worth(TEXT, pace(2e9))


def test_the_file_is_looked_at_again_now_and_then() -> None:
    found, fast = packing(), pace(1e9)
    assert [found.worth(WEIGHTS, fast) for _ in range(LOOK_EVERY)] == [False] * (LOOK_EVERY - 1) + [True]
    # A part of it that is all zeros: what was seen last counts most, and the next ones are compressed.
    for _ in range(8):
        found.note(WEIGHTS, MIB, MIB // 1000, 0.0002)
    assert found.worth(WEIGHTS, pace(200e6))


def test_the_pace_follows_the_stream() -> None:
    found = Outflow()
    for _ in range(20):
        found.note(MIB, 0.01)
    for _ in range(20):
        found.note(MIB, 1.0)
    assert found.seconds_a_byte is not None
    assert 0.99 < found.seconds_a_byte * MIB < 1.0
