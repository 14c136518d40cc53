"""What a test gives, as messages: keys, frames in hex, capture files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from capture_agent import link
from capture_agent.frame import FrameParser
from capture_agent.pcap import PcapSource
from capture_agent.radiotap import HeaderError
from datastalker import moment
from datastalker.address import normalise
from datastalker.build import labels_of
from datastalker.cases import Case
from datastalker.config import Config
from datastalker.errors import InputError
from datastalker.expected import TIMES
from datastalker.message import FRAME_FIELDS, Message
from datastalker.stats import Stats

_ADDRESSES = [name for name, field in FRAME_FIELDS.items() if field.type == "address"]
SENSOR = "test"
"""Who heard what a test gives, where neither the test nor the configuration says."""


class Inputs:
    """Makes messages, each with an id of its own."""

    def __init__(self, config: Config, case: Case, start: int) -> None:
        self.case, self.start = case, start
        self.sensor: str = config.settings["sensor"] or SENSOR
        self.labels = labels_of(config)
        self.dropped: dict[str, int] = {}
        """Frames in hex or captures that gave no message, by reason."""
        self._count = 0

    def message(self, keys: dict[str, Any], now: int) -> Message:
        """A message of keys: a frame heard now by this sensor, where they say nothing else."""
        message = Message({"type": "frame", "timestamp": now})
        if keys.get("type", "frame") == "frame":
            self._count += 1
            message.update(id=f"test-{self._count}", sensor=self.sensor)
            if self.labels:
                message["labels"] = self.labels
        for key, value in keys.items():
            if value is None:
                message.pop(key, None)
            elif key in TIMES:
                message[key] = moment.moment(value, self.start, now)
            elif key in _ADDRESSES and isinstance(value, str):
                message[key] = normalise(value) or value
            else:
                message[key] = value
        return message

    def frames(self, value: dict[str, Any], now: int) -> list[Message]:
        """Frames of bytes, as they would have been captured now."""
        out: list[Message] = []
        for data in value["frames"]:
            radiotap = _has_radiotap(data) if value["radiotap"] is None else value["radiotap"]
            template: dict[str, Any] = {"sensor": value["sensor"] or self.sensor}
            if self.labels:
                template["labels"] = self.labels
            kind = link.RADIOTAP if radiotap else link.BARE
            parser = FrameParser(kind, template, session="test")
            self._count += 1
            out += parser.parse([(now, data, len(data))], self._count)
            self._note(parser.dropped)
        return out

    def capture(self, value: dict[str, Any]) -> Iterator[list[Message]]:
        """Batches of the frames of a file, at their own times. Raises InputError."""
        path = str(self.case.base / value["path"])
        stats = Stats()
        source = PcapSource(
            stats, path=path, sensor=value["sensor"], keep_bad_fcs=value["keep_bad_fcs"]
        )
        source.labels = self.labels
        try:
            for batch in source.run():
                if source.live:
                    raise InputError(f"capture: {path} is no file")
                yield batch
        finally:
            source.close()
        prefix = "pcap/dropped/"
        counted = stats.get_stats().items()
        self._note({k.removeprefix(prefix): int(v) for k, v in counted if k.startswith(prefix)})

    def _note(self, dropped: dict[str, int]) -> None:
        for reason, count in dropped.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + count


def _has_radiotap(data: bytes) -> bool:
    """Whether frames begin with a radiotap header: version 0, a length that fits, and it can be
    followed. A frame of 802.11 that looks so is an association request with an odd duration."""
    if len(data) < 8 or data[0] or data[1] or not 8 <= data[2] | data[3] << 8 <= len(data):
        return False
    try:
        link.read(link.RADIOTAP, data)
    except HeaderError:
        return False
    return True
