"""How exactly a voice computes: a word of each request, else the setting; and no other word is taken."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from p2pvoice.node.config import load_config
from p2pvoice.node.paths import Home
from p2pvoice.protocol.errors import UsageError

from .nodes import Daemon, refusal


def test_a_voice_speaks_exactly_and_fast_beside_each_other(daemons: Callable[[], Daemon]) -> None:
    client = daemons().start().client
    *_, draft = client.import_bundled("Precise")
    asked = {"draft": draft["draft"], "text": "Good evening, everybody.", "lang": "en", "seed": 1}

    def spoken(**more: str) -> np.ndarray:
        samples, _ = soundfile.read(io.BytesIO(client.speak({**asked, **more}).data))
        return samples

    exact = spoken(precision="exact")
    fast = spoken(precision="fast")
    assert len(fast) > 4000
    # Neither left a mark on the other, and what nobody asks for is what the CPU does by itself.
    assert np.array_equal(spoken(), exact)
    assert np.array_equal(spoken(precision="fast"), fast)
    assert isinstance(refusal(lambda: spoken(precision="half")), UsageError)


def test_the_setting_is_read_and_checked(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert load_config(home).worker.precision == "auto"
    home.config.write_text('[worker]\nprecision = "fast"\n')
    assert load_config(home).worker.precision == "fast"
    home.config.write_text('[worker]\nprecision = "half"\n')
    with pytest.raises(UsageError, match="precision"):
        load_config(home)
