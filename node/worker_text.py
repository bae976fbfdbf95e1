"""The worker's operations on text alone: whether readings have sounds, and how a text is read.

Neither needs a model, so neither waits for one to be loaded. Follows specs/pronunciation.md and
specs/worker.md.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pvoice.protocol.errors import UsageError
from p2pvoice.protocol.pronunciation import entry

if TYPE_CHECKING:
    from p2pvoice.node.worker import Worker


def check_words(worker: "Worker", arguments: dict[str, Any]) -> dict[str, Any]:
    """Entries of a dictionary as they are to be kept; UsageError for the first that no voice can speak."""
    from p2pvoice.sovits.text.readings import check

    kept = []
    for lang, word, reading in arguments["entries"]:
        worker.check()
        try:
            kept.append(check(entry(lang, word, reading), advise=True).entry)
        except UsageError as error:
            raise UsageError(f"{word}: {error.message}", hint=error.hint) from None
    return {"entries": [[one.lang, one.word, one.reading] for one in kept]}


def read_text(worker: "Worker", arguments: dict[str, Any]) -> dict[str, Any]:
    """A text as it is read, sentence by sentence: parts, phonemes, and each word with its reading."""
    from p2pvoice.sovits.text import phonemize, split
    from p2pvoice.sovits.text.pronunciations import of_texts
    from p2pvoice.sovits.text.spelled import spell

    lang, upstream = str(arguments["lang"]), bool(arguments["upstream"])
    version, of_voice = "v2", ""
    if arguments["folder"] is not None:
        from p2pvoice.sovits.voicefile import read_voice, read_words

        folder = Path(arguments["folder"])
        version, of_voice = read_voice(folder).version, read_words(folder)
    words = of_texts("" if arguments["plain"] else of_voice, str(arguments["words"]))
    sentences = []
    for sentence in split(words.hide(str(arguments["text"])), "cut1", lang, upstream=upstream):
        worker.check()
        sentences += spell(phonemize(sentence, lang, version, words=words, upstream=upstream), words)
    return {"parts": sentences}
