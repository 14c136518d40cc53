"""Any frame comes back as it went in, and its bytes are those that fastavro writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import schemas
from datastalker import testing
from datastalker.errors import WireError
from datastalker.message import FRAME_FIELDS, KIND_NAMES, Message
from datastalker.wire import (
    BatchDecoder,
    BatchEncoder,
    decode_batch,
    frames,
    reader,
    runs,
    writer,
)
from datastalker.wire.frames import KNOWN, Origin, to_record
from infra import release_schemas

SENDER: dict[str, Any] = {"sensor": "porch", "session": "s", "prefix": b""}
HEAD: dict[str, Any] = {"sequence": 1, "sent_at": 2, "now": 3, "clock_offset_ms": 0.5}

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
address = st.sampled_from(["02:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff"]) | st.binary(
    min_size=6, max_size=6
).map(lambda raw: raw.hex(":"))
number = st.integers(-3, 70) | st.integers(-(1 << 31), (1 << 31) - 1)
long = number | st.integers(-(1 << 63), (1 << 63) - 1)
TYPES: dict[str, st.SearchStrategy[Any]] = {
    "integer": number,
    "boolean": st.booleans(),
    "text": text,
    "address": address,
    "kind": st.sampled_from(KIND_NAMES),
    "strings": st.lists(text, max_size=3),
    "integers": st.lists(number, max_size=3),
    "map": st.dictionaries(text, text, max_size=2),
}
OWN: dict[str, st.SearchStrategy[Any]] = {
    "timestamp": long | st.integers((1 << 50) - (1 << 15), (1 << 50) + (1 << 15)),
    "id": text | st.text("a", min_size=60, max_size=70),
    "tsf": st.integers(0, (1 << 64) - 1),
    "frame_number": long,
    "sensor": st.sampled_from(["porch", "attic", ""]),
    "interface": st.sampled_from(["wlan0", "wlan1"]),
    "file": st.sampled_from(["a.pcap", "b.pcap"]),
    "labels": st.sampled_from([{}, {"site": "home"}, {"site": "away"}]),
}
anything = (
    st.none() | st.booleans() | long | st.floats(allow_nan=False) | text | st.binary(max_size=4)
    | st.lists(text, max_size=3)
)  # fmt: skip
hearing = st.fixed_dictionaries({"sensor": st.none() | text, "signal_dbm": st.none() | number})
keys: dict[str, st.SearchStrategy[Any]] = {
    **{name: OWN.get(name, TYPES[field.type]) for name, field in FRAME_FIELDS.items()},
    "heard_by": st.lists(hearing, max_size=2),
    "ta_oui": text,
    "anything": anything,
    "management": anything,
    "extra": anything,
    "wps_other": anything,
}
frame = st.builds(
    lambda known, order: Message(sorted(known.items(), key=lambda item: order.random())),
    st.fixed_dictionaries({"type": st.just("frame")}, optional=keys),
    st.randoms(use_true_random=False),
)
origin = st.builds(
    dict,
    interface=st.none() | OWN["interface"],
    file=st.none() | OWN["file"],
    labels=OWN["labels"],
)
quickly = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True, scope="module")
def soon_often() -> Iterator[None]:
    """The second frame of a shape is written by a function made for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "OFTEN", 1)
        yield


def types(value: Any) -> Any:
    """A value with the types of what is in it: True and 1 are not the same."""
    if isinstance(value, dict):
        return {key: types(part) for key, part in value.items()}
    if isinstance(value, list):
        return [types(part) for part in value]
    return type(value).__name__, value


def read(data: bytes) -> list[Message]:
    return reader.FrameReader().read(data, 0).messages


@quickly
@given(st.lists(frame, max_size=4), origin)
def test_what_comes_back_is_what_went_in(messages: list[Message], sender: dict[str, Any]) -> None:
    data = BatchEncoder(**SENDER, **sender).encode(messages * 2, **HEAD)
    assert types(read(data)) == types(messages * 2)


@quickly
@given(messages=st.lists(frame, max_size=4), sender=origin)
def test_the_bytes_are_those_of_fastavro(
    messages: list[Message], sender: dict[str, Any], fastavro_write: Callable[[str, Any], bytes]
) -> None:
    data = BatchEncoder(**SENDER, **sender).encode(messages * 2, **HEAD)
    common = Origin(SENDER["sensor"], **sender)
    record = {
        **common._asdict(),
        "session": SENDER["session"],
        **HEAD,
        "frames": [to_record(message, common) for message in messages * 2],
    }
    assert data == fastavro_write("frame_batch", record)


