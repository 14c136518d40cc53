"""`wifi_sniffer` while its interface is missing, goes down, vanishes, comes anew or changes its type:
it goes on, says so, counts it, and doesn't spin."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from capture_agent.listener import Listener
from infra.local import Radio, Uplink
from infra.local.radio import BARE, ETHERNET, PRISM, RADIOTAP

Make = Callable[..., Any]


def test_an_interface_that_is_not_there_yet_is_waited_for(
    make_radio: Make, make_sniffer: Make
) -> None:
    radio = make_radio()
    radio.remove()
    sniffer = make_sniffer(radio.name).start(waits=True)
    sniffer.said(f"WARNING datastalker.stage.wifi_sniffer: {radio.name}: there is no interface of")

    radio.create()
    sniffer.said(f"{radio.name}: listening (radiotap")
    radio.send([make_sniffer.radiotap(make_sniffer.beacon())])

    assert len(sniffer.heard(1)) == 1
    assert "interface_lost" not in sniffer.stop()


def test_one_that_goes_down_and_up_is_heard_again(make_radio: Make, make_sniffer: Make) -> None:
    radio = make_radio()
    frame = make_sniffer.radiotap(make_sniffer.beacon())
    sniffer = make_sniffer(radio.name).start()

    for turn in range(1, 4):
        radio.send([frame] * 10)
        sniffer.heard(10 * turn)
        radio.down()
        sniffer.said(f"{radio.name}: down; waits until it is up", turn)
        radio.up()
        sniffer.said(f"{radio.name}: listening", turn + 1)
    radio.send([frame] * 10)

    sniffer.heard(40)
    counted = sniffer.stop()
    assert (counted["frames"], counted["interface_lost"]) == (40, 3)


def test_one_that_is_down_for_a_moment_only_is_counted_too(
    make_radio: Make, make_sniffer: Make
) -> None:
    radio = make_radio()
    frame = make_sniffer.radiotap(make_sniffer.beacon())
    sniffer = make_sniffer(radio.name).start()

    with sniffer.held():  # or it may look in between, and see it down
        radio.down().up()
    sniffer.said("it was down for a moment")
    radio.send([frame] * 10)

    sniffer.heard(10)
    assert sniffer.stop()["interface_lost"] == 1


def test_one_that_vanishes_and_comes_anew_is_another_of_that_name(
    make_radio: Make, make_sniffer: Make
) -> None:
    radio, other = make_radio(), make_radio()
    frame = make_sniffer.radiotap(make_sniffer.beacon())
    sniffer = make_sniffer([radio.name, other.name]).start()

    for turn in range(1, 4):
        radio.remove()
        sniffer.said(f"{radio.name}: there is no interface of that name", turn)
        other.send([frame] * 5)
        radio.create()
        sniffer.said(f"{radio.name}: listening", turn + 1)
        radio.send([frame] * 5)
        sniffer.heard(10 * turn)

    counted = sniffer.stop()
    assert (counted["frames"], counted["interface_lost"]) == (30, 3)
    assert len({frame["id"] for frame in sniffer.frames()}) == 30


def test_a_link_type_that_changes_is_read_as_what_it_is(
    make_radio: Make, make_sniffer: Make
) -> None:
    radio = make_radio(RADIOTAP)
    expression = "type mgt subtype beacon"
    sniffer = make_sniffer(radio.name, bpf=expression).start()
    wraps = {RADIOTAP: make_sniffer.radiotap, PRISM: make_sniffer.prism, BARE: bytes}
    names = {RADIOTAP: "radiotap", PRISM: "Prism", BARE: "bare 802.11"}

    heard = 0
    for kind in (RADIOTAP, BARE, PRISM, BARE, RADIOTAP):
        if kind != radio.link_type:
            said = sniffer.log.count(f"listening ({names[kind]}")
            radio.become(kind)
            sniffer.said(f"listening ({names[kind]}", said + 1)
        air = [make_sniffer.beacon(number) for number in range(20)] + [make_sniffer.ack()] * 20
        radio.send(map(wraps[kind], air))
        heard += 20
        frames = sniffer.heard(heard)
        assert [frame["seq"] for frame in frames[-20:]] == list(range(20))

    assert {frame["kind"] for frame in sniffer.frames()} == {"BEACON"}
    assert sniffer.stop()["interface_lost"] == 4


def test_frames_of_another_type_that_an_old_filter_let_pass_are_left_out(
    make_radio: Make, make_sniffer: Make
) -> None:
    radio = make_radio(BARE)
    listener = Listener(radio.name, "type ctl", 4096, 1)
    listener.look()
    radio.send([make_sniffer.ack()] * 3)

    radio.become(RADIOTAP)  # a radiotap header begins with 00 00: to the old filter it is no ACK
    radio.send([b"\xd4" + bytes(30)] * 5 + [make_sniffer.radiotap(make_sniffer.ack())] * 5)
    listener.look()
    radio.send([make_sniffer.radiotap(make_sniffer.ack())] * 7)

    try:
        heard: list[Any] = []
        ends = time.monotonic() + 1
        while time.monotonic() < ends:
            heard += listener.read() or []
            time.sleep(0.01)
        counts: dict[int, int] = {}
        for link_type, records in heard:
            counts[link_type] = counts.get(link_type, 0) + len(records)
        assert counts == {105: 3, 127: 7}
        assert listener.misread == 5
    finally:
        listener.close()


def test_one_that_leaves_monitor_mode_is_not_read(make_radio: Make, make_sniffer: Make) -> None:
    radio = make_radio()
    frame = make_sniffer.radiotap(make_sniffer.beacon())
    sniffer = make_sniffer(radio.name).start()

    radio.become(ETHERNET)
    sniffer.said(f"{radio.name}: Ethernet; waits until it is in monitor mode")
    radio.send([frame] * 10)
    radio.become(RADIOTAP)
    sniffer.said(f"{radio.name}: listening", 2)
    radio.send([frame])

    sniffer.heard(1)
    counted = sniffer.stop()
    assert counted.pop("dropped/link_type", 0) <= 10
    assert counted == {"frames": 1, "interface_lost": 1, "kernel_dropped": 0}


def test_an_interface_that_never_was_in_monitor_mode(make_sniffer: Make) -> None:
    uplink = Uplink("dsmanaged0")
    try:
        sniffer = make_sniffer("dsmanaged0").start(waits=True)
        said = sniffer.said("dsmanaged0: Ethernet; waits until it is in monitor mode")
        assert "iw dev dsmanaged0 set type monitor" in said
        assert sniffer.stop()["frames"] == 0
    finally:
        uplink.remove()


def _gone(radio: Radio) -> None:
    radio.remove()


def _down(radio: Radio) -> None:
    radio.down()


def _changed(radio: Radio) -> None:
    radio.become(ETHERNET)


@pytest.mark.parametrize("happens", [_gone, _down, _changed])
def test_waiting_for_one_does_not_spin(
    make_radio: Make, make_sniffer: Make, happens: Callable[[Radio], None]
) -> None:
    radio = make_radio()
    sniffer = make_sniffer(radio.name).start()

    happens(radio)
    sniffer.said("; waits ")
    before = sniffer.cpu_seconds()
    time.sleep(2)

    assert sniffer.cpu_seconds() - before < 0.2
    assert sniffer.stop()["interface_lost"] == 1
