"""Writes a scene down: one capture for each sensor, and the truth beside them."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from datastalker.errors import OutputError
from datastalker.simulator.air import Transmission
from datastalker.simulator.attack import Attacker
from datastalker.simulator.frames import text
from datastalker.simulator.household import CHANNEL
from datastalker.simulator.radiotap import channel_mhz, radiotap
from datastalker.simulator.scene import Options, Scene
from datastalker.simulator.truth import (
    DEVICES,
    PRESENCE,
    TRANSMISSIONS,
    DeviceRow,
    Stay,
    TransmissionsFile,
    capture_name,
    write_rows,
)

_MAGIC, _SNAPLEN, _LINKTYPE_RADIOTAP = 0xA1B2C3D4, 65535, 127
_README = "README.txt"
_TITLE = "Made by DataStalker's air simulator (stalk simulate)."
_ABOUT = """\
sensor-*.pcap               what each sensor heard, with radiotap headers
truth-transmissions.csv.gz  each transmission once: when, what, and for each sensor the number of
                            its copy in that sensor's file (from 1, as Wireshark counts) and its
                            signal; empty where it was not heard
truth-presence.csv          each stay of an address: first and last transmission heard by any sensor
truth-devices.csv           each device, who carries it, the addresses it used

Times in the truth are microseconds UTC by the air's own clock; the sensors' differ by less than 5 ms.
An attacker's frames bear its victim's address: they are in the transmissions, and in no stay.
The same options, with the same version, make the same files to the byte.
"""


@dataclass(frozen=True)
class Written:
    """What came of it, for a summary."""

    transmissions: int
    heard: int
    frames: dict[str, int]
    stays: int


class PcapFile:
    """A classic pcap file of radiotap frames. `number`: of the last frame, from 1."""

    def __init__(self, path: Path) -> None:
        self.number = 0
        self._file = path.open("wb", buffering=1 << 18)
        self._file.write(struct.pack("<IHHiIII", _MAGIC, 2, 4, 0, 0, _SNAPLEN, _LINKTYPE_RADIOTAP))

    def write(self, timestamp_us: int, packet: bytes) -> int:
        seconds, micros = divmod(timestamp_us, 1_000_000)
        self._file.write(struct.pack("<IIII", seconds, micros, len(packet), len(packet)) + packet)
        self.number += 1
        return self.number

    def close(self) -> None:
        self._file.close()


class Stays:
    """Gathers, from what was heard, who was there from when to when."""

    def __init__(self, scene: Scene) -> None:
        self._start_us = scene.start_us
        self._persons = {member.device.label: member.person for member in scene.cast}
        self._stays: dict[tuple[str, bytes, int], Stay] = {}

    @property
    def rows(self) -> list[Stay]:
        return list(self._stays.values())

    def heard(self, sent: Transmission) -> None:
        """A frame that names its transmitter, unless it names somebody else."""
        address, label = sent.frame.ta, sent.sender.label
        if address is None or isinstance(sent.sender, Attacker):
            return
        time_us = self._start_us + sent.time_us
        stay = self._stays.get((label, address, sent.stay))
        if stay is not None:
            stay.goes_on(time_us)
        else:
            self._stays[label, address, sent.stay] = Stay(
                label, self._persons[label], text(address), time_us, time_us
            )


def write_scene(
    options: Options, directory: Path, progress: Callable[[float], None] | None = None
) -> Written:
    """Make the scene and write it into `directory`, over an older one if that is what is there.

    `progress` is told, now and then, what part of the scene has been played. Raises OutputError
    where the directory holds something else, or can't be written. All the files are there then, or
    none.
    """
    try:
        there_before = directory.is_dir()
        _prepare(directory)
        try:
            scene = Scene(options)
            (directory / _README).write_text(_readme(scene), encoding="utf-8")
            return _play(scene, directory, progress)
        except BaseException:  # Ctrl-C too
            with suppress(OSError):
                _remove(directory)
                if not there_before:
                    directory.rmdir()
            raise
    except OSError as error:
        remedy = "name another directory"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = f"make room, or {remedy}; what was written of it is removed"
        raise OutputError(
            f"can't write {error.filename or directory}: {error.strerror or error}; {remedy}"
        ) from error


def _play(scene: Scene, directory: Path, progress: Callable[[float], None] | None) -> Written:
    sensors = [sensor.name for sensor in scene.air.sensors]
    freq_mhz = channel_mhz(CHANNEL)
    stays = Stays(scene)
    heard = number = 0
    with ExitStack() as files:
        truth = files.enter_context(closing(TransmissionsFile(
            directory / TRANSMISSIONS, sensors, scene.start_us)))  # fmt: skip
        captures = [
            files.enter_context(closing(PcapFile(directory / capture_name(name))))
            for name in sensors
        ]
        for number, sent in enumerate(scene.run(), 1):
            frame, packet = sent.frame, sent.frame.with_fcs()
            truth.write(number, sent, [
                capture.write(copy.timestamp_us, radiotap(copy, frame.rate_kbps, freq_mhz) + packet)
                if copy else None
                for capture, copy in zip(captures, sent.copies, strict=True)
            ])  # fmt: skip
            if any(sent.copies):
                heard += 1
                stays.heard(sent)
            if progress and number % 1000 == 0:
                progress(sent.time_us / scene.end_us)
    write_rows(directory / PRESENCE, stays.rows, Stay)
    write_rows(directory / DEVICES, _devices(scene), DeviceRow)
    frames = {name: capture.number for name, capture in zip(sensors, captures, strict=True)}
    return Written(number, heard, frames, len(stays.rows))


def _devices(scene: Scene) -> list[DeviceRow]:
    return [
        DeviceRow(
            member.device.label, member.kind, member.person, member.network,
            " ".join(dict.fromkeys(map(text, member.addresses))),
        )
        for member in scene.cast
    ]  # fmt: skip


def _prepare(directory: Path) -> None:
    """An empty directory, or one that an earlier run filled, whose files are taken away."""
    if directory.exists() and not directory.is_dir():
        raise OutputError(f"{directory} is a file; name a directory")
    directory.mkdir(parents=True, exist_ok=True)
    readme = directory / _README
    if readme.is_file() and readme.read_bytes().startswith(_TITLE.encode()):
        _remove(directory)
    elif any(directory.iterdir()):
        raise OutputError(
            f"{directory} holds files that stalk simulate did not write; "
            "name a new or an empty directory"
        )


def _remove(directory: Path) -> None:
    """What a run writes."""
    for pattern in ("sensor-*.pcap", "truth-*.csv*", _README):
        for old in directory.glob(pattern):
            old.unlink()


def _readme(scene: Scene) -> str:
    options = scene.options
    sensors = ", ".join(
        f"{sensor.name} at {sensor.place}, clock {sensor.offset_us / 1000:+.3f} ms"
        for sensor in scene.air.sensors
    )
    return (
        f"{_TITLE}\n\nseed {options.seed}, {options.minutes:g} minutes from {options.start.isoformat()}, "
        f"density {options.density:g} (beacons every {options.interval_tu} TU), "
        f"attack {'yes' if options.attack else 'no'}, retries {options.retries}\n"
        f"sensors: {sensors}\n\n{_ABOUT}"
    )


def write_packets(path: Path, packets: Iterable[bytes], start_us: int, every_us: int) -> int:
    """A capture of radiotap frames, such as a flood's, evenly spread in time. Returns how many."""
    with closing(PcapFile(path)) as capture:
        for packet in packets:
            capture.write(start_us + capture.number * every_us, packet)
        return capture.number
