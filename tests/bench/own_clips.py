"""What a voice loses by prompting itself with clips of its own: `python tests/bench/own_clips.py [ASR]`.

The bundled voice speaks ordinary sentences with the clip it came with, and with the clips that it would be
published with; printed are cosines of speaker embeddings to the original clip and, given the folder of a
recogniser, errors. Needs the extra `measure`. Two runs differ by the seeds of the published clips.
"""

import os
import sys
import tempfile
from pathlib import Path

from p2pvoice.sovits import convert, own_clips, voicefile
from p2pvoice.sovits.audio import read_clip
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.measure.asr import Ear
from p2pvoice.sovits.measure.embed import similarity, speaker_embedding, speakers_embedding
from p2pvoice.sovits.measure.words import count_errors
from p2pvoice.sovits.packaged import packaged_voice
from p2pvoice.sovits.synthesize import Voice
from p2pvoice.sovits.training.evaluate import speak
from p2pvoice.sovits.training.texts import ORDINARY

SENTENCES = 6
SEEDS = (0, 100)


def main() -> None:
    """Print the figures."""
    ear = Ear(Path(sys.argv[1])) if len(sys.argv) > 1 else None
    came = packaged_voice()
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder) / "original"
        convert.import_voice(came.sovits, came.gpt, came.clip, came.text, came.lang, original, Bases())
        centre = speaker_embedding(*read_clip(came.clip))
        report("its original clip", original, centre, ear)
        for seed in SEEDS:
            loaded, voice = voicefile.load_bundle(original), Voice.load(original, Bases())
            clips = own_clips.speak(loaded, voice, Bases(), seed=seed)
            own = Path(folder) / f"own-{seed}"
            own_clips.write(own, loaded, clips)
            for name in (voicefile.SOVITS_NAME, voicefile.GPT_NAME):
                os.symlink(original / name, own / name)
            heard = speakers_embedding([(one.samples, one.rate) for one in clips])
            lengths = " ".join(f"{len(one.samples) / one.rate:.1f}" for one in clips)
            alike = similarity(centre, heard)
            print(f"clips of seed {seed}: {lengths} s, cosine to the original {alike:.3f}")
            report(f"its own clip, seed {seed}", own, centre, ear)


def report(what: str, folder: Path, centre: object, ear: Ear | None) -> None:
    """Speak the sentences of each language and print one line."""
    figures = []
    for lang in ("en", "zh", "yue"):
        spoken = speak(folder, Bases(), ORDINARY[lang][:SENTENCES], lang)
        cosine = sum(similarity(centre, speaker_embedding(s.samples, s.rate)) for s in spoken) / len(spoken)
        errors = ""
        if ear is not None:
            counts = [count_errors(s.text, ear.hear(s.samples, s.rate, lang), lang) for s in spoken]
            errors = f", errors {sum(n for n, _ in counts) / sum(of for _, of in counts):.3f}"
        figures.append(f"{lang} {cosine:.3f}{errors}")
    print(f"speaking with {what}: " + "; ".join(figures), flush=True)


if __name__ == "__main__":
    main()
