"""Interfaces and rights, on real ones: `lo`, and TUN devices with radiotap frames."""

from __future__ import annotations

import pwd
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.local import Radio

NOBODY = pwd.getpwnam("nobody")
FRAME = bytes.fromhex("0000080000000000d4000000020000000001")


def heard_on(doctor: Any, *names: str, **options: Any) -> Any:
    """What it says of a sniffer on these interfaces, and nothing else."""
    return doctor.look(doctor.whole({"wifi_sniffer": {"interface": list(names), **options}}))


@contextmanager
def sending(radio: Radio) -> Iterator[None]:
    """Frames, as long as it lasts."""
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.05):
            radio.send([FRAME])

    thread = threading.Thread(target=send)
    thread.start()
    yield
    over.set()
    thread.join()


def test_an_interface_that_hears(doctor: Any, make_radio: Callable[..., Radio]) -> None:
    radio = make_radio()
    with sending(radio):
        said = heard_on(doctor, radio.name)

    assert said.code == 0
    found = said.one(f"interface {radio.name}", "ok")["found"]
    frames = int(found.removeprefix("radiotap, up; ").removesuffix(" frames in 2 s"))
    assert 0 < frames < 100
    assert said.one("rights", "ok")["found"] == "CAP_NET_RAW: may hear frames"


def test_one_that_hears_nothing_is_a_warning(doctor: Any, make_radio: Callable[..., Radio]) -> None:
    radio = make_radio(801)
    said = heard_on(doctor, radio.name)

    found = said.one(f"interface {radio.name}", "warning")
    assert found["found"] == "bare 802.11, up; no frame in 2 s"
    assert "wifi_sniffer: hopper: true" in found["remedy"]


def test_one_that_is_down(doctor: Any, make_radio: Callable[..., Radio]) -> None:
    radio = make_radio().down()
    found = heard_on(doctor, radio.name).one(f"interface {radio.name}", "failed")

    assert found["found"] == "radiotap, down"
    assert found["remedy"] == f"ip link set {radio.name} up"


def test_one_that_is_not_there_and_one_in_no_monitor_mode(doctor: Any) -> None:
    said = heard_on(doctor, "nosuch0", "lo")

    missing = said.one("interface nosuch0", "failed")
    assert missing["found"] == "it isn't there"
    assert " lo" in missing["cause"]
    assert "wifi_sniffer: interface" in missing["remedy"]
    other = said.one("interface lo", "failed")
    assert "772 (loopback)" in other["cause"]
    assert "wifi_sniffer: interface" in other["remedy"]


def test_who_may_take_it_away_is_named(
    doctor: Any, make_radio: Callable[..., Radio], tmp_path: Path
) -> None:
    radio = make_radio()
    stand_in = tmp_path / "wpa_supplicant"
    shutil.copy(shutil.which("sleep") or "", stand_in)
    process = subprocess.Popen([str(stand_in), "60"])
    try:
        with sending(radio):
            said = heard_on(doctor, radio.name)
    finally:
        process.kill()
        process.wait()

    found = said.one(f"interface {radio.name}", "warning")
    assert "wpa_supplicant" in found["cause"]
    assert f"nmcli device set {radio.name} managed no" in found["remedy"]


def test_hopping_where_no_card_is(doctor: Any, make_radio: Callable[..., Radio]) -> None:
    radio = make_radio()
    said = heard_on(doctor, radio.name, hopper=True)

    assert "take `hopper` out" in said.one("hopper", "failed")["remedy"]
    assert "to hop" in said["rights"][1]["found"]


@pytest.mark.parametrize("hopper", [False, True])
def test_without_rights_each_that_is_missing_is_named(
    doctor: Any, make_radio: Callable[..., Radio], hopper: bool
) -> None:
    radio = make_radio()
    for folder in [doctor.folder, *doctor.folder.parents]:  # pytest's are root's alone
        folder.chmod(folder.stat().st_mode | 0o055)
    doctor.command = ["setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}"]
    doctor.command += ["--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
    spool = {"agent": {"spool_directory": "/root/spool"}}
    source = {"wifi_sniffer": {"interface": radio.name, "hopper": hopper, "user": "root"}}
    said = doctor.look(doctor.whole(source, {"topic": "t"}, **spool), "--role", "agent")

    found = {finding["cause"]: finding["remedy"] for finding in said["rights"]}
    raw = "this process has no CAP_NET_RAW, without which nobody may hear"
    assert "AmbientCapabilities=" in found[raw]
    assert ("this process has no CAP_NET_ADMIN, and needs it to hop" in found) is hopper
    assert "only root can become wifi_sniffer: user: root" in found
    assert said.one(f"interface {radio.name}", "ok")["found"] == "radiotap, up"
    assert "agent: spool_directory" in said.one("spool", "failed")["remedy"]


def test_a_spool_is_for_whom_the_agent_becomes(
    doctor: Any, make_radio: Callable[..., Radio], tmp_path: Path
) -> None:
    radio, spool = make_radio(), tmp_path / "spool"
    spool.mkdir(mode=0o700)
    source = {"wifi_sniffer": {"interface": radio.name, "user": "nobody"}}
    document = doctor.whole(source, {"topic": "t"}, agent={"spool_directory": str(spool)})

    found = doctor.look(document).one("spool", "failed")

    assert "wifi_sniffer: user: nobody" in found["cause"]
    assert f"chown nobody '{spool}'" in found["remedy"]


def test_a_user_that_is_not_there(doctor: Any) -> None:
    found = heard_on(doctor, "lo", user="nosuchuser").one("rights", "failed")

    assert found["remedy"] == "useradd --system nosuchuser"
