"""Which languages of the text front end need an extra, and what is imported by them."""

import pytest

IMPORTED = {"ja": "pyopenjtalk", "ko": "mecab"}


def needs(*languages: str) -> None:
    """Skip the test where the extra of one of these languages is not installed."""
    for language in languages:
        if language in IMPORTED:
            pytest.importorskip(IMPORTED[language], reason=f"needs pip install '.[{language}]'")
