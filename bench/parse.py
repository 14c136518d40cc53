"""From capture file to parsed message: CPU per frame, against tools that read the same file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from bench.frames import big, first
from bench.process import ROOT, Cost, MissingError, best, python

TSHARK_FIELDS = [
    "frame.number",
    "frame.time_epoch",
    "frame.len",
    "wlan.fc.type_subtype",
    "wlan.ta",
    "wlan.ra",
    "wlan.sa",
    "wlan.da",
    "wlan.bssid",
    "wlan.seq",
    "wlan.frag",
    "wlan.fc.retry",
    "wlan.fc.protected",
    "wlan.fc.tods",
    "wlan.fc.fromds",
    "wlan.fc.pwrmgt",
    "wlan.fc.moredata",
    "wlan.duration",
    "wlan.qos.tid",
    "radiotap.dbm_antsignal",
    "radiotap.dbm_antnoise",
    "radiotap.channel.freq",
    "wlan_radio.channel",
    "radiotap.datarate",
    "radiotap.antenna",
    "radiotap.flags.badfcs",
    "wlan.ssid",
    "wlan.tag.number",
    "wlan.fixed.beacon",
    "wlan.fixed.timestamp",
    "wlan.fixed.reason_code",
    "wlan.fixed.status_code",
    "wlan_rsna_eapol.keydes.msgnr",
    "wlan.rsn.akms.type",
    "wlan.country_info.code",
]
"""What a parsed frame has, in tshark's words."""

_OURS = """
from capture_agent.pcap import PcapSource
from datastalker.stats import Stats
from datastalker.options import options_of
options = {{o.name: o.default for o in options_of(PcapSource).values()}} | {{"path": {path!r}}}
source = PcapSource.from_config(options, Stats())
source.stats, source.labels, source.sensor_name = Stats(), {{}}, "bench"
assert sum(map(len, source.run())) > 0
"""

_SCAPY = """
from scapy.all import PcapReader, Dot11, RadioTap
with PcapReader({path!r}) as frames:
    for frame in frames:
        dot11 = frame.getlayer(Dot11)
        if dot11 is not None:
            dot11.addr2, dot11.SC, frame.dBm_AntSignal
"""


def tshark_command(path: Path, *extra: str) -> list[str]:
    """tshark that writes the fields of a parsed frame as tab-separated text."""
    fields = [part for name in TSHARK_FIELDS for part in ("-e", name)]
    return ["tshark", "-n", "-r", str(path), *extra, "-T", "fields", *fields]


def table() -> str:
    path, frames, what = big()
    rows: list[tuple[str, float | str]] = []
    few = 20_000
    part = first(path, few)
    tuned = ["-o", "wlan.enable_decryption:FALSE", "--disable-protocol", "llc"]
    for name, command, count in (
        ("DataStalker, to messages", python(_OURS.format(path=str(path))), frames),
        ("tshark -T fields, the same fields", tshark_command(path), frames),
        ("tshark -T fields, tuned", tshark_command(path, *tuned), frames),
        (f"scapy PcapReader (the first {few:,})", python(_SCAPY.format(path=str(part))), few),
    ):
        try:
            times = 3 if "DataStalker" in name else 1
            rows.append((name, best(command, times).cpu / count * 1e6))
        except MissingError as missing:
            rows.append((name, str(missing)))
    try:
        rows.append(("airodump-ng -r (aggregates only)", _airodump(path).cpu / frames * 1e6))
    except MissingError as missing:
        rows.append(("airodump-ng -r", str(missing)))
    ours = rows[0][1]
    lines = [f"### From capture file to parsed message\n\n{what}; CPU of the whole process.\n"]
    lines += ["| | µs a frame | DataStalker is |", "| --- | --- | --- |"]
    for name, cost in rows:
        if isinstance(cost, float) and isinstance(ours, float):
            ratio = "" if cost is ours else f"{cost / ours:.1f} × cheaper"
            lines.append(f"| {name} | {cost:.2f} | {ratio} |")
        else:
            lines.append(f"| {name} | {cost} | |")
    return "\n".join(lines)


def _airodump(path: Path) -> Cost:
    """airodump-ng never ends at the end of a file: it is watched, and killed once it has read all."""
    if shutil.which("airodump-ng") is None:
        raise MissingError("airodump-ng is not installed")
    size = path.stat().st_size
    command = ["script", "-qfec", f"exec airodump-ng -r {path}", "/dev/null"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd=ROOT, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            time.sleep(0.01)
            pid = _child(process.pid, "airodump-ng")
            if pid and _offset(pid, path) >= size:
                return Cost(_cpu(pid), 0, 0)
        raise MissingError("airodump-ng did not read the file within two minutes")
    finally:
        pid = _child(process.pid, "airodump-ng")
        if pid:  # in a session of its own: it would spin on for ever
            os.kill(pid, signal.SIGKILL)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _child(parent: int, name: str) -> int | None:
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            before, _, rest = entry.read_text().rpartition(")")
        except OSError:
            continue
        if before.endswith("(" + name[:15]) and int(rest.split()[1]) == parent:
            return int(entry.parent.name)
    return None


def _offset(pid: int, path: Path) -> int:
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            if link.resolve() == path.resolve():
                info = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text()
                return int(info.split()[1])
        except OSError:
            continue
    return -1


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
