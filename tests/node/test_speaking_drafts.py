"""A draft of the user's own speaks before it is published; nobody else's does, and it names no release."""

from collections.abc import Callable

from p2pvoice.protocol.errors import NotFoundError, UsageError
from p2pvoice.protocol.label import read_label

from .nodes import Daemon, refusal


def test_a_draft_speaks_and_names_no_release(daemons: Callable[[], Daemon]) -> None:
    client = daemons().start().client
    *_, draft = client.import_bundled("Unheard")
    asked = {"text": "Good evening.", "lang": "en", "seed": 1}
    spoken = client.speak({"draft": draft["draft"], **asked})
    label = read_label(spoken.data)
    assert label is not None
    assert label.release is None
    assert "x-release-id" not in spoken.headers
    assert "x-author" not in spoken.headers
    assert float(spoken.headers["x-audio-seconds"]) > 0.3
    assert isinstance(refusal(lambda: client.speak({"draft": "nobody", **asked})), NotFoundError)
    assert isinstance(refusal(lambda: client.speak({"draft": "../unheard", **asked})), NotFoundError)
    assert isinstance(refusal(lambda: client.speak({"draft": "unheard", "voice": "x", **asked})), UsageError)
    assert isinstance(refusal(lambda: client.speak(asked)), UsageError)

    # A draft is removed as a draft, by its own name alone.
    assert "--draft" in refusal(lambda: client.remove("unheard")).hint
    assert isinstance(refusal(lambda: client.remove_draft("../unheard")), NotFoundError)
    gone = client.remove_draft("Unheard")
    assert (gone["draft"], gone["bytes"]) == ("unheard", draft["bytes"])
    assert client.drafts() == []
    assert isinstance(refusal(lambda: client.remove_draft("unheard")), NotFoundError)
