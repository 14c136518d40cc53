"""What the tests of the simulator share: small scenes, and a dissector that is not the simulator's."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from datastalker.simulator.scene import Options
from datastalker.simulator.write import write_scene

FIELDS = {
    "number": "frame.number",
    "type": "wlan.fc.type_subtype",
    "ta": "wlan.ta",
    "ra": "wlan.ra",
    "seq": "wlan.seq",
    "frag": "wlan.frag",
    "retry": "wlan.fc.retry",
    "tid": "wlan.qos.tid",
    "signal": "radiotap.dbm_antsignal",
    "wire": "frame.len",
    "fcs": "wlan.fcs.status",
    "malformed": "_ws.malformed",
    "severity": "_ws.expert.severity",
    "ssid": "wlan.ssid",
    "akms": "wlan.rsn.akms.type",
    "reason": "wlan.fixed.reason_code",
    "eapol": "wlan_rsna_eapol.keydes.msgnr",
    "tim": "wlan.tim.partial_virtual_bitmap",
    "tsf": "wlan.fixed.timestamp",
    "wps_name": "wps.device_name",
}
Row = dict[str, str]


@pytest.fixture(scope="session")
def dissect() -> Callable[[Path], list[Row]]:
    """A capture's frames as tshark sees them. It is needed: a simulator must not judge itself."""
    tshark = shutil.which("tshark")
    assert tshark, "these tests compare with tshark: install it (apt-get install tshark)"

    def fields(path: Path) -> list[Row]:
        # Without heuristics on the IP payload; with the FCS checked.
        command = [tshark, "-n", "-o", "wlan.check_checksum:TRUE", "-r", str(path), "-T", "fields"]
        command += [part for field in FIELDS.values() for part in ("-e", field)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [
            dict(zip(FIELDS, line.split("\t"), strict=True)) for line in done.stdout.splitlines()
        ]

    return fields


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five minutes with an attack, three sensors."""
    directory = tmp_path_factory.mktemp("air") / "small"
    write_scene(Options(minutes=5, attack=True), directory)
    return directory


@pytest.fixture(scope="session")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default hour, with an attack."""
    directory = tmp_path_factory.mktemp("air") / "hour"
    write_scene(Options(attack=True), directory)
    return directory
