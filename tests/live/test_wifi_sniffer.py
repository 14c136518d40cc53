"""`wifi_sniffer` on real interfaces of the kernel: what it hears, filters, leaves out and counts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from capture_agent import device
from capture_agent.listener import Listener
from infra.local import Radio, Uplink
from infra.local.radio import BARE, PRISM, RADIOTAP

Make = Callable[..., Any]
NOTHING_DROPPED = {"kernel_dropped": 0}


@pytest.fixture
def uplinks() -> Iterator[list[Uplink]]:
    """More interfaces of this host than anybody looks at: a dozen."""
    made = [Uplink(f"ds{os.getpid() % 10**6}u{number}") for number in range(12)]
    yield made
    for each in made:
        each.remove()


def test_a_frame_has_its_interface_sensor_and_the_time_at_which_the_kernel_had_it(
    make_radio: Make, make_sniffer: Make
) -> None:
    radio = make_radio()
    labels = {"site": "home"}
    sniffer = make_sniffer(radio.name, settings={"sensor": "porch", "labels": labels}).start()

    before = time.time_ns() // 1000
    radio.send([make_sniffer.radiotap(make_sniffer.beacon(7))])
    after = time.time_ns() // 1000

    (frame,) = sniffer.heard(1)
    assert before <= frame["timestamp"] <= after
    assert (frame["interface"], frame["sensor"], frame["labels"]) == (radio.name, "porch", labels)
    assert (frame["ssid"], frame["seq"], frame["signal_dbm"]) == ("house", 7, -42)
    assert sniffer.stop() == {"frames": 1, **NOTHING_DROPPED}


@pytest.mark.parametrize(
    ("link_type", "header"),
    [(RADIOTAP, "radiotap"), (PRISM, "prism"), (BARE, "")],
    ids=["radiotap", "prism", "bare"],
)
def test_link_types_of_monitor_interfaces(
    make_radio: Make, make_sniffer: Make, link_type: int, header: str
) -> None:
    radio = make_radio(link_type)
    sniffer = make_sniffer(radio.name).start()
    wrapped = getattr(make_sniffer, header) if header else bytes

    radio.send([wrapped(make_sniffer.beacon()), wrapped(make_sniffer.ack())])

    assert [frame["kind"] for frame in sniffer.heard(2)] == ["BEACON", "ACK"]
    assert sniffer.stop() == {"frames": 2, **NOTHING_DROPPED}


def test_several_interfaces_and_an_id_for_each_frame(make_radio: Make, make_sniffer: Make) -> None:
    one, two = make_radio(), make_radio(BARE)
    sniffer = make_sniffer([one.name, two.name]).start()

    for number in range(50):
        one.send([make_sniffer.radiotap(make_sniffer.beacon(number))])
        two.send([make_sniffer.beacon(number)])

    frames = sniffer.heard(100)
    assert Counter(f["interface"] for f in frames) == {one.name: 50, two.name: 50}
    assert len({f["id"] for f in frames}) == 100
    assert len({f["id"].partition("-")[0] for f in frames}) == 1
    sniffer.stop()


def test_the_kernel_filters_as_the_expression_says(make_radio: Make, make_sniffer: Make) -> None:
    radio = make_radio()
    sniffer = make_sniffer(radio.name, bpf="type mgt subtype beacon").start()

    radio.send(
        make_sniffer.radiotap(make_sniffer.beacon(number) if number % 4 else make_sniffer.ack())
        for number in range(400)
    )

    assert {frame["kind"] for frame in sniffer.heard(300)} == {"BEACON"}
    assert sniffer.stop() == {"frames": 300, **NOTHING_DROPPED}


def test_what_the_filter_keeps_out_takes_no_room_in_the_kernel(
    make_radio: Make, make_sniffer: Make
) -> None:
    radio = make_radio()
    sniffer = make_sniffer(radio.name, bpf="type mgt", buffer_mb=0.25).start()

    with sniffer.held():  # nobody reads: as many beacons would be dropped
        radio.send([make_sniffer.radiotap(make_sniffer.ack())] * 20_000)
        radio.send([make_sniffer.radiotap(make_sniffer.beacon())])

    sniffer.heard(1)
    assert sniffer.stop() == {"frames": 1, **NOTHING_DROPPED}


def test_what_is_longer_than_snaplen_is_cut_and_its_length_told(
    make_radio: Make, make_sniffer: Make
) -> None:
    radio = make_radio()
    sniffer = make_sniffer(radio.name, snaplen=128).start()
    long = make_sniffer.data(b"\2\0\0\0\0\7", b"\2\0\0\0\0\1", b"\2\0\0\0\0\3", 1500)

    radio.send([make_sniffer.radiotap(long)])

    (frame,) = sniffer.heard(1)
    assert (frame["length"], frame["ta"]) == (24 + 1500, "02:00:00:00:00:07")
    sniffer.stop()


def test_frames_of_our_own_addresses_are_left_out_all_of_them(
    make_radio: Make, make_sniffer: Make, uplinks: list[Uplink]
) -> None:
    radio = make_radio()
    ap, other = b"\2\0\0\0\0\1", b"\2\0\0\0\0\7"
    air = [make_sniffer.data(uplink.address, ap, other) for uplink in uplinks]
    air += [make_sniffer.ack(uplink.address) for uplink in uplinks]
    air += [make_sniffer.data(other, ap, uplink.address) for uplink in uplinks]
    air += [make_sniffer.data(other, ap, ap), make_sniffer.beacon(ta=ap)]
    sniffer = make_sniffer(radio.name).start()
    keeper = make_sniffer(radio.name, keep_own=True).start()

    radio.send(map(make_sniffer.radiotap, air))

    assert [frame["kind"] for frame in sniffer.heard(2)] == ["DATA", "BEACON"]
    assert sniffer.stop() == {"frames": 2, "dropped/own_uplink": 36, **NOTHING_DROPPED}
    assert keeper.stop()["frames"] == len(keeper.frames()) == 38


def test_an_address_that_comes_later_is_our_own_too(
    make_radio: Make, make_sniffer: Make, tmp_path: Any
) -> None:
    radio = make_radio()
    sniffer = make_sniffer(radio.name).start()
    uplink = Uplink(f"ds{os.getpid() % 10**6}late")
    try:
        ours = make_sniffer.radiotap(make_sniffer.ack(uplink.address))

        def noticed() -> bool:
            before = len(sniffer.frames())
            radio.send([ours, make_sniffer.radiotap(make_sniffer.beacon())])
            make_sniffer.until(lambda: sniffer.frames()[before:])
            time.sleep(0.1)
            return "ACK" not in {frame["kind"] for frame in sniffer.frames()[before:]}

        make_sniffer.until(noticed)
        assert sniffer.stop()["dropped/own_uplink"] >= 1
    finally:
        uplink.remove()


def test_what_is_sent_on_the_interface_is_not_heard(make_radio: Make, make_sniffer: Make) -> None:
    radio = make_radio(BARE)
    sniffer = make_sniffer(radio.name).start()

    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as injected:
        injected.bind((radio.name, 0))
        injected.send(make_sniffer.beacon(1))
    radio.send([make_sniffer.beacon(2)])

    assert [frame["seq"] for frame in sniffer.heard(1)] == [2]
    assert sniffer.stop() == {"frames": 1, **NOTHING_DROPPED}


def test_what_the_kernel_drops_is_counted_to_the_frame(
    make_radio: Make, make_sniffer: Make
) -> None:
    radio = make_radio()
    sniffer = make_sniffer(radio.name, buffer_mb=0.25).start()
    air = [make_sniffer.radiotap(make_sniffer.beacon(number)) for number in range(1000)]

    radio.send(air)
    sniffer.heard(1000)
    os.kill(sniffer.process.pid, signal.SIGSTOP)
    sent = 1000 + radio.send(air * 20)
    os.kill(sniffer.process.pid, signal.SIGCONT)
    sent += radio.send(air * 20)
    make_sniffer.until(lambda: len(sniffer.frames()) > 1500)
    counted = sniffer.stop()

    assert counted["kernel_dropped"] > 15_000
    assert sent == 41_000
    assert sent == counted["frames"] + counted.get("dropped/unread", 0) + counted["kernel_dropped"]
    assert len(sniffer.frames()) == counted["frames"]


def test_what_was_not_read_yet_at_the_end_is_counted(make_radio: Make, make_sniffer: Make) -> None:
    radio = make_radio()
    sniffer = make_sniffer(radio.name).start()
    os.kill(sniffer.process.pid, signal.SIGSTOP)
    sent = radio.send([make_sniffer.radiotap(make_sniffer.ack())] * 20_000)

    counted = sniffer.stop()

    assert counted["dropped/unread"] + counted["frames"] == sent


def test_damaged_frames_are_counted_and_kept_if_asked_for(
    make_radio: Make, make_sniffer: Make
) -> None:
    radio = make_radio()
    bad = make_sniffer.radiotap(make_sniffer.beacon() + bytes(4), 0x50)
    sniffer = make_sniffer(radio.name).start()
    keeper = make_sniffer(radio.name, keep_bad_fcs=True).start()

    radio.send([bad, make_sniffer.radiotap(make_sniffer.ack()), b"\0\0", b""])

    assert [frame["kind"] for frame in sniffer.heard(1)] == ["ACK"]
    counted = sniffer.stop()
    assert counted["dropped/bad_fcs"] == 1
    assert counted["dropped/radio_header_cut"] == 2
    assert [frame["fcs_ok"] for frame in keeper.heard(2)] == [False, True]
    keeper.stop()


def test_silence_can_be_ended_at_once_and_costs_next_to_nothing(
    make_radio: Make, make_sniffer: Make
) -> None:
    sniffer = make_sniffer(make_radio().name).start()
    before = sniffer.cpu_seconds()
    time.sleep(2)

    assert sniffer.cpu_seconds() - before < 0.2

    begun = time.monotonic()
    assert sniffer.stop() == {"frames": 0, **NOTHING_DROPPED}
    assert time.monotonic() - begun < 5


def _check(make_sniffer: Make, name: Any = "nomon0", **options: Any) -> tuple[int, str]:
    file = make_sniffer(name, **options).write()
    done = subprocess.run(
        [sys.executable, "-m", "datastalker", "check", "-c", str(file)],
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr


def test_an_expression_that_is_none_is_shown_with_what_libpcap_says(make_sniffer: Make) -> None:
    code, said = _check(make_sniffer, bpf="type beacon")

    assert code == 2
    assert "live.yaml:" in said
    assert "wifi_sniffer: 'type beacon' is no filter expression: " in said
    assert "unknown 802.11 type" in said


@pytest.mark.parametrize(
    ("interface", "text"),
    [
        ([], "must name at least one interface"),
        (["mon0", "mon0"], "names an interface twice"),
        ("a-name-that-is-too-long", "can't be an interface's name"),
        ("../mon0", "can't be an interface's name"),
    ],
)
def test_names_that_no_interface_can_have(make_sniffer: Make, interface: Any, text: str) -> None:
    code, said = _check(make_sniffer, interface)

    assert (code, text in said) == (2, True), said


@pytest.mark.parametrize(
    ("hopper", "text"),
    [
        ({"channels": [6, 999]}, "wifi_sniffer: '999' is no channel of 2.4 or 5 GHz"),
        ({"channels": []}, "must name at least one channel; without it, all of `bands` are"),
        ({"bands": [3]}, "option 'bands' has bands 2.4, 5 and 6 (GHz), not 3"),
        ({"width_mhz": 30}, "option 'width_mhz' must be 20, 40, 80 or 160"),
        ({"dwell": 5}, "unknown option 'dwell', did you mean 'dwell_ms'?"),
    ],
)
def test_a_mistake_in_the_hopper_s_options_is_shown(
    make_radio: Make, make_sniffer: Make, hopper: Any, text: str
) -> None:
    code, said = _check(make_sniffer, make_radio().name, hopper=hopper)

    assert (code, text in said) == (2, True), said


@pytest.mark.parametrize(
    "hopper",
    [
        True,
        {"bands": [2.4, 5, 6], "width_mhz": 80, "dwell_ms": 100, "karma": False},
        {"channels": [1, "36/80", "5955/160"], "bands": [2.4, 5, 6], "max_karma": 3},
    ],
    ids=["true", "bands", "list"],
)
def test_a_hopper_has_bands_or_a_list(make_radio: Make, make_sniffer: Make, hopper: Any) -> None:
    assert _check(make_sniffer, make_radio().name, hopper=hopper) == (0, "")


def test_check_warns_of_what_is_not_there_now(make_radio: Make, make_sniffer: Make) -> None:
    assert _check(make_sniffer, make_radio().name) == (0, "")
    code, said = _check(make_sniffer, ["nomon0", "lo"], user="nosuchuser")

    assert code == 0
    assert "there is no interface 'nomon0' here, now; it is waited for" in said
    assert "'lo' is loopback, not in monitor mode" in said
    assert "there is no user 'nosuchuser' here" in said


def test_without_libpcap_an_expression_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from capture_agent import bpf

    bpf._library.cache_clear()
    monkeypatch.setattr(bpf, "_LIBRARIES", ("libnosuchpcap.so.1",))
    try:
        with pytest.raises(bpf.NoLibraryError, match="apt install libpcap"):
            bpf.compile_expression("type mgt", 127, 4096)
    finally:
        bpf._library.cache_clear()


def test_an_idle_radio_takes_no_frame_while_it_is_down(make_radio: Make) -> None:
    radio: Radio = make_radio().down()

    assert radio.send([b"\0" * 30]) == 0


def test_an_interface_whose_name_is_no_text_is_one_of_ours_all_the_same() -> None:
    """Its address is looked up, as that of each interface of this host."""
    name = os.fsdecode(b"ds\xff\xfe%d" % (os.getpid() % 10**6))
    before = device.own_addresses()
    uplink = Uplink(name)
    try:
        assert device.own_addresses() - before == {uplink.address.hex(":")}
    finally:
        uplink.remove()


def test_who_hears_no_more_has_what_it_heard_and_loses_nothing_more(
    make_radio: Make, make_sniffer: Make
) -> None:
    radio = make_radio()
    listener = Listener(radio.name, None, 4096, 0.25)
    listener.look()
    air = [make_sniffer.radiotap(make_sniffer.beacon(number)) for number in range(2000)]
    sent = radio.send(air[:10])
    make_sniffer.until(lambda: listener.read() is not None and listener.heard == sent)

    listener.end()
    radio.send(air * 4)

    assert (listener.count(), listener.heard, listener.unread) == (0, sent, 0)
    listener.close()


def test_a_ring_bridges_time_also_where_few_frames_come(
    make_radio: Make, make_sniffer: Make
) -> None:
    radio = make_radio()
    listener = Listener(radio.name, None, 4096, 2)
    listener.look()
    air = [make_sniffer.radiotap(make_sniffer.beacon(number)) for number in range(200)]

    sent = radio.send(air, 100)  # nobody reads for two seconds

    while listener.read() is not None:
        pass
    make_sniffer.until(lambda: (listener.read(), listener.heard)[1] == sent)
    assert listener.count() == 0
    listener.close()
