"""What the service's unit takes away, an agent doesn't need: on a real interface, without systemd."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from datastalker import config as configuration
from datastalker.service import Service

Make = Callable[..., Any]
CONFINED = Path(__file__).with_name("confined.py")
UID = 10001  # the image's user; no such user needs to be here
# What ProtectSystem=, ProcSubset= and ProtectProc= mount
MOUNTS = (
    "mount -o remount,bind,ro / && mount -t proc -o subset=pid,hidepid=invisible proc /proc && "
    'exec "$@"'
)
PROBES = {
    "a socket of another family": "import socket; socket.socket(31, 3, 1)",
    "chown": "import os; os.chown('/tmp', 1, 1)",
    "memory to write and execute": "import mmap; mmap.mmap(-1, 4096, prot=7)",
}

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze says which calls a group has"
)


def as_user(capabilities: str, uid: int = UID) -> tuple[str, ...]:
    """As User=, CapabilityBoundingSet= and AmbientCapabilities= of the unit."""
    names = [name.removeprefix("CAP_").lower() for name in capabilities.split()]
    kept = ",".join(["-all", *(f"+{name}" for name in names)])
    who = (f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs")
    sets = (f"--bounding-set={kept}", f"--inh-caps={kept}", f"--ambient-caps={kept}")
    return ("setpriv", *who, *sets)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Not pytest's, which is closed to other users anew whenever another run of it starts."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def readable(path: Path) -> None:
    for folder in [path, *path.parents]:
        if folder.stat().st_mode & 0o055 != 0o055:
            folder.chmod(folder.stat().st_mode | 0o055)


def unit_of(file: Path, role: str = "agent") -> tuple[Path, str]:
    text = file.read_text()
    if role == "agent":
        text = text.replace("- print", "- topic: wifi.frames\n- print")
    service = Service(configuration.parse(text, str(file)), role)
    unit = file.with_name(service.name)
    unit.write_text(service.unit())
    return unit, service.capabilities


@needs_systemd_analyze
@pytest.mark.parametrize("monitor", ["auto", "never"])
def test_under_its_unit_an_agent_hears(make_radio: Make, make_sniffer: Make, monitor: str) -> None:
    radio = make_radio()
    sniffer = make_sniffer(radio.name, bpf="type mgt", monitor=monitor)
    readable(sniffer.folder)
    unit, capabilities = unit_of(sniffer.write())
    assert ("CAP_NET_ADMIN" in capabilities) == (monitor == "auto")
    mounts = ("unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNTS, "sh")
    sniffer.command = (*mounts, *as_user(capabilities), sys.executable, str(CONFINED), str(unit))
    sniffer.start()
    radio.send([make_sniffer.radiotap(make_sniffer.beacon())])

    assert [frame["kind"] for frame in sniffer.heard(1)] == ["BEACON"]
    found = sniffer.capabilities()
    assert found["Seccomp"] == {"2"}
    assert {int(mask, 16) for mask in found["CapPrm"]} == {0}
    sniffer.stop()


@needs_systemd_analyze
def test_under_its_unit_a_whole_pipeline_hears_and_writes_csv(
    make_radio: Make, make_sniffer: Make
) -> None:
    radio = make_radio()
    sniffer = make_sniffer(radio.name, bpf="type mgt")
    out = sniffer.folder / "csv"
    out.mkdir()
    os.chown(out, UID, UID)
    sniffer.stages = [{"csv": {"directory": str(out)}}]
    readable(sniffer.folder)
    unit, capabilities = unit_of(sniffer.write(), "run")
    assert f"ReadWritePaths={out}" in unit.read_text()
    command = (*as_user(capabilities), sys.executable, str(CONFINED), str(unit))
    sniffer.command = command
    sniffer.start()
    radio.send([make_sniffer.radiotap(make_sniffer.beacon())])
    sniffer.heard(1)

    found = sniffer.capabilities()
    assert (found["Seccomp"], found["Uid"]) == ({"2"}, {str(UID)})
    assert {int(mask, 16) for mask in found["CapPrm"]} == {0}
    sniffer.stop()
    (file,) = out.glob("frame-*.csv")
    assert "BEACON" in file.read_text()


@needs_systemd_analyze
@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_what_the_unit_forbids_is_refused_there(
    make_radio: Make, make_sniffer: Make, probe: str
) -> None:
    sniffer = make_sniffer(make_radio().name)
    unit, _ = unit_of(sniffer.write())
    (sniffer.folder / "probe.py").write_text(probe)
    command = [sys.executable, str(CONFINED), str(unit), "-m", "probe"]

    done = subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": str(sniffer.folder)}
    )

    assert "PermissionError" in done.stderr


@pytest.mark.parametrize("uid", [0, UID])
def test_in_a_container_net_raw_is_enough(make_radio: Make, make_sniffer: Make, uid: int) -> None:
    """What `docker run --cap-drop=ALL --cap-add=NET_RAW` leaves root, and another at most."""
    radio = make_radio()
    sniffer = make_sniffer(radio.name)
    readable(sniffer.folder)
    sniffer.command = as_user("CAP_NET_RAW", uid)
    sniffer.start()
    radio.send([make_sniffer.radiotap(make_sniffer.beacon())])

    assert [frame["kind"] for frame in sniffer.heard(1)] == ["BEACON"]
    sniffer.stop()