def test_forgetting_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((writer, "LIMIT"), (writer, "LIMIT_NUMBERS"), (writer, "LIMIT_SHAPES"),
                         (runs, "LIMIT")):  # fmt: skip
        monkeypatch.setattr(module, name, 2)
    messages = release_schemas.frames() * 3
    assert read(BatchEncoder(**SENDER).encode(messages, **HEAD)) == messages


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (writer, runs):
        monkeypatch.setattr(module, "LIMIT", 100)
    encoder, decoder = BatchEncoder(**SENDER), reader.FrameReader()
    messages = [
        Message(type="frame", timestamp=n, id=f"{n}", kind="PROBE_REQ", ssid=f"{n}", signal_dbm=n,
                seq=n, ta=n.to_bytes(6, "big").hex(":"), elements=[n])
        for n in range(1000)
    ]  # fmt: skip
    decoder.read(encoder.encode(messages, **HEAD), 0)
    assert sum(len(memo) for memo in encoder._writer._memory._memos) <= 100
    known = decoder._runs
    assert sum(map(len, [known.addresses, known.bodies, *known.heads.values()])) <= 100


change = st.one_of(
    st.tuples(st.sampled_from(sorted(keys)), st.just("remove"), st.none()),
    *(
        st.tuples(st.just(name), st.sampled_from(["set", "move"]), values)
        for name, values in keys.items()
    ),
    st.tuples(st.sampled_from(["akms", "elements", "labels"]), st.just("in place"), st.none()),
)


def apply(message: Message, name: str, how: str, value: Any) -> None:
    """What a stage may do to a message."""
    if how == "remove":
        message.pop(name, None)
    elif how == "in place" and isinstance(message.get(name), list):
        message[name].append(7 if name == "elements" else "x")
    elif how == "in place" and isinstance(message.get(name), dict):
        message[name]["x"] = "y"
    elif how != "in place":
        if how == "move":
            message.pop(name, None)
        message[name] = value


@quickly
@given(
    messages=st.lists(frame, min_size=1, max_size=3),
    sender=origin,
    receiver=origin | st.none(),
    changes=st.lists(change, max_size=3),
)
def test_what_is_passed_on_is_written_as_if_it_had_not_been_read(
    messages: list[Message],
    sender: dict[str, Any],
    receiver: dict[str, Any] | None,
    changes: list[tuple[str, str, Any]],
) -> None:
    for n, message in enumerate(messages):  # as frames of today have them
        message.update(timestamp=(1 << 50) + n, id=f"s-{n}", length=n, seq=n, duration=n)
    raw = BatchEncoder(**SENDER, **sender).encode(messages, **HEAD)
    reads = reader.FrameReader(to_pass_on=True)
    own = {"sensor": "", "session": "", "prefix": b""} if receiver is None else SENDER | receiver
    again, afresh = BatchEncoder(**own, to_pass_on=True), BatchEncoder(**own)
    for _ in range(3):
        for message in reads.read(raw, 0).messages:
            for what in changes:
                apply(message, *what)
            assert again.frame(message) == afresh.frame(message)


def test_bytes_that_could_be_fewer_are_not_passed_on() -> None:
    encoder = BatchEncoder(**SENDER)
    again = BatchEncoder(**SENDER, to_pass_on=True)
    for key, long in (("seq", 5), ("length", 5), ("duration", 5), ("frame_number", 5), ("tsf", 5)):
        usual = {"type": "frame", "timestamp": 1 << 50, "id": "s-1", "length": 1, "ssid": "x"}
        messages = [Message(usual | {key: number}) for number in (long, 60)]
        short, other = (encoder.encode([message], **HEAD) for message in messages)
        at = next(n for n, pair in enumerate(zip(short, other, strict=False)) if pair[0] != pair[1])
        stretched = short[:at] + bytes((short[at] | 128, 0)) + short[at + 1 :]
        (message,) = reader.FrameReader(to_pass_on=True).read(stretched, 0).messages
        assert message == messages[0]
        assert again.frame(message) == encoder.frame(messages[0])


