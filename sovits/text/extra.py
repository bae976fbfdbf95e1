"""The error for a language whose dictionary is not installed: it names the command that brings it.

Japanese and Korean are extras of the package, since their dictionaries take a hundred megabytes each. Not for
the extras of other parts (see sovits/measure/extra.py). Follows specs/text.md.
"""

from ...protocol.errors import UnsupportedLanguageError


def missing(language: str, extra: str) -> UnsupportedLanguageError:
    """The error when the packages of ``extra`` are not there."""
    return UnsupportedLanguageError(
        f"{language} needs a dictionary that is not installed",
        hint=f"pip install 'p2pvoice[{extra}]'",
    )


def unreadable(language: str, extra: str) -> UnsupportedLanguageError:
    """The error when they are there but do not load, as when another package has overwritten their files."""
    return UnsupportedLanguageError(
        f"the dictionary of {language} cannot be read",
        hint=f"pip install --force-reinstall 'p2pvoice[{extra}]'",
    )
