"""How news spreads among very many keepers of a tag: counted, not run.

The rules are those of protocol/shelf_keeper.py and shelf_peers.py, with their numbers: 8 hints by the origin,
4 by whoever learns, talks with 3 of up to 64 known keepers every 15 min. All nodes are rows of numpy arrays,
time goes in steps of a second. simulation.py holds this against shelf_world.py, which runs the real keepers.
Follows specs/scale.md, "Keepers of a tag".
"""

from dataclasses import dataclass

import numpy as np

from p2pvoice.protocol.shelf_keeper import HINT_PEERS, HINT_PEERS_OWN
from p2pvoice.protocol.shelf_peers import FAN_OUT, KEEPERS_KNOWN, TALK_EVERY

HOP = 1
"""Steps from learning something until the peers that are told of it know it: 0.2 s of waiting, a dial, four
messages.
"""

LIMIT = 7_200
"""Steps after which counting ends."""


@dataclass(frozen=True)
class Counted:
    """Seconds to half and to 99 % of those present; the share reached after 30 s; messages of hints a
    keeper.
    """

    keepers: int
    gone: float
    half: int | None
    most: int | None
    hinted: float
    messages: float


def count(keepers: int, gone: float, *, seed: int = 5) -> Counted:
    """One piece of news among ``keepers``, of whom a share is ``gone`` and still known to the others."""
    draw = np.random.default_rng(seed)
    width = min(KEEPERS_KNOWN, keepers - 1)
    known = draw.integers(0, keepers, (keepers, width), dtype=np.int32)
    here = draw.random(keepers) >= gone
    origin = int(draw.choice(np.flatnonzero(here)))
    knows = np.zeros(keepers, dtype=bool)
    knows[origin] = True
    talk_at = draw.uniform(0, TALK_EVERY, keepers)
    talk_at[~here] = np.inf
    present = int(here.sum())
    told = np.array([origin])
    messages, half, most, hinted = 0, None, None, 0.0
    for second in range(1, LIMIT + 1):
        news = []
        if len(told):
            fan = HINT_PEERS_OWN if second == 1 else HINT_PEERS
            targets = known[told][:, draw.permutation(width)[:fan]].ravel()
            targets = targets[here[targets]]
            # Each is named the news; who lacks it is told, too.
            fresh = np.unique(targets[~knows[targets]])
            messages += 2 * len(targets) + 2 * len(fresh)
            news.append(fresh)
        talking = np.flatnonzero(talk_at <= second)
        if len(talking):
            talk_at[talking] = second + TALK_EVERY * draw.uniform(0.8, 1.2, len(talking))
            partners = known[talking][:, draw.permutation(width)[:FAN_OUT]]
            asker = np.repeat(talking, partners.shape[1])
            other = partners.ravel()
            alive = here[other]
            asker, other = asker[alive], other[alive]
            news.append(np.unique(other[knows[asker] & ~knows[other]]))
            news.append(np.unique(asker[knows[other] & ~knows[asker]]))
        told = np.unique(np.concatenate(news)) if news else np.empty(0, dtype=int)
        told = told[~knows[told]]
        knows[told] = True
        share = knows.sum() / present
        if half is None and share >= 0.5:
            half = second
        if second == 30:
            hinted = share
        if most is None and share >= 0.99:
            most = second
        if most is not None and second >= 30:
            break
    return Counted(keepers, gone, half, most, float(hinted), messages / keepers)


if __name__ == "__main__":
    for size in (100, 300, 1000, 10_000, 100_000):
        for gone in (0.0, 0.3):
            print(count(size, gone), flush=True)
