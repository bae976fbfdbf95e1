"""Labels in MP3 and Ogg files: round trips, other people's tags, what is broken, and the limits."""

import dataclasses
import io
import json
import struct
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import mp3, ogg
from p2pvoice.protocol.comments import COMMENTS_LIMIT
from p2pvoice.protocol.errors import ManifestError, UsageError
from p2pvoice.protocol.ids import release_id
from p2pvoice.protocol.label import Label, label_mp3, label_ogg, read_label

LABEL = Label(
    produce_id="019ab000-0000-7000-8000-000000000000",
    producer="p2pvoice/0.1.0",
    release=release_id(b"r"),
    voice="说书人",
    license="CC-BY-4.0",
    created=1_790_000_000,
)
OTHER = Label(produce_id="x", producer="y")
SAMPLES = (np.sin(np.arange(40_001) / 9) * 9000).astype(np.int16)
KINDS = {"MP3": "MPEG_LAYER_III", "OPUS": "OPUS", "VORBIS": "VORBIS"}
WRITERS: dict[str, Callable[[bytes, Label], bytes]] = {
    "MP3": label_mp3,
    "OPUS": label_ogg,
    "VORBIS": label_ogg,
}


def sound(kind: str) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, SAMPLES, 24_000, format="MP3" if kind == "MP3" else "OGG", subtype=KINDS[kind])
    return out.getvalue()


def heard(data: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(data), dtype="int16")[0]


def text(**changes: str) -> bytes:
    values = {
        "Label": "1", "ContentProducer": "p", "ProduceID": "i", "ReservedCode1": "", "ContentPropagator": "",
        "PropagateID": "", "ReservedCode2": "",
    }  # fmt: skip
    return json.dumps(values | changes).encode()


READ = Label(produce_id="i", producer="p")


def safe(size: int) -> bytes:
    return bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))


def frame(body: bytes, *, version: int = 4, name: bytes = b"TXXX", flags: bytes = b"\0\0") -> bytes:
    return name + (safe(len(body)) if version == 4 else len(body).to_bytes(4)) + flags + body


def tag(*frames: bytes, version: int = 4, flags: int = 0, padding: int = 0) -> bytes:
    body = b"".join(frames) + bytes(padding)
    return b"ID3" + bytes((version, 0, flags)) + safe(len(body)) + body


def said(value: bytes = b"", encoding: int = 3) -> bytes:
    """The body of a frame with the label, or another value, in one of the four encodings."""
    codec = ("latin-1", "utf-16", "utf-16-be", "utf-8")[encoding]
    end = b"\0\0" if encoding in (1, 2) else b"\0"
    value = (value or text()).decode().encode(codec)
    return bytes((encoding,)) + "AIGC".encode(codec) + end + value


def page(
    body: bytes, lacing: bytes | None = None, *, number: int = 0, flags: int = 0, serial: int = 7
) -> bytes:
    if lacing is None:
        lacing = b"\xff" * (len(body) // 255) + bytes((len(body) % 255,))
    blank = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, 0, serial, number, 0, len(lacing)) + lacing + body
    return blank[:22] + ogg.checksum(blank).to_bytes(4, "little") + blank[26:]


def comments(*entries: bytes) -> bytes:
    return b"".join(
        [struct.pack("<I", 1), b"v", struct.pack("<I", len(entries))]
        + [struct.pack("<I", len(entry)) + entry for entry in entries]
    )


OPUS = page(b"OpusHead" + bytes(11), flags=2)
"""A first page."""


def opus(*entries: bytes, rest: bytes = b"") -> bytes:
    return OPUS + page(b"OpusTags" + comments(*entries), number=1) + rest


@pytest.mark.parametrize("kind", WRITERS)
def test_round_trip_and_the_sound_is_untouched(kind: str) -> None:
    plain = sound(kind)
    assert read_label(plain) is None
    labelled = WRITERS[kind](plain, LABEL)
    assert read_label(labelled) == LABEL
    assert np.array_equal(heard(labelled), heard(plain))
    assert labelled.index(b"AIGC") < 2_000


@pytest.mark.parametrize("kind", WRITERS)
def test_a_second_label_replaces_the_first(kind: str) -> None:
    once = WRITERS[kind](sound(kind), LABEL)
    assert WRITERS[kind](once, LABEL) == once
    again = WRITERS[kind](once, OTHER)
    assert read_label(again) == OTHER
    assert again.count(b"AIGC") == 1
    assert np.array_equal(heard(again), heard(once))


@pytest.mark.parametrize("kind", WRITERS)
def test_the_beginning_of_a_file_is_enough(kind: str) -> None:
    labelled = WRITERS[kind](sound(kind), LABEL)
    assert read_label(labelled[:-200]) == LABEL


def test_a_tag_can_be_sent_before_there_is_sound() -> None:
    alone = label_mp3(b"", LABEL)
    assert read_label(alone) == LABEL
    assert np.array_equal(heard(alone + sound("MP3")), heard(sound("MP3")))


