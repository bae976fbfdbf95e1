"""Sizes and rates as people type them."""

import pytest

from p2pvoice.protocol.amounts import AMOUNT_LIMIT, LEAST_RATE, check_rate, parse_rate, parse_size
from p2pvoice.protocol.errors import UsageError


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("0", 0), ("200000", 200_000), ("2MB", 2_000_000), ("2 MB", 2_000_000), ("2M", 2_000_000),
        ("2mb", 2_000_000), (" 1.5 GB ", 1_500_000_000), ("500kB", 500_000), ("3T", 3 * 10**12),
        ("1KiB", 1024), ("20 GiB", 20 << 30), ("7B", 7), (str(AMOUNT_LIMIT), AMOUNT_LIMIT),
    ],
)  # fmt: skip
def test_sizes(text: str, bytes_: int) -> None:
    assert parse_size(text) == bytes_


@pytest.mark.parametrize(
    "text",
    ["", "MB", "2Mbit", "2 x", "-1", "1e9", "nan", "inf", "1,5 MB", "2MB/s", "1iB", "٣MB", "1 " * 20,
     str(AMOUNT_LIMIT + 1), "9999999999T"],
)  # fmt: skip
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert caught.value.hint


def test_rates_at_their_limits() -> None:
    assert parse_rate("2MB/s") == parse_rate("2 MB") == parse_rate(2_000_000) == 2_000_000
    assert parse_rate("0") == 0
    assert check_rate(LEAST_RATE) == parse_rate("35kB") == LEAST_RATE
    for wrong in (LEAST_RATE - 1, 1, -1, AMOUNT_LIMIT + 1):
        with pytest.raises(UsageError):
            check_rate(wrong)
    with pytest.raises(UsageError, match="too low"):
        parse_rate("10kB")
