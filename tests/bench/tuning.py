"""What twenty sentences teach the packaged voice: `p2pvoice tune` by the command line, then a closer look.

    python -m tests.bench.tuning --asr DIR [--minutes N] [--seeds N]

The voice's own speaker (hibari-010) records twenty sentences with rare words; a daemon of its own tunes the
voice with them. Then the packaged voice and the tuned one say these sentences and twenty ordinary ones, with
several seeds: printed are the sound errors of the codes that the GPT draws (`drawn`), and the word errors
that a recogniser hears. Needs the extra `starter`. Follows specs/lite.md, "Fine-tuning".
"""

import argparse
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile

from p2pvoice.sovits import voicefile
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.gpt import Text2Semantic
from p2pvoice.sovits.starter import drawn
from p2pvoice.sovits.starter.build import english_phones
from p2pvoice.sovits.starter.hibari import Hibari
from p2pvoice.sovits.starter.recital import recite
from p2pvoice.sovits.starter.speakers import HibariSpeaker
from p2pvoice.sovits.synthesize import SpeakText, Voice
from p2pvoice.sovits.text import phonemize
from p2pvoice.sovits.training import evaluate, transcripts
from p2pvoice.sovits.training.texts import ORDINARY

from .one_minute import command

SENTENCES = (
    "The veterinarian vaccinated a rhinoceros in Nairobi.",
    "Archaeologists unearthed a sarcophagus near the ziggurat.",
    "The saxophonist improvised a melancholy rhapsody.",
    "Her dermatologist prescribed an ointment.",
    "The meteorologist forecast a catastrophic hurricane.",
    "Our itinerary included Guadalajara and Montevideo.",
    "The ambassador toasted the chancellor with burgundy.",
    "The hippopotamus wallowed in the estuary.",
    "The pharmacist dispensed penicillin and ibuprofen.",
    "Geologists measured the subterranean aquifer.",
    "The calligrapher engraved an epitaph in alabaster.",
    "An orangutan swung from a eucalyptus.",
    "The cardiologist interpreted the electrocardiogram.",
    "Jellyfish drifted past the submersible.",
    "The magistrate adjourned the arbitration hearing.",
    "Cinnamon and cardamom flavored the porridge.",
    "The aristocrat inherited a dilapidated chateau.",
    "Plasma is separated by a centrifuge.",
    "The gymnast fell from the trampoline.",
    "Pessimistic economists predicted hyperinflation.",
)
SPEAKER = 10


def record(folder: Path) -> Path:
    """Clips of the sentences and a list of them, by the packaged voice's speaker; the list."""
    speaker, random, rows = HibariSpeaker(Hibari(), SPEAKER), np.random.default_rng(5), []
    folder.mkdir()
    for number, said in enumerate(SENTENCES):
        phones = english_phones(said)
        # A sentence that the dictionary and the front end read alike: the recording says what the text says.
        assert phones is not None, said
        item = recite(speaker, phones, said, "en", random)
        name = f"{number:02d}.wav"
        soundfile.write(folder / name, item.audio, 24_000, subtype="PCM_16")
        rows.append(f"{name}|{speaker.name}|EN|{said}\n")
    (folder / "list.txt").write_text("".join(rows), "utf-8")
    return folder / "list.txt"


def judged(bundle: Path, sentences: tuple[str, ...], asr: Path, seeds: int) -> str:
    """Sound errors and word errors of a voice: the means over the seeds, and each seed's word errors."""
    loaded = voicefile.load_bundle(bundle)
    gpt = Text2Semantic.from_tensors(loaded.gpt, loaded.voice.gpt_config())
    first = loaded.voice.references[0]
    said = first.text if first.text[-1] in ".!?" else f"{first.text}."
    phones, codes = np.array(phonemize(said, first.lang).ids), np.array(first.codes)
    prompt = SimpleNamespace(phones=phones, codes=codes)
    voice, ear = Voice.load(bundle, Bases(), "cpu"), transcripts.recogniser(asr)
    sounds, words = [], []
    for seed in range(1, seeds + 1):
        draws = [drawn.draw(gpt, text, "en", prompt, 1000 * seed + i) for i, text in enumerate(sentences)]
        sounds.append(sum(d.errors for d in draws) / sum(d.length for d in draws))
        spoken = []
        for i, text in enumerate(sentences):
            audio = np.concatenate(list(voice.speak(SpeakText(text, "en", seed=100 * seed + i))))
            spoken.append(evaluate.Spoken(text, audio, voice.sample_rate))
        words.append(evaluate.word_errors(spoken, ear, "en")[0])
    each = ", ".join(f"{rate:.3f}" for rate in words)
    return f"sounds {np.mean(sounds):.3f}  words {np.mean(words):.3f} ({each})"


def main() -> None:
    """Record, tune, judge."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--asr", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="p2pv-") as place:
        home, listed = Path(place) / "home", record(Path(place) / "sentences")
        command(home, "daemon", "start", "--listen", "/ip4/127.0.0.1/tcp/0")
        try:
            command(home, "base", "add", "asr", str(chosen.asr))
            command(home, "import", "--bundled", "--name", "packaged")
            words = [str(listed.parent), "--transcripts", str(listed), "--lang", "en", "--name", "tuned"]
            words += ["--asr", "asr", "--minutes", f"{chosen.minutes:g}"]
            rows = command(home, "tune", "packaged", *words)
        finally:
            command(home, "daemon", "stop")
        report = rows[-1]["report"]
        print("steps", report["steps"], "stages", {k: v["stopped"] for k, v in report["stages"].items()})
        print("reported by tune:", report["tune"])
        for name, sentences in (("these sentences", SENTENCES), ("ordinary ones", ORDINARY["en"])):
            for draft in ("packaged", "tuned"):
                bundle = home / "drafts" / draft / "bundle"
                told = judged(bundle, sentences, chosen.asr, chosen.seeds)
                print(f"{name:16} {draft:9} {told}", flush=True)


if __name__ == "__main__":
    main()
