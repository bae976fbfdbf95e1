"""Real trainings in a real daemon: speaking beside one, hanging up, kill -9, resuming, publishing."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from p2pvoice.protocol.errors import ConflictError, NotFoundError, TrainingError, UsageError
from p2pvoice.sovits.packaged import packaged_voice

from .nodes import Daemon, bring, install_encoder, publish, refusal, running

Make = Callable[[], Daemon]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], str, str]:
    """A quarter of a minute of one speaker in three clips, their list of transcripts, and their language.

    The packaged voice's own reference, played at three speeds: real speech, and no clip a copy of another.
    """
    came = packaged_voice()
    samples, rate = soundfile.read(came.clip)
    folder = tmp_path_factory.mktemp("recordings")
    paths = [folder / f"clip {number}.wav" for number in range(3)]
    for number, path in enumerate(paths):
        soundfile.write(path, samples, int(rate * (1 + 0.03 * number)))
    rows = [f"{path.name}|me|{came.lang.upper()}|{came.text}\n" for path in paths]
    return paths, "".join(rows), came.lang


def asked(daemon: Daemon, recordings: tuple[list[Path], str, str], **changed: object) -> dict[str, object]:
    """A request to train, its clips sent."""
    paths, listed, lang = recordings
    clips = [{"name": path.name, "upload": daemon.client.upload(path)} for path in paths]
    transcripts = daemon.client.upload_text(listed)
    return {"name": "Me", "lang": lang, "clips": clips, "transcripts": transcripts, **changed}


def until_learning(events: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """The first event of a training that has taken a step of learning."""
    return next(event for event in events if event.get("losses") and event["step"] >= 1)


def state(daemon: Daemon, name: str = "me") -> str:
    return next(row["state"] for row in daemon.client.trainings() if row["training"] == name)


def test_train_kill_resume_and_publish(
    daemons: Make, encoder: Path, clip: Path, recordings: tuple[list[Path], str, str]
) -> None:
    daemon = daemons().start()
    client = daemon.client
    install_encoder(daemon, encoder)
    bring(daemon, clip)
    base = publish(daemon)["release"]

    # A training without end: speaking goes on beside it, another training does not.
    events = client.train(asked(daemon, recordings, base=base, minutes=600, declaration="Read by me."))
    until_learning(events)
    assert state(daemon) == "running"
    status = client.status()["training"]
    assert status["current"] == "me"
    own = os.getpriority(os.PRIO_PROCESS, client.status()["pid"])
    assert os.getpriority(os.PRIO_PROCESS, status["pid"]) == min(19, own + 10)
    assert client.speak({"voice": base, "text": "好", "lang": "yue", "seed": 1}).release == base
    error = refusal(lambda: list(client.train(asked(daemon, recordings, name="Other", base=base, epochs=1))))
    assert isinstance(error, ConflictError)
    assert "me is running" in error.message
    assert isinstance(refusal(lambda: client.remove_training("me")), ConflictError)
    assert refusal(lambda: client.remove("me")).hint.endswith("p2pvoice trainings rm me")
    assert list((daemon.home / "uploads").iterdir()) == []
    # The base may go: a training holds what it needs of it.
    client.remove(base)

    # Whoever hangs up stops it, and what was learnt is kept.
    events.close()  # type: ignore[attr-defined]
    client.stop_training("me")
    assert state(daemon) == "stopped"
    folder = daemon.home / "trainings" / "me"
    assert (folder / "work" / "sovits" / "checkpoint.pt").is_file()

    # It goes on from there, is killed, and can go on again.
    events = client.resume_training("me")
    until_learning(events)
    pid = client.status()["training"]["pid"]
    os.kill(pid, signal.SIGKILL)
    error = refusal(lambda: list(events))
    assert isinstance(error, TrainingError)
    assert "SIGKILL" in error.message
    assert error.hint == "p2pvoice train --resume me"
    assert state(daemon) == "stopped"

    # The daemon dies: so does the worker, and the next daemon can resume.
    events = client.resume_training("me")
    until_learning(events)
    pid = client.status()["training"]["pid"]
    daemon.end(signal.SIGKILL)
    while running(pid):  # it leaves when its stdin ends
        os.sched_yield()
    daemon.start()
    assert state(daemon) == "stopped"
    freed = client.remove_training("me")
    assert freed["freed"] > 0
    assert not folder.exists()


def test_what_comes_of_a_training_is_a_draft_that_says_so(
    daemons: Make, encoder: Path, clip: Path, recordings: tuple[list[Path], str, str]
) -> None:
    daemon = daemons()
    # On a busy machine a process that stands back would stand still.
    (daemon.home / "config.toml").write_text("[training]\nnice = 0\n")
    daemon.start()
    client = daemon.client
    install_encoder(daemon, encoder)
    bring(daemon, clip)
    base = publish(daemon)["release"]
    body = asked(daemon, recordings, base=base, minutes=0.1, only="last-layers", declaration="Read by me.")
    events = client.train(body)
    until_learning(events)
    os.kill(client.status()["training"]["pid"], signal.SIGKILL)
    assert isinstance(refusal(lambda: list(events)), TrainingError)
    *_, result = client.resume_training("me")
    assert (result["draft"], result["state"]) == ("me", "done")
    assert state(daemon) == "done"
    assert [row["name"] for row in result["report"]["clips"]] == [path.name for path in recordings[0]]
    assert isinstance(refusal(lambda: list(client.resume_training("me"))), ConflictError)
    draft = next(row for row in client.drafts() if row["slug"] == "me")
    assert draft["training"]["base"] == base

    # How many steps were taken hangs on the machine, and with them whether random weights find an end when
    # they speak: that a voice's own clips take the recordings' place is test_consent's.
    release = publish(daemon, "me", tags=[], consent="self", clips_may_travel=True)["release"]
    shown = client.show(release)
    assert {"release": base, "kind": "fine-tuned-from"} in shown["parents"]
    training = shown["training"]
    assert (training["kind"], training["base"]) == ("trained", base)
    assert training["steps"] > 0
    assert training["layers"]
    assert training["data"]["clips"] == 3
    given = sum(soundfile.info(path).duration for path in recordings[0])
    assert 0.8 * given < training["data"]["seconds"] <= given + 1
    assert training["data"]["declaration"] == "Read by me."
    fields = {row["field"]: row for row in shown["measured"]}
    assert float(fields["training_seconds"]["value"]) == pytest.approx(training["data"]["seconds"], abs=1)
    assert all(0 <= row["confidence"] <= 100 and row["method"] for row in fields.values())


def test_requests_that_make_no_sense_leave_nothing(
    daemons: Make, recordings: tuple[list[Path], str, str]
) -> None:
    daemon = daemons().start()
    client = daemon.client
    for changed, kind in (
        ({"name": ""}, UsageError),
        ({"name": "n" * 81}, UsageError),
        ({"lang": "klingon"}, UsageError),
        ({"lang": None}, UsageError),
        ({"epochs": 0}, UsageError),
        ({"epochs": 1.5}, UsageError),
        ({"epochs": True}, UsageError),
        ({"minutes": 0}, UsageError),
        ({"minutes": "many"}, UsageError),
        ({"epochs": 1, "minutes": 1}, UsageError),
        ({"only": "first-layers"}, UsageError),
        ({"seed": -1}, UsageError),
        ({"clips": []}, UsageError),
        ({"clips": "all"}, UsageError),
        ({"clips": [7]}, UsageError),
        ({"clips": [{"name": "a.wav", "upload": "0" * 32}]}, UsageError),
        ({"transcripts": "0" * 32}, UsageError),
        ({"transcripts": None}, UsageError),
        ({"asr": "nobody"}, NotFoundError),
        ({"base": "nobody/nothing"}, NotFoundError),
        ({"declaration": "d" * 501}, UsageError),
    ):
        error = refusal(lambda changed=changed: list(client.train(asked(daemon, recordings, **changed))))
        assert isinstance(error, kind), (changed, error)
        assert error.message, changed
    paths = recordings[0]
    twice = [{"name": "a.wav", "upload": client.upload(path)} for path in paths[:2]]
    error = refusal(lambda: list(client.train(asked(daemon, recordings, clips=twice))))
    assert "two clips" in error.message
    climbing = [{"name": "../a.wav", "upload": client.upload(paths[0])}]
    assert isinstance(
        refusal(lambda: list(client.train(asked(daemon, recordings, clips=climbing)))), UsageError
    )
    assert isinstance(refusal(lambda: list(client.resume_training("me"))), NotFoundError)
    assert isinstance(refusal(lambda: client.stop_training("me")), NotFoundError)
    assert isinstance(refusal(lambda: client.remove_training("../drafts")), NotFoundError)
    assert isinstance(refusal(lambda: client.json("POST", "/v1/trainings/me/start")), NotFoundError)
    assert isinstance(refusal(lambda: list(client.tune({"lang": "en"}))), UsageError)
    assert isinstance(refusal(lambda: list(client.distil({"voice": "no/body", "name": "x"}))), NotFoundError)
    for body in ({}, {"draft": "me", "upload": "0" * 32}, {"voice": "me"}):
        assert isinstance(refusal(lambda body=body: list(client.describe(body))), UsageError)
    assert isinstance(refusal(lambda: list(client.similarity({}, {}))), UsageError)
    assert isinstance(refusal(lambda: list(client.stability({"upload": "0" * 32}))), UsageError)
    assert client.trainings() == []
    assert list((daemon.home / "trainings").iterdir()) == []
    assert client.status()["training"]["starts"] == 0
