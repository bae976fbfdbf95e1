import dataclasses
import io
import json
import struct
import wave

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import flac, label, wav
from p2pvoice.protocol.comments import COMMENTS_LIMIT
from p2pvoice.protocol.errors import ManifestError, UsageError
from p2pvoice.protocol.ids import release_id
from p2pvoice.protocol.label import Label, label_flac, label_wav, read_label, wav_stream_beginning

LABEL = Label(
    produce_id="019ab000-0000-7000-8000-000000000000",
    producer="p2pvoice/0.1.0",
    release=release_id(b"r"),
    voice="说书人",
    license="CC-BY-4.0",
    created=1_790_000_000,
)
WRITERS = {"WAV": label_wav, "FLAC": label_flac}
SAMPLES = (np.sin(np.arange(4001) / 9) * 9000).astype(np.int16)


def sound(format: str) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, SAMPLES, 16_000, format=format, subtype="PCM_16")
    return out.getvalue()


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return struct.pack("<4sI", name, len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def riff(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def text(**changes: str) -> bytes:
    values = {
        "Label": "1", "ContentProducer": "p", "ProduceID": "i", "ReservedCode1": "", "ContentPropagator": "",
        "PropagateID": "", "ReservedCode2": "",
    }  # fmt: skip
    return json.dumps(values | changes).encode()


def block(kind: int, body: bytes, *, last: bool = False) -> bytes:
    return bytes((kind | (0x80 if last else 0),)) + len(body).to_bytes(3) + body


def comments(*entries: bytes) -> bytes:
    parts = [struct.pack("<I", 1), b"v", struct.pack("<I", len(entries))]
    for entry in entries:
        parts += [struct.pack("<I", len(entry)), entry]
    return b"".join(parts)


@pytest.mark.parametrize("format", WRITERS)
def test_round_trip_and_the_sound_is_untouched(format: str) -> None:
    plain = sound(format)
    assert read_label(plain) is None
    labelled = WRITERS[format](plain, LABEL)
    assert read_label(labelled) == LABEL
    samples, rate = soundfile.read(io.BytesIO(labelled), dtype="int16")
    assert rate == 16_000
    assert np.array_equal(samples, SAMPLES)


@pytest.mark.parametrize("format", WRITERS)
def test_a_second_label_replaces_the_first(format: str) -> None:
    once = WRITERS[format](sound(format), LABEL)
    assert WRITERS[format](once, LABEL) == once
    other = Label(produce_id="x", producer="y")
    assert read_label(WRITERS[format](once, other)) == other
    assert WRITERS[format](sound(format), other) == WRITERS[format](once, other)


def test_the_label_is_exactly_as_the_standard_says() -> None:
    labelled = label_wav(sound("WAV"), LABEL)
    expected = (
        b'{"Label":"1","ContentProducer":"p2pvoice/0.1.0","ProduceID":"019ab000-0000-7000-8000-000000000000",'
        b'"ReservedCode1":"","ContentPropagator":"","PropagateID":"","ReservedCode2":""}'
    )
    assert chunk(b"AIGC", expected) in labelled
    assert labelled.index(b"AIGC") < labelled.index(b"p2pv") < labelled.index(b"data")
    assert struct.unpack_from("<I", labelled, 4)[0] == len(labelled) - 8
    assert b"AIGC=" + expected in label_flac(sound("FLAC"), LABEL)
    own = json.loads(wav.texts(labelled)[1][0])
    assert own == {
        "release": LABEL.release, "voice": "说书人", "license": "CC-BY-4.0",
        "created": "2026-09-21T14:13:20Z",
    }  # fmt: skip


def test_the_node_is_never_named() -> None:
    with pytest.raises(UsageError, match="ReservedCode1"):
        label_wav(sound("WAV"), dataclasses.replace(LABEL, reserved1="v1:node"))


printable = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"\\'), max_size=40
)


@given(
    st.builds(
        Label,
        produce_id=printable,
        producer=printable,
        propagator=printable,
        propagate_id=printable,
        mark=st.sampled_from("123"),
        reserved2=printable,
        release=st.none() | st.binary(max_size=9).map(release_id),
        voice=st.text("abc 音é\u200d", max_size=20).map(str.strip),
        license=st.sampled_from(["", "CC-BY-4.0"]),
        created=st.none() | st.integers(1, label.CREATED_LIMIT - 1),
    )
)
def test_any_label_survives_both_formats(made: Label) -> None:
    assert read_label(label_wav(SMALL_WAV, made)) == made
    assert read_label(label_flac(SMALL_FLAC, made)) == made


SMALL_WAV = riff(chunk(b"fmt ", bytes(16)), chunk(b"data", b"\1\2"))
SMALL_FLAC = b"fLaC" + block(0, bytes(34), last=True) + b"audio"


@pytest.mark.parametrize(
    "value", ["a b", 'a"b', "a\\b", "ä", "\x7f", "\n", "x" * (label.VALUE_LENGTH + 1), 7, None]
)
def test_the_alphabet_and_length_of_values(value) -> None:
    assert Label(produce_id="~!" * (label.VALUE_LENGTH // 2), producer="")
    for field in ("produce_id", "producer", "propagator", "propagate_id", "reserved1", "reserved2"):
        with pytest.raises(ManifestError):
            dataclasses.replace(LABEL, **{field: value})


@pytest.mark.parametrize(
    "change",
    [
        {"mark": "4"},
        {"mark": ""},
        {"release": "nothing"},
        {"voice": "v" * 81},
        {"voice": "a\nb"},
        {"license": "l" * 65},
        {"created": 0},
        {"created": label.CREATED_LIMIT},
        {"created": True},
    ],
)
def test_malformed_labels(change) -> None:
    with pytest.raises(ManifestError):
        dataclasses.replace(LABEL, **change)


def test_labels_by_others_are_read() -> None:
    fmt, data = chunk(b"fmt ", bytes(16)), chunk(b"data", b"\1\2")
    expected = Label(produce_id="i", producer="p")
    for raw in (
        riff(fmt, chunk(b"AIGC", text()), data),
        riff(fmt, data, chunk(b"AIGC", text() + b"\0")),
        riff(fmt, chunk(b"LIST", b"INFO" + chunk(b"ISFT", b"other") + chunk(b"AIGC", text())), data),
        b"fLaC" + block(0, bytes(34)) + block(4, comments(b"TITLE=x", b"aigc=" + text()), last=True),
        riff(fmt, chunk(b"AIGC", b'{"ProduceID":"i","Label":"1","ContentProducer":"p","More":"x"}'), data),
    ):
        assert read_label(raw) == expected


def test_exactly_one_label() -> None:
    fmt, one, data = chunk(b"fmt ", bytes(16)), chunk(b"AIGC", text()), chunk(b"data", b"\1\2")
    listed = chunk(b"LIST", b"INFO" + one)
    for raw in (
        riff(fmt, one, one, data),
        riff(fmt, one, data, one),
        riff(fmt, one, listed, data),
        riff(fmt, one, chunk(b"p2pv", b"{}"), chunk(b"p2pv", b"{}"), data),
        b"fLaC" + block(0, bytes(34)) + block(4, comments(b"AIGC=" + text(), b"AIGC=" + text()), last=True),
        b"fLaC" + block(4, comments(b"AIGC=" + text())) + block(4, comments(b"AIGC=" + text()), last=True),
    ):
        with pytest.raises(ManifestError, match="more than one"):
            read_label(raw)
    cleaned = label_wav(
        riff(fmt, one, listed, chunk(b"LIST", b"INFO" + chunk(b"INAM", b"a")), data, one), LABEL
    )
    assert read_label(cleaned) == LABEL
    assert b"INAM" in cleaned


@pytest.mark.parametrize(
    "body",
    [
        b"", b"x", b"[]", b"{}", b"{", b"\xff", b'{"Label":1}', b'{"Label":"1","Label":"2"}', text(Label="0"),
        text(ProduceID="a b"), b"[" * 5000, text() + b"x", text(More="x" * label.TEXT_LIMIT),
    ],
)  # fmt: skip
def test_malformed_label_texts(body: bytes) -> None:
    with pytest.raises(ManifestError):
        read_label(riff(chunk(b"fmt ", bytes(16)), chunk(b"AIGC", body), chunk(b"data", b"\1\2")))


@pytest.mark.parametrize(
    "own",
    [
        b"[]", b'{"release":"x"}', b'{"created":"yesterday"}', b'{"created":"2026-13-01T00:00:00Z"}',
        b'{"voice":"a\\u202eb"}', b'{"voice":7}', b'{"license":"' + b"x" * 65 + b'"}',
    ],
)  # fmt: skip
def test_malformed_text_beside_the_label(own: bytes) -> None:
    with pytest.raises(ManifestError):
        read_label(riff(chunk(b"AIGC", text()), chunk(b"p2pv", own), chunk(b"data", b"\1\2")))


def test_text_limit() -> None:
    def padded(size: int) -> bytes:
        return riff(chunk(b"AIGC", text(More="x" * (size - len(text(More=""))))), chunk(b"data", b"\1\2"))

    assert read_label(padded(label.TEXT_LIMIT)) is not None
    with pytest.raises(ManifestError):
        read_label(padded(label.TEXT_LIMIT + 1))


def test_wav_chunk_limit() -> None:
    # One place is left for the end of the file to be seen.
    full = [chunk(b"junk", b"")] * (wav.CHUNKS_LIMIT - 2)
    assert read_label(riff(*full, chunk(b"AIGC", text()))) is not None
    with pytest.raises(ManifestError):
        read_label(riff(*full, chunk(b"AIGC", text()), chunk(b"junk", b"")))
    entries = [chunk(b"INAM", b"")] * wav.CHUNKS_LIMIT
    assert read_label(riff(chunk(b"LIST", b"INFO" + b"".join(entries)))) is None
    with pytest.raises(ManifestError):
        read_label(riff(chunk(b"LIST", b"INFO" + b"".join([*entries, entries[0]]))))


def test_flac_block_and_comment_limits() -> None:
    def file(blocks: int, entries: int) -> bytes:
        padding = [block(1, b"")] * (blocks - 1)
        return (
            b"fLaC"
            + b"".join(padding)
            + block(4, comments(*[b"A=b"] * (entries - 1), b"AIGC=" + text()), last=True)
        )

    assert read_label(file(flac.BLOCKS_LIMIT, COMMENTS_LIMIT)) is not None
    for bad in (file(flac.BLOCKS_LIMIT + 1, 1), file(1, COMMENTS_LIMIT + 1)):
        with pytest.raises(ManifestError):
            read_label(bad)


def test_a_file_whose_sound_is_cut_off_or_of_unknown_length_is_read() -> None:
    labelled = label_wav(sound("WAV"), LABEL)
    assert read_label(labelled[: labelled.index(b"data") + 100]) == LABEL
    fmt, one = chunk(b"fmt ", bytes(16)), chunk(b"AIGC", text())
    for size in (0, 0xFFFFFFFF):
        streamed = riff(fmt, one, chunk(b"data", b"\1\2\3\4", size))
        assert read_label(streamed) is not None
        assert label_wav(streamed, LABEL).endswith(chunk(b"data", b"\1\2\3\4"))


def test_cut_off_containers() -> None:
    with pytest.raises(ManifestError):
        read_label(riff(chunk(b"AIGC", b"x", 500)))
    for raw in (
        b"fLaC",
        b"fLaC\x00",
        b"fLaC" + block(0, bytes(34)),
        b"fLaC\x84\x00\x00\xff",
        b"fLaC" + block(127, b""),
    ):
        with pytest.raises(ManifestError):
            read_label(raw)
    for body in (b"", b"\xff\xff\xff\xff", comments(b"A=b")[:-1], comments()[:-1]):
        with pytest.raises(ManifestError):
            read_label(b"fLaC" + block(4, body, last=True))


def test_other_files_are_not_labelled() -> None:
    for raw in (b"", b"RIFF", riff()):
        assert read_label(raw) is None
        for write in WRITERS.values():
            with pytest.raises(UsageError):
                write(raw, LABEL)
    with pytest.raises(UsageError, match="stream information"):
        label_flac(b"fLaC" + block(1, b"", last=True), LABEL)


def test_other_metadata_stays() -> None:
    raw = riff(
        chunk(b"fmt ", bytes(16)), chunk(b"LIST", b"INFO" + chunk(b"INAM", b"odd")), chunk(b"data", b"\1")
    )
    labelled = label_wav(raw, LABEL)
    assert chunk(b"LIST", b"INFO" + chunk(b"INAM", b"odd")) in labelled
    flac_file = (
        b"fLaC"
        + block(0, bytes(34))
        + block(2, b"appl")
        + block(4, comments(b"TITLE=x"), last=True)
        + b"audio"
    )
    labelled = label_flac(flac_file, LABEL)
    assert b"TITLE=x" in labelled
    assert block(2, b"appl", last=True) in labelled
    assert labelled.endswith(b"audio")


@given(st.sampled_from(["WAV", "FLAC"]), st.data())
def test_mutated_files_raise_only_our_errors(format: str, data) -> None:
    small = {"WAV": SMALL_WAV, "FLAC": SMALL_FLAC}[format]
    raw = bytearray(WRITERS[format](small, LABEL))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    try:
        found = read_label(bytes(raw))
        again = WRITERS[format](bytes(raw), LABEL)
    except (ManifestError, UsageError):
        return
    assert found is None or isinstance(found, Label)
    assert read_label(again) == LABEL


@given(st.sampled_from([b"fLaC", b"RIFF\0\0\0\0WAVE"]), st.binary(max_size=200))
def test_random_files_raise_only_our_errors(magic: bytes, tail: bytes) -> None:
    try:
        assert read_label(magic + tail) is None
    except ManifestError:
        return


@pytest.mark.parametrize("own", [True, False])
def test_a_stream_begins_with_its_label(own: bool) -> None:
    """Before the first sample, so that whoever hears the beginning knows; players read until it ends."""
    written = LABEL if own else Label(LABEL.produce_id, LABEL.producer)
    beginning = wav_stream_beginning(16_000, written)
    assert read_label(beginning) == written
    assert beginning[:12] == b"RIFF\xff\xff\xff\xffWAVE"
    assert beginning.endswith(b"data\xff\xff\xff\xff")
    for count in (0, 1, len(SAMPLES)):
        stream = beginning + SAMPLES[:count].tobytes()
        assert read_label(stream) == written
        read, rate = soundfile.read(io.BytesIO(stream), dtype="int16")
        assert rate == 16_000
        np.testing.assert_array_equal(read, SAMPLES[:count])
        with wave.open(io.BytesIO(stream)) as file:
            assert file.readframes(file.getnframes()) == SAMPLES[:count].tobytes()
    # It becomes an ordinary file with ordinary lengths, as soon as its end is known.
    whole = label_wav(beginning + SAMPLES.tobytes(), written)
    assert struct.unpack_from("<I", whole, 4)[0] == len(whole) - 8
    assert read_label(whole) == written
