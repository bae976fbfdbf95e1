"""The rows of the table that concern pronunciation dictionaries."""

from p2pvoice.node import pronouncing as dictionaries
from p2pvoice.node.rpc import pronouncing
from p2pvoice.node.rpc.schemas import FLAG, Operation, many, maybe, record, words
from p2pvoice.protocol.pronunciation import READING_LENGTH, USER_BYTES, USER_ENTRIES, WORD_LENGTH

_PATH = "/v1/pronunciations"
_VOICE = words(pronouncing.VOICE_LIMIT)
_LANG = words(16)

_ENTRY = record({"lang": _LANG, "word": words(WORD_LENGTH), "reading": words(READING_LENGTH)})

WORDS: tuple[Operation, ...] = (
    Operation(
        "GET", _PATH, pronouncing.listed, "The entries of a dictionary: the user's, or a voice's",
        query={"voice": _VOICE},
    ),
    Operation(
        "POST", _PATH, pronouncing.add, "Add words: entries one by one, or a file's text; all or nothing",
        body=record(
            {
                "entries?": many(_ENTRY, USER_ENTRIES),
                "file?": words(USER_BYTES),
                "voice?": maybe(_VOICE),
            }
        ),
    ),
    Operation(
        "DELETE", _PATH, pronouncing.remove, "Remove a word",
        query={"lang": _LANG, "word": words(WORD_LENGTH), "voice": _VOICE},
    ),
    Operation(
        "POST", f"{_PATH}/test", pronouncing.test, "How a text is read, word by word",
        body=record(
            {
                "text": words(dictionaries.SHOWN_LIMIT),
                "lang?": maybe(_LANG),
                "voice?": maybe(_VOICE),
                "upstream_text?": FLAG,
                "plain?": FLAG,
            }
        ),
    ),
)  # fmt: skip