def test_the_head_of_an_ogg_file_is_told_as_soon_as_it_is_there() -> None:
    for kind in ("OPUS", "VORBIS"):
        whole = sound(kind)
        length = next(one for one in range(len(whole)) if ogg.head_length(whole[:one]) is not None)
        assert ogg.head_length(whole[:length]) == length
        head = label_ogg(whole[:length], LABEL)
        assert ogg.page_count(head) == ogg.page_count(whole[:length])
        assert np.array_equal(heard(head + whole[length:]), heard(whole))


@pytest.mark.parametrize("kind", ["OPUS", "VORBIS"])
def test_pages_behind_a_longer_head_are_numbered_anew(kind: str) -> None:
    whole = sound(kind)
    longer = ogg.rewrite(whole, b"x" * 200_000, b"")
    assert ogg.page_count(longer) == ogg.page_count(whole) + 3
    assert numbers(longer) == list(range(ogg.page_count(longer)))
    assert np.array_equal(heard(longer), heard(whole))
    assert ogg.rewrite(longer, b"y", b"") == ogg.rewrite(whole, b"y", b"")
    with pytest.raises(ManifestError, match="cut off"):
        ogg.rewrite(whole[:-1], b"x" * 200_000, b"")


def numbers(data: bytes) -> list[int]:
    """The numbers that the pages of a file have."""
    parts = data.split(b"OggS\0")[1:]
    return [int.from_bytes(part[13:17], "little") for part in parts]


def test_checksum_is_that_of_libogg() -> None:
    whole = sound("VORBIS")
    end = whole.index(b"OggS", 4)
    first = whole[:end]
    assert ogg.checksum(first[:22] + bytes(4) + first[26:]) == int.from_bytes(first[22:26], "little")


def test_tags_by_others_are_read() -> None:
    noise = frame(b"\x03title", name=b"TIT2")
    for made in (
        *(tag(noise, frame(said(encoding=number))) for number in range(4)),
        *(tag(frame(said(encoding=number), version=3), version=3) for number in range(4)),
        tag(frame(said(text() + b"\0"))),
        tag(frame(said()), padding=50),
        tag(noise) + tag(frame(said())),
        tag(frame(said()), flags=0x10) + b"3DI" + bytes(7),
        tag(safe(6) + b"\x01\x00" + frame(said()), flags=0x40),
        tag((6).to_bytes(4) + bytes(6) + frame(said(), version=3), version=3, flags=0x40),
        tag(frame(said().replace(b"AIGC", b"aigc"))),
        # A tag whose every 255 is followed by a zero, so that old players do not take it for sound.
        tag(frame(said(encoding=1), version=3).replace(b"\xff", b"\xff\0"), version=3, flags=0x80),
    ):
        assert read_label(made + b"\xff\xfb\x90\x00") == READ, made
    for made in (tag(noise), tag(frame(said()), version=2), b"\xff\xfb\x90\x00", tag(frame(b"\x09AIGC\0{}"))):
        assert read_label(made) is None
    # What is compressed or enciphered is no text that anybody reads.
    assert read_label(tag(frame(said(), flags=b"\0\x08"))) is None
    assert read_label(tag(frame(said(), version=3, flags=b"\0\x40"), version=3)) is None


def test_other_frames_stay_and_their_version_as_well() -> None:
    noise = frame(b"\x03title", name=b"TIT2", version=3)
    labelled = label_mp3(tag(noise, frame(said(), version=3), version=3) + sound("MP3"), LABEL)
    assert noise in labelled
    assert labelled[3] == 3
    assert read_label(labelled) == LABEL
    assert read_label(label_mp3(tag(frame(b"\x03a\0b")) + tag(frame(said())) + sound("MP3"), OTHER)) == OTHER
    for old in (tag(version=2) + sound("MP3"), tag() + tag(version=3)):
        with pytest.raises(UsageError):
            label_mp3(old, LABEL)


def test_exactly_one_label() -> None:
    for made in (
        tag(frame(said()), frame(said())),
        tag(frame(said())) + tag(frame(said(), version=3), version=3),
        tag(frame(said()), frame(b"\x03P2PVOICE\0{}"), frame(b"\x03P2PVOICE\0{}")),
        opus(b"AIGC=" + text(), b"aigc=" + text()),
    ):
        with pytest.raises(ManifestError, match="more than one"):
            read_label(made)


def test_broken_tags() -> None:
    whole = tag(frame(said()))
    for made in (
        b"ID3", whole[:9], whole[:-1], tag(frame(said())[:-1]), tag(flags=0x40), tag(safe(1), flags=0x40),
        tag(frame(b"\x03AIGC\0\xff\xfe")), tag(frame(b"\x01A\0I\0G\0C\0\0\0\xff\xfe\x00\xd8")),
        tag(frame(said(b"{}"))), tag(frame(said(b"[]"))),
    ):  # fmt: skip
        with pytest.raises(ManifestError):
            read_label(made)


