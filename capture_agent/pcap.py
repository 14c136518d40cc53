"""`pcap`: reads capture files, or a capture that another program writes into a pipe."""

from __future__ import annotations

import glob
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal

from capture_agent import link
from capture_agent.capture_file import Interface, Record
from capture_agent.capture_set import find, merge
from capture_agent.capture_source import STDIN, Source
from capture_agent.frame import FrameParser, Memory
from datastalker.errors import InputError
from datastalker.message import Message
from datastalker.options import option
from datastalker.pipeline import Pipeline, SourceStage
from datastalker.stats import Stats
from datastalker.text import printable

log = logging.getLogger("datastalker.stage.pcap")

_BATCH = 100  # messages or somewhat more: they stay in the processor's cache
_PAUSE_SECONDS = 0.2
_ETHERNET = 1  # what a card gives that is not in monitor mode


@Pipeline.register_stage("pcap")
class PcapSource(SourceStage):
    """Gives the frames of capture files, several of them merged by time, or those of a live pipe
    as they arrive. Of a glob or a folder, files that are empty or no capture are left out.

    Each has `file` and `frame_number` and an `id` that is the same whenever the file is read.
    What is dropped is counted under `pcap/dropped/REASON`.
    """

    path: str | list[str] = option(
        help="a capture file, several, a glob, a folder, or '-' for standard input"
    )
    speed: float | Literal["max"] = option(
        "max", "max, or a multiple of the pace at which it was captured"
    )
    keep_bad_fcs: bool = option(
        False, "keep frames whose frame check sequence the receiver found wrong"
    )
    sensor: str | None = option(
        None, "name of the sensor; its file's name without endings unless given"
    )

    example: ClassVar[dict[str, Any]] = {"path": "captures/*.pcap"}
    labels: Mapping[str, str] = {}  # of the sensor, set by who builds the pipeline

    @classmethod
    def check_config(cls, config: dict[str, object]) -> Iterable[tuple[str, str]]:
        path, speed = config["path"], config["speed"]
        if not path:
            yield "path", "must name at least one file"
        elif isinstance(path, list) and STDIN in path and len(path) > 1:
            yield "path", "'-' can't be merged with files"
        if isinstance(speed, float) and speed <= 0:
            yield "speed", f"must be 'max' or more than 0, not {speed:g}"

    @classmethod
    def warn_config(cls, config: dict[str, Any]) -> Iterable[tuple[str, str]]:
        for path in [config["path"]] if isinstance(config["path"], str) else config["path"]:
            where = os.path.expanduser(path)
            if path == STDIN or os.path.exists(where):
                continue
            if not glob.has_magic(where):
                yield "path", f"there is no file or folder '{path}' here, now"
            elif next(glob.iglob(where, recursive=True), None) is None:
                yield "path", f"no file matches '{path}' here, now"

    def __init__(
        self,
        stats: Stats,
        path: str | list[str],
        speed: float | Literal["max"] = "max",
        keep_bad_fcs: bool = False,
        sensor: str | None = None,
    ) -> None:
        self.stats = stats
        self._path, self._speed = path, speed
        self._keep_bad_fcs, self._sensor = keep_bad_fcs, sensor
        self._sources: list[Source] = []
        self._left_out = 0
        self._parsers: dict[tuple[Source, Interface], FrameParser] = {}
        self._memory = Memory()

    def run(self) -> Iterator[list[Message]]:
        """Raises InputError where a file isn't there, can't be read or is no capture."""
        self._sources, left_out = find(self._path)
        self._left_out = len(left_out)
        live = [source for source in self._sources if source.live]
        if live and len(self._sources) > 1:
            raise InputError(f"{live[0].path} is a live stream: it can't be merged with others")
        self.live, self.paced = bool(live), bool(live) or self._speed != "max"
        self.stats.set("pcap/files", len(self._sources))
        batches = self._live(live[0]) if live else self._files()
        if self._speed == "max":
            yield from batches
        else:
            yield from _pace(batches, self._speed)

    def _files(self) -> Iterator[list[Message]]:
        messages: list[Message] = []
        for source, interface, records, number in merge(self._sources):
            messages += self._parse(source, interface, records, number)
            if len(messages) >= _BATCH:
                self._count()
                yield messages
                messages = []
        self._count()
        if messages:
            yield messages

    def _live(self, source: Source) -> Iterator[list[Message]]:
        while not source.wait():
            yield []
        number = 1
        for interface, records in source.batches():
            messages = self._parse(source, interface, records, number) if records else []
            number += len(records)
            self._count()
            yield messages
        self._count()

    def _parse(
        self, source: Source, interface: Interface, records: list[Record], number: int
    ) -> list[Message]:
        parser = self._parsers.get((source, interface))
        if parser is None:
            template: dict[str, Any] = {
                "sensor": self._sensor or source.sensor,
                "file": source.name,
            }
            if self.labels:
                template["labels"] = self.labels
            if interface.name is not None:
                template["interface"] = interface.name
            parser = self._parsers[source, interface] = FrameParser(
                interface.link_type,
                template,
                self._keep_bad_fcs,
                source.session,
                numbered=True,
                fcs_length=interface.fcs_length,
                memory=self._memory,
            )
            if not link.is_known(interface.link_type):
                log.warning(
                    "%s holds frames that are not of 802.11 (link type %d%s): they are dropped; "
                    "capture in monitor mode",
                    printable(source.path),
                    interface.link_type,
                    ", Ethernet" if interface.link_type == _ETHERNET else "",
                )
        return parser.parse(records, number)

    def _count(self) -> None:
        """Publish what was dropped since the last time; forget what is no longer needed."""
        for key, parser in list(self._parsers.items()):
            for reason, number in parser.dropped.items():
                self.stats.incr(f"pcap/dropped/{reason}", number)
            parser.dropped.clear()
            if key[0].done:
                del self._parsers[key]
        damaged = sum(source.warning is not None for source in self._sources) + self._left_out
        if damaged:
            self.stats.set("pcap/damaged_files", damaged)
        if unread := sum(source.unread for source in self._sources):
            self.stats.set("pcap/unread_bytes", unread)

    def progress(self) -> tuple[int, int] | None:
        """(bytes read, bytes in all); None for a live stream."""
        if not self._sources or any(source.live for source in self._sources):
            return None
        return sum(source.position for source in self._sources), sum(
            source.size for source in self._sources
        )

    def close(self) -> None:
        for source in self._sources:
            source.close()


def _pace(batches: Iterator[list[Message]], speed: float) -> Iterator[list[Message]]:
    """Give messages when they are due: `speed` times as fast as they were captured."""
    started, first = time.monotonic(), None
    for batch in batches:
        done = 0
        while done < len(batch):
            if first is None:
                first = batch[0]["timestamp"]
            now = first + (time.monotonic() - started) * speed * 1e6
            due = done
            while due < len(batch) and batch[due]["timestamp"] <= now:
                due += 1
            if due > done:
                yield batch[done:due]
                done = due
                continue
            ahead = (batch[done]["timestamp"] - now) / speed / 1e6
            time.sleep(min(ahead, _PAUSE_SECONDS))
            if ahead > _PAUSE_SECONDS:
                yield []
        if not batch:
            yield []
