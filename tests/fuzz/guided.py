"""One coverage-guided run of one target, in a process of its own: python -m tests.fuzz.guided TARGET FLAGS…

It needs the optional extra ``fuzz`` (atheris). Not to be called by hand: ``python -m tests.fuzz`` prepares
the corpus, starts it and tells what came of it. Follows specs/fuzzing.md.
"""

import random
import sys

import atheris

with atheris.instrument_imports(include=["p2pvoice"]):
    from .engine import bounded_memory, try_case
    from .targets import TARGETS, corpus


def main(name: str, flags: list[str]) -> None:
    """Run until the flags' number of cases is reached, or a case is a finding: that ends the process."""
    target = TARGETS[name]
    others = corpus(name)

    def mutate(data: bytes, limit: int, seed: int) -> bytes:
        rng = random.Random(seed)
        # Half of the cases keep their form; the engine's own edits know what the code compares bytes with.
        made = target.mutate(data, others, rng) if rng.random() < 0.6 else atheris.Mutate(data, limit)
        return bytes(made[:limit])

    atheris.Setup([sys.argv[0], *flags], lambda data: try_case(target, data), custom_mutator=mutate)
    with bounded_memory():
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
