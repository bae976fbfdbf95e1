"""What must hold for whatever bytes come as a message: it is refused, or reads back as what it was.

And for what is asked about shelves: it is answered, and leaves a keeper within its bounds. In the form of
checks.py. Follows specs/fuzzing.md.
"""

import random
from typing import Any, get_args

from p2pvoice.protocol import conversation, ids, messages, shelf, shelf_keeper, shelf_messages, shelf_talk
from p2pvoice.protocol.errors import ManifestError, NotFoundError, ProtocolMismatchError
from p2pvoice.protocol.shelf_entry import Entry

from ..protocol.kinds import KINDS
from .checks import NOW

#: Every message of the stream of operations.
SAID = get_args(conversation.Said)

ASKED = get_args(shelf_messages.ShelfRequest)

ON_SHELVES = (*ASKED, *get_args(shelf_messages.ShelfReply))


def check_messages(data: bytes) -> None:
    """A message of the catalog's or the exchange's stream; a failure can be shown to a person."""
    message = _read_again(data, KINDS)
    if isinstance(message, messages.Fail):
        assert message.error().message.isprintable()


def check_conversation(data: bytes) -> None:
    """A message about operations."""
    _read_again(data, SAID)


def check_shelf(data: bytes) -> None:
    """A message about shelves; what is asked is answered, and leaves a keeper within its bounds."""
    message = _read_again(data, ON_SHELVES)
    if not isinstance(message, ASKED):
        return
    keeper = shelf_keeper.Keeper("keeper", room=4, chance=random.Random(1))
    keeper.keep(["language/yue"])
    for number in range(8):
        key = ids.digest_of(bytes([number]))
        value = shelf.value_of(ids.cid_of(key), number, shelf.epoch_of(key, NOW))
        keeper.put(shelf.Card(key, value, key, ("language/yue",), own=number == 0), NOW)
    steps, result = shelf_talk.answer(keeper, "stranger", message, NOW), None
    try:
        while True:
            step = steps.send(result)
            # Nothing of a stranger's is signed here: what is told is refused as a whole.
            if isinstance(step, shelf_talk.Check):
                result = shelf_talk.Checked((None,) * len(step.entries))
            else:
                assert isinstance(step, shelf_talk.Read)
                result = [(key, Entry(b"release")) for key in step.keys]
    except StopIteration as end:
        said = end.value
    except (ManifestError, NotFoundError):
        return
    messages.encode_message(said)
    assert isinstance(said, shelf_messages.REPLY[type(message)])
    assert len(keeper.cards) <= 5


def _read_again(data: bytes, kinds: tuple[type[messages.Wire], ...]) -> Any:
    """The message, or None when it is refused; unknown keys are dropped, so the value is compared."""
    try:
        message = messages.decode_message(data, *kinds)
    except (ManifestError, ProtocolMismatchError):
        return None
    raw = messages.encode_message(message)
    assert len(raw) <= message.LIMIT
    assert messages.decode_message(raw, type(message)) == message
    return message