def test_tag_and_frame_limits() -> None:
    full = [frame(b"\x03a\0b")] * (mp3.FRAMES_LIMIT - 1)
    assert read_label(tag(*full, frame(said()))) == READ
    with pytest.raises(ManifestError, match="frames"):
        read_label(tag(*full, frame(said()), full[0]))
    assert read_label(tag() * (mp3.TAGS_LIMIT - 2) + tag(frame(said()))) == READ
    for call in (read_label, lambda data: label_mp3(data, LABEL)):
        with pytest.raises(ManifestError, match="tags"):
            call(tag() * (mp3.TAGS_LIMIT - 1) + tag(frame(said())))


def test_streams_by_others_are_read() -> None:
    picture = page(b"\x80theora" + bytes(30), flags=2, serial=9)
    vorbis = page(b"\x01vorbis" + bytes(23), flags=2)
    split = b"OpusTags" + comments(b"X=" + b"y" * 70_000, b"AIGC=" + text())
    halves = page(split[:65_025], b"\xff" * 255, number=1) + page(split[65_025:], number=2, flags=1)
    for made in (
        opus(b"TITLE=x", b"AIGC=" + text()),
        opus(b"aigc=" + text(), rest=b"OggS"),
        picture + opus(b"AIGC=" + text()),
        OPUS + picture + page(b"\x81theora", number=1, serial=9) + opus(b"AIGC=" + text())[len(OPUS) :],
        OPUS + halves,
        vorbis + page(b"\x03vorbis" + comments(b"AIGC=" + text()) + b"\1", number=1),
    ):
        assert read_label(made) == READ
    for made in (opus(), picture, picture + page(b"x", number=1, serial=9)):
        assert read_label(made) is None


def test_broken_streams() -> None:
    whole = opus(b"AIGC=" + text())
    for made in (
        OPUS, whole[:-1], OPUS + b"junk", OPUS + page(b"OpusTogs" + comments(), number=1),
        OPUS + page(b"OpusTags" + comments()[:-1], number=1), OPUS + page(b"OpusTags", number=1),
        OPUS + page(b"\xff" * 510, b"\xff\xff", number=1), whole[:4] + b"\1" + whole[5:],
    ):  # fmt: skip
        with pytest.raises(ManifestError):
            read_label(made)
    for made in (
        b"RIFF", page(b"x"), page(b"\x80theora", flags=2, serial=9) + opus(),
        OPUS + page(b"OpusTags" + comments() + b"sound", bytes((8 + len(comments()), 5)), number=1),
    ):  # fmt: skip
        with pytest.raises(UsageError):
            label_ogg(made, LABEL)


def test_page_packet_and_comment_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    others = page(b"\x80theora", flags=2, serial=9)
    at_limit = others * (ogg.PAGES_LIMIT - 2) + opus(b"AIGC=" + text())
    assert read_label(at_limit) == READ
    with pytest.raises(ManifestError, match="pages"):
        read_label(others + at_limit)
    entries = [b"A=b"] * (COMMENTS_LIMIT - 1)
    assert read_label(opus(*entries, b"AIGC=" + text())) == READ
    with pytest.raises(ManifestError, match="comments"):
        read_label(opus(*entries, b"AIGC=" + text(), b"A=b"))
    made = opus(b"AIGC=" + text())
    size = 19 + len(b"OpusTags" + comments(b"AIGC=" + text()))
    monkeypatch.setattr(ogg, "PACKET_LIMIT", size)
    assert read_label(made) == READ
    monkeypatch.setattr(ogg, "PACKET_LIMIT", size - 1)
    with pytest.raises(ManifestError, match="bytes before"):
        read_label(made)


printable = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"\\'), max_size=40
)


@given(
    st.builds(
        Label,
        produce_id=printable,
        producer=printable,
        release=st.none() | st.binary(max_size=9).map(release_id),
        voice=st.text("abc 音é\u200d", max_size=20).map(str.strip),
    )
)
def test_any_label_survives(made: Label) -> None:
    assert read_label(label_mp3(b"", made)) == made
    assert read_label(label_mp3(tag(version=3), made)) == made
    assert read_label(label_ogg(opus(), made)) == made


def test_the_node_is_never_named() -> None:
    for write, data in ((label_mp3, b""), (label_ogg, opus())):
        with pytest.raises(UsageError, match="ReservedCode1"):
            write(data, dataclasses.replace(LABEL, reserved1="v1:node"))


@given(st.sampled_from(["MP3", "MP3-2.3", "OGG"]), st.data())
def test_mutated_files_raise_only_our_errors(kind: str, data: st.DataObject) -> None:
    write, begin = {
        "MP3": (label_mp3, b""), "MP3-2.3": (label_mp3, tag(version=3)), "OGG": (label_ogg, opus()),
    }[kind]  # fmt: skip
    raw = bytearray(write(begin, LABEL))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        found = read_label(cut)
        again = write(cut, LABEL)
    except (ManifestError, UsageError):
        return
    assert found is None or isinstance(found, Label)
    assert read_label(again) == LABEL