def test_what_no_stage_changed_is_put_together_from_what_was_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = [release_schemas.frames()[n] for n in (0, 5)]
    raw = BatchEncoder(**SENDER).encode(plain, **HEAD)
    reads = reader.FrameReader(to_pass_on=True)
    encoder = BatchEncoder("", "", prefix=b"", to_pass_on=True)

    def passed_on() -> list[bytes]:
        messages = [m for m in reads.read(raw, 0).messages if hasattr(m, "wire")]
        for message in messages:
            message["ta_oui"] = "Maker"
        return [encoder.frame(message) for message in messages]

    first = passed_on()
    assert len(first) == 2
    monkeypatch.delattr(writer.FrameWriter, "write")
    assert passed_on() == first


def test_messages_share_nothing_that_can_be_changed() -> None:
    message = Message(type="frame", elements=[0, 1], akms=["PSK"], ssid="x")
    first, second = read(BatchEncoder(**SENDER).encode([message, message], **HEAD))
    first["elements"].append(2)
    first["akms"].append("SAE")
    assert second == message


def test_every_key_of_the_contract_has_a_field() -> None:
    assert FRAME_FIELDS.keys() <= KNOWN


def test_the_usual_frame_takes_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [release_schemas.frames()[n] for n in (0, 5)]
    for name in ("to_record", "from_record"):
        monkeypatch.delattr(frames, name)
    encoder = BatchEncoder("porch", "s", prefix=b"", interface="wlan1", labels={"site": "home"})
    assert read(encoder.encode(messages, **HEAD)) == messages


def test_the_kinds_of_the_schema_are_those_of_the_contract() -> None:
    frame_fields = schemas.current("frame_batch")["fields"][-1]["type"]["items"]["fields"]
    symbols = next(f["type"]["symbols"] for f in frame_fields if f["name"] == "kind")
    assert tuple(symbols) == KIND_NAMES


def test_the_reader_goes_by_the_order_of_the_schema() -> None:
    own = ("timestamp", "id", "frame_number", "seq", "length", "duration")
    behind = ("management", "heard_by", "extra")
    head = (*runs.RADIO, *frames.INHERITED)
    assert tuple(frames.FRAME.fields) == (*own, *head, *frames.ADDRESSES, *behind)
    assert tuple(frames.MANAGEMENT.fields) == ("tsf", *runs.BODY)
    assert len(frames.FRAME.fields) == reader.LEAST_FRAME


def test_a_key_that_is_null_is_absent() -> None:
    message = Message(dict.fromkeys(FRAME_FIELDS) | {"type": "frame"})
    data = BatchEncoder("porch", "s", interface="w", file="f", labels={"a": "b"}).encode(
        [message], **HEAD
    )
    assert decode_batch(data).messages == [{"type": "frame"}]


