"""Capture files of every form give the same records; damage costs only what is damaged."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
from types import SimpleNamespace

import pytest

from capture_agent.capture_file import CaptureError, open_capture

FRAMES = [b"\x01" * 10, b"", b"\x02" * 300]
SECONDS = 1_700_000_000


def records(make: SimpleNamespace, raw: bytes, piece: int | None = None) -> list[tuple[int, bytes]]:
    found, warning = make.read(raw, piece)
    assert warning is None
    return [(time, data) for _, time, data, _ in found]


@pytest.mark.parametrize("piece", [None, 1, 7])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("magic", "fraction"), [(0xA1B2C3D4, 5), (0xA1B23C4D, 5999), (0xA1B2CD34, 5)]
)
def test_pcap_of_either_byte_order_resolution_and_header(
    make: SimpleNamespace, magic: int, fraction: int, order: str, piece: int | None
) -> None:
    raw = make.pcap([(SECONDS, fraction, data) for data in FRAMES], 127, order, magic)
    expected = [(SECONDS * 1_000_000 + 5, data) for data in FRAMES]
    assert records(make, raw, piece) == expected
    assert records(make, gzip.compress(raw, mtime=0), piece) == expected


@pytest.mark.parametrize("piece", [None, 1, 7])
@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_of_either_byte_order(make: SimpleNamespace, order: str, piece: int | None) -> None:
    raw = make.section(order) + make.interface(order=order)
    raw += b"".join(make.enhanced(0, SECONDS * 1_000_000 + 5, data, order) for data in FRAMES)
    expected = [(SECONDS * 1_000_000 + 5, data) for data in FRAMES]
    assert records(make, raw, piece) == expected
    assert records(make, gzip.compress(raw, mtime=0), piece) == expected


@pytest.mark.parametrize(
    ("options", "ticks", "microseconds"),
    [
        ([], 1_234_567, 1_234_567),
        ([(9, b"\x09")], 1_234_567_999, 1_234_567),  # 10^-9
        ([(9, b"\x03")], 1_234, 1_234_000),  # 10^-3
        ([(9, b"\x94")], 3 << 19, 1_500_000),  # 2^-20
        ([(14, struct.pack("<q", 7))], 5, 7_000_005),  # offset, seconds
        ([(14, struct.pack("<q", -7))], 9_000_000, 2_000_000),
        ([(2, b"wlan0"), (9, b"\x06")], 77, 77),
    ],
)
def test_the_time_of_an_interface(
    make: SimpleNamespace, options: list[tuple[int, bytes]], ticks: int, microseconds: int
) -> None:
    described = b"".join(make.option(code, value) for code, value in options)
    raw = make.section() + make.interface(options=described) + make.enhanced(0, ticks, b"x")
    assert records(make, raw) == [(microseconds, b"x")]


def test_sections_and_interfaces_keep_apart(make: SimpleNamespace) -> None:
    name = make.option(2, b"mon0")
    raw = (
        make.section("<")
        + make.interface(127, name)
        + make.interface(105)
        + make.enhanced(0, 1, b"a")
        + make.enhanced(1, 2, b"b")
        + make.enhanced(0, 3, b"c")
        + make.section(">")
        + make.interface(192, order=">")
        + make.enhanced(0, 4, b"d", ">")
        + make.enhanced(9, 5, b"e", ">")  # never described
    )
    found, warning = make.read(raw)
    assert warning is None
    assert [(who.link_type, who.name, time, data) for who, time, data, _ in found] == [
        (127, "mon0", 1, b"a"),
        (105, None, 2, b"b"),
        (127, "mon0", 3, b"c"),
        (192, None, 4, b"d"),
        (-1, None, 5, b"e"),
    ]


def test_simple_and_old_packet_blocks_and_blocks_that_nobody_knows(make: SimpleNamespace) -> None:
    old = struct.pack("<HHIIII", 0, 0, 0, 9, 3, 3) + b"old"
    raw = (
        make.section()
        + make.interface()
        + make.block(3, struct.pack("<I", 3) + b"abc")
        + make.block(2, old)
        + make.block(0x40000BAD, b"z" * 300_000)
        + make.enhanced(0, 10, b"end")
    )
    for piece in (None, 1000):
        assert records(make, raw, piece) == [(0, b"abc"), (9, b"old"), (10, b"end")]


def test_a_fraction_below_zero_goes_back(make: SimpleNamespace) -> None:
    """Old airodump-ng wrote -14 microseconds."""
    raw = make.pcap([(SECONDS, 0xFFFFFFF2, b"x")])
    assert records(make, raw) == [(SECONDS * 1_000_000 - 14, b"x")]


def test_a_file_that_was_cut_gives_what_is_whole(make: SimpleNamespace) -> None:
    pcap = make.pcap([(1, 0, data) for data in FRAMES])
    pcapng = make.section() + make.interface() + b"".join(make.enhanced(0, 1, d) for d in FRAMES)
    for raw in (pcap, pcapng, gzip.compress(pcap, mtime=0), gzip.compress(pcapng)):
        whole = len(make.read(raw)[0])
        assert whole == 3
        for stop in range(30 if raw is pcap else 60, len(raw)):
            found, warning = make.read(raw[:stop])
            assert len(found) <= whole
            if len(found) < 3 and raw is pcap and stop not in (40, 50, 66):
                assert warning is not None
                assert "cut short" in warning


def test_a_hostile_length_takes_no_memory(make: SimpleNamespace) -> None:
    good = make.pcap([(1, 0, b"good")])
    bad = struct.pack("<IIII", 1, 0, 0xFFFFFFF0, 0xFFFFFFF0) + b"x" * 100
    ng = make.section() + make.interface() + make.enhanced(0, 1, b"good")
    for raw in (
        good + bad,
        ng + struct.pack("<II", 6, 0xFFFFFFF0) + b"x" * 100,
        ng + struct.pack("<II", 0xBAD, 0xFFFFFFF0) + b"x" * 100,
        ng + make.block(6, struct.pack("<IIIII", 0, 0, 0, 0xFFFFFFF0, 4) + b"good"),
    ):
        tracemalloc.start()
        found, warning = make.read(raw)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert [data for _, _, data, _ in found] == [b"good"]
        assert warning is not None
        assert peak < 2_000_000


def test_a_gzip_bomb_is_unpacked_bit_by_bit(make: SimpleNamespace) -> None:
    bomb = gzip.compress(make.section() + make.block(0xBAD, b"\0" * 50_000_000))
    tracemalloc.start()
    assert records(make, bomb) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000


def test_gzip_members_follow_each_other(make: SimpleNamespace) -> None:
    raw = make.pcap([(1, 0, b"a"), (2, 0, b"b")])
    twice = gzip.compress(raw[:30], mtime=0) + gzip.compress(raw[30:]) + b"\0" * 512
    assert [data for _, data in records(make, twice)] == [b"a", b"b"]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "is empty"),
        (b"hello world, this is text", "68 65 6c 6c"),
        (b"\x28\xb5\x2f\xfd rest", "zstd"),
        (b"snoop\0\0\0", "snoop"),
        (b"\xd4\xc3\xb2\xa1\x02\x00", "cut short inside its header"),
        (gzip.compress(b"name\tvalue\n", mtime=0), "6e 61 6d 65"),
        (b"\x1f\x8b garbage", "damaged gzip"),
    ],
)
def test_what_is_no_capture_is_named(raw: bytes, said: str) -> None:
    with pytest.raises(CaptureError, match=r"x\.pcap") as caught:
        open_capture(io.BytesIO(raw), "x.pcap")
    assert said in str(caught.value)


def test_records_of_a_pipe_come_at_once(make: SimpleNamespace) -> None:
    """A reader never waits for more than it needs."""
    raw = make.pcap([(1, 0, b"a"), (2, 0, b"b")])
    pieces = iter([raw[:24], raw[24:41], raw[41:50], None, raw[50:]])

    class Pipe:
        def read(self, size: int) -> bytes | None:
            return next(pieces)

    batches = iter(open_capture(Pipe(), "-"))
    assert [data for _, data, _ in next(batches)[1]] == [b"a"]  # a and a piece of b were read
    assert next(batches)[1] == []  # nothing now
    assert [data for _, data, _ in next(batches)[1]] == [b"b"]


def test_the_fcs_that_a_file_header_tells_of(make: SimpleNamespace) -> None:
    raw = make.pcap([(1, 0, b"a")], link_type=105 | 0x24000000)
    (who, *_), *_ = make.read(raw)[0]
    assert (who.link_type, who.fcs_length) == (105, 4)
