"""What the tests of the simulator share: small scenes, and two readers that are not the simulator's."""

from __future__ import annotations

import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from capture_agent.capture_file import open_capture
from capture_agent.frame import FrameParser
from capture_agent.security import AKMS
from datastalker.message import KINDS
from datastalker.simulator.scene import Options
from datastalker.simulator.write import write_scene

Row = dict[str, Any]
Dissector = Callable[[Path], list[Row]]

_CRC_OF_A_FRAME_WITH_ITS_FCS = 0x2144DF1C
_TSHARK_FIELDS = {
    "type": "wlan.fc.type_subtype",
    "ta": "wlan.ta",
    "ra": "wlan.ra",
    "seq": "wlan.seq",
    "frag": "wlan.frag",
    "retry": "wlan.fc.retry",
    "tid": "wlan.qos.tid",
    "signal_dbm": "radiotap.dbm_antsignal",
    "wire": "frame.len",
    "fcs": "wlan.fcs.status",
    "malformed": "_ws.malformed",
    "ssid": "wlan.ssid",
    "akms": "wlan.rsn.akms.type",
    "reason": "wlan.fixed.reason_code",
    "eapol": "wlan_rsna_eapol.keydes.msgnr",
    "tsf": "wlan.fixed.timestamp",
    "wps_device_name": "wps.device_name",
}


def by_tshark(path: Path) -> list[Row]:
    command = ["tshark", "-n", "-o", "wlan.check_checksum:TRUE", "-r", str(path), "-T", "fields"]
    command += [part for field in _TSHARK_FIELDS.values() for part in ("-e", field)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [
        _from_tshark(dict(zip(_TSHARK_FIELDS, line.split("\t"), strict=True)))
        for line in done.stdout.splitlines()
    ]


def _from_tshark(seen: dict[str, str]) -> Row:
    row: Row = {key: value or None for key, value in seen.items()}
    for key in ("type", "seq", "frag", "tid", "signal_dbm", "wire", "reason", "eapol", "tsf"):
        row[key] = int(seen[key], 0) if seen[key] else None
    row["retry"] = seen["retry"] in ("1", "True")
    row["good"] = (seen["fcs"], seen["malformed"]) == ("1", "")
    row["akms"] = (
        [AKMS[int(number)] for number in seen["akms"].split(",")] if seen["akms"] else None
    )
    row["kind"] = KINDS[row["type"] >> 4][row["type"] & 15]
    if seen["ssid"] == "<MISSING>":
        row["ssid"] = ""
    elif row["ssid"]:  # its bytes; some versions of tshark show text
        row["ssid"] = bytes.fromhex(seen["ssid"]).decode()
    return row


def by_our_parser(path: Path) -> list[Row]:
    parser = FrameParser(127, {}, numbered=True)
    rows = []
    with path.open("rb") as stream:
        for _, records in open_capture(stream, path.name):
            for record in records:
                rows.append(parser.parse([record])[0])
                data = record[1]
                radio_header = int.from_bytes(data[2:4], "little")
                crc = zlib.crc32(data[radio_header:])
                rows[-1]["good"] = crc == _CRC_OF_A_FRAME_WITH_ITS_FCS
                rows[-1]["wire"] = len(data)
    return rows


READERS = {"our parser": by_our_parser}
if shutil.which("tshark"):
    READERS["tshark"] = by_tshark


def pytest_report_header() -> str | None:
    if "tshark" in READERS:
        return None
    return "tshark is not installed: what the simulator makes is judged by our own parser alone"


@pytest.fixture(scope="session", params=READERS)
def dissect(request: pytest.FixtureRequest) -> Dissector:
    """A capture's frames, as somebody else reads them: keys as in our messages, and `good`: the
    FCS is right and nothing is malformed; `wire`: the length with everything."""
    return READERS[request.param]


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