def test_a_batch_says_who_sent_it_and_when() -> None:
    encoder = BatchEncoder("porch", "s", labels={"a": "b"}, interface="w", file="f")
    batch = decode_batch(encoder.encode([], sequence=7, sent_at=8, now=9, clock_offset_ms=-1.5))
    assert (batch.sensor, batch.session, batch.sequence, batch.sent_at, batch.now) == (
        "porch",
        "s",
        7,
        8,
        9,
    )
    assert (batch.clock_offset_ms, batch.labels) == (-1.5, {"a": "b"})
    assert (batch.interface, batch.file, batch.messages) == ("w", "f", [])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"ta": "02:00:5E:00:00:01"}, "key 'ta' holds the str '02:00:5E:00:00:01': an address reads"),
        ({"ra": "02:00:5e"}, "key 'ra' holds the str '02:00:5e': an address reads aa:bb:cc:dd:ee:ff"),
        ({"da": 5}, "key 'da' holds the int 5: an address"),
        ({"bssid": "zz:00:5e:00:00:01"}, "key 'bssid' holds"),
        ({"kind": "BEACONS"}, "key 'kind' holds the str 'BEACONS': Kind has no such name"),
        ({"kind": ["BEACON"]}, "key 'kind' holds the list ['BEACON']"),
        ({"channel": "six"}, "key 'channel' holds the str 'six': it is no whole number"),
        ({"channel": 6.5}, "key 'channel' holds the float 6.5: it is no whole number"),
        ({"length": 1 << 31}, "key 'length' holds the int 2147483648: it doesn't fit into 32 bits"),
        ({"seq": 1 << 31}, "key 'seq' holds the int 2147483648: it doesn't fit into 32 bits"),
        ({"timestamp": 1 << 63}, "key 'timestamp' holds the int 9223372036854775808: it doesn't fit"),
        ({"timestamp": float("nan")}, "key 'timestamp' holds the float nan"),
        ({"tsf": 1 << 64}, "key 'tsf' holds the int 18446744073709551616: it doesn't fit into 64 bits"),
        ({"tsf": -1}, "key 'tsf' holds the int -1"),
        ({"retry": "yes"}, "key 'retry' holds the str 'yes': it is neither true nor false"),
        ({"ssid": b"x"}, "key 'ssid' holds the bytes b'x': it is no text"),
        ({"ssid": ["x"]}, "key 'ssid' holds the list ['x']: it is no text"),
        ({"akms": "SAE"}, "key 'akms' holds the str 'SAE': it is no list"),
        ({"elements": [1, "x"]}, "key 'elements' holds the list [1, 'x']: it is no whole number"),
        ({"labels": {"a": 1}}, "key 'labels' holds the dict {'a': 1}: it is no text"),
        ({"heard_by": [{"sensor": "a"}]}, "key 'heard_by' holds the list [{'sensor': 'a'}]"),
        ({"mine": {"a": 1}}, "key 'mine' holds the dict {'a': 1}; what a stage sets may be"),
        ({"mine": [1]}, "key 'mine' holds the list [1]; what a stage sets may be"),
        ({"mine": 1 << 63}, "key 'mine' holds the int 9223372036854775808: it doesn't fit into 64 bits"),
        ({"mine": {"a"}}, "key 'mine' holds the set {'a'}"),
        ({5: "x"}, "key '5' holds the str 'x'"),
        ({"type": "presence"}, "a message of type 'presence' is no frame"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_named_and_others_can(keys: dict[Any, Any], said: str) -> None:
    encoder = BatchEncoder(**SENDER)
    good = Message(
        type="frame", timestamp=1, id="1", ta="02:00:5e:00:00:01", channel=6, kind="ACK", length=9
    )
    for _ in range(2):
        with pytest.raises(WireError) as caught:
            encoder.frame(Message(good | keys))
        assert str(caught.value).startswith(said)
        assert read(encoder.batch([encoder.frame(good)], **HEAD)) == [good]


def test_a_whole_float_is_a_whole_number_whatever_was_written_before() -> None:
    message = Message(type="frame", channel=6.0, seq=5.0, timestamp=7.0, id="")
    fresh, used = BatchEncoder(**SENDER), BatchEncoder(**SENDER)
    used.frame(Message(type="frame", channel=6, seq=5, timestamp=7, id=""))
    assert fresh.frame(message) == used.frame(message)


def test_half_a_character_in_the_name_of_a_file_costs_that_character() -> None:
    message = Message(type="frame", file="a\udcff.pcap")
    (back,) = read(BatchEncoder(**SENDER).encode([message], **HEAD))
    assert back["file"] == "a?.pcap"


def test_a_tuple_comes_back_as_a_list() -> None:
    (back,) = read(
        BatchEncoder(**SENDER).encode([Message(type="frame", akms=("PSK",), a=("b",))], **HEAD)
    )
    assert (back["akms"], back["a"]) == (["PSK"], ["b"])


def test_what_is_remembered_of_keys_that_stages_make_up_is_bounded() -> None:
    whole = testing.frame(
        **{**frames.ABSENT, "id": "a", "sensor": "porch", "timestamp": testing.START}
    )
    raw = BatchEncoder("porch", "session").encode([whole], sequence=0, sent_at=1, now=1)
    decoder, encoder = BatchDecoder(to_pass_on=True), BatchEncoder("", "", to_pass_on=True)
    for n in range(5 * writer.LIMIT_SHAPES):
        (message,) = decoder.decode(raw).messages
        assert hasattr(message, "wire")
        message[f"key-{n}"] = n
        encoder.frame(message)

    assert len(encoder._writer._memory._memos) < 2 * writer.LIMIT_SHAPES
