"""The whole story of three nodes: fork, propose, review, merge, and somebody who was away throughout.

Each node is a daemon of its own. Nobody passes anything on by hand: what the three see in the end came
through their logs and releases alone.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import soundfile

from p2pvoice.protocol.label import read_label

from .nodes import Daemon, bring, eventually, install_encoder, publish
from .test_merging import NOTHING_SAID, moved_gpt, result

Make = Callable[[], Daemon]


def told(daemon: Daemon, voice: str) -> dict[str, Any]:
    """What a node shows of a voice: its lineage, its log and what is counted."""
    said = daemon.client.said(voice, "log", everything=True)
    graph = daemon.client.lineage(voice, fetch=True)
    return {
        "entries": [(row["operation"], row["act"], row["signer"], row["time"]) for row in said["entries"]],
        "totals": said["totals"],
        "others": said["others"],
        "releases": sorted((one["release"], one["author"], one["slug"]) for one in graph["nodes"]),
        "lineage": sorted((one["child"], one["parent"], one["kind"]) for one in graph["edges"]),
    }


def test_fork_propose_merge_and_who_was_away_sees_the_same(
    daemons: Make, encoder: Path, clip: Path, tmp_path: Path
) -> None:
    a = daemons().start()
    b, c = (daemons().start(a) for _ in range(2))
    for one in (a, b):
        install_encoder(one, encoder)
    bring(a, clip)
    first = publish(a)["release"]
    names = [one.client.status()["author"] for one in (a, b, c)]
    for one in (b, c):
        list(one.client.fetch(first))
    # All three know each other: what they count is the same.
    for one in (a, b, c):
        for name in names:
            if name != one.client.status()["author"]:
                one.client.follow(name)
    voice = f"{names[0]}/storyteller"
    c.end()

    # B forks, tunes the fork with a program of its own, and publishes both; A is away when B proposes.
    list(b.client.fork(voice, "Calmer"))
    copy = publish(b, "calmer", **NOTHING_SAID)["release"]
    bring(b, clip, gpt=moved_gpt(tmp_path / "moved.ckpt", 1), name="Calmer", parents=["calmer"])
    mine = publish(b, "calmer")["release"]
    a.end()
    proposal = b.client.propose(voice, "calmer", "Calmer at the ends of sentences.")
    assert proposal["done"]
    assert b.client.act(voice, "star")["told"] == 0
    question = b.client.act(voice, "comment", text="Do you hear the pauses?")["operation"]
    issue = b.client.act(voice, "issue", title="Clicks at the start", text="With headphones.")["operation"]

    # A comes back, sees the proposal, hears both and merges.
    a.start(b)
    (row,) = eventually(lambda: a.client.said(voice, "proposals")["proposals"])
    assert (row["operation"], row["state"], row["release"]) == (proposal["operation"], "open", mine)
    found = result(a.client.proposal_diff(proposal["operation"], samples=True, text="你好。"))
    heard = {one["of"]: a.client.sample(one["sample"]).data for one in found["samples"]}
    assert set(heard) == {"a", "b"}
    assert heard["a"] != heard["b"]
    for data in heard.values():
        assert soundfile.info(io.BytesIO(data)).frames > 0
        assert read_label(data)
    assert a.client.act_on(proposal["operation"], "review", verdict="accept", text="Better.")["done"]
    merged = result(
        a.client.merge_proposal(proposal["operation"], {"mode": "average", "sentences": ["你好。"]})
    )
    second = publish(a, merged["draft"], **NOTHING_SAID)["release"]
    a.client.act_on(question, "comment", text="I do.")
    a.client.act_on(issue, "close", text="Not in the new release.")
    eventually(lambda: b.client.said(voice, "proposals")["proposals"][0]["state"] == "merged")
    *_, updated = b.client.update(voice)
    assert b.client.show(voice)["release"] == second, updated

    # C slept through all of it. It meets A alone.
    b.end()
    c.start(a)
    eventually(lambda: c.client.said(voice, "log", everything=True)["totals"]["stars"])
    list(c.client.update(voice))
    b.start(a)
    seen = [told(one, voice) for one in (a, b, c)]
    assert seen[0] == seen[1]
    assert seen[0] == seen[2]

    acts = [act for _, act, _, _ in seen[0]["entries"]]
    assert sorted(set(acts)) == ["close", "comment", "issue", "merge", "proposal", "review", "star"]
    counted = {"stars": 1, "comments": 2, "issues": 1, "proposals": 1, "signers": 2}
    assert seen[0]["totals"] == counted | {"issues_open": 0, "proposals_open": 0}
    assert seen[0]["others"]["signers"] == 0
    assert (copy, first, "forked-from") in seen[0]["lineage"]
    assert {(mine, copy, "revision-of"), (mine, copy, "fine-tuned-from")} & set(seen[0]["lineage"])
    assert (second, first, "revision-of") in seen[0]["lineage"]
    assert (second, mine, "merged-from") in seen[0]["lineage"]
