"""What the extra ``measure`` brings: where its packages lie, and the error when they are not there.

The speaker encoder and the quality estimator are read as files out of their packages; the packages
themselves are not imported, since one pulls in half a dozen slow libraries and a compiled one that no longer
loads beside a recent setuptools. Follows specs/measurement.md.
"""

import importlib.util
from pathlib import Path

from p2pvoice.protocol.errors import UsageError

INSTALL = "pip install 'p2pvoice[measure]'"
"""The command that brings everything measured with a network."""


def missing(what: str) -> UsageError:
    """The error for a measurement that needs a package which is not installed."""
    return UsageError(f"{what} needs packages that are not installed", hint=INSTALL)


def package_file(package: str, name: str, what: str) -> Path:
    """A file inside an installed package, which is not imported. Raises UsageError that names the extra."""
    found = importlib.util.find_spec(package)
    for folder in (found.submodule_search_locations or ()) if found else ():
        path = Path(folder) / name
        if path.is_file():
            return path
    raise missing(what)
