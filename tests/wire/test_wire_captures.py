"""Every frame of the shared captures, as parsed and as stages leave it, goes over the wire unchanged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from capture_agent.capture_file import open_capture
from capture_agent.frame import FrameParser
from datastalker import testing
from datastalker.message import Message
from datastalker.wire import BatchEncoder, decode_batch, decode_event, encode_event
from datastalker.wire.frames import Origin, from_record, to_record

_BESIDE = Path(__file__).parents[3] / "shared" / "captures"
FOLDER = Path(os.environ.get("DATASTALKER_CAPTURES", _BESIDE))
TRUTH = ".truth.tsv.gz"
CAPTURES = sorted(FOLDER / file.name.removesuffix(TRUTH) for file in FOLDER.glob(f"*{TRUTH}"))
MOST = int(os.environ.get("DATASTALKER_MOST_FRAMES", "3000"))
"""Frames of one capture: a few large ones would take all the time."""

pytestmark = pytest.mark.skipif(not CAPTURES, reason=f"no captures in {FOLDER}")

STAGES = [
    "oui",
    {"moving_average": {"samples": 5}},
    {"dedupe": {"mode": "merge"}},
    "beacon_filter",
    {"presence": {"active_every_seconds": 1}},
]


def batches(path: Path) -> Iterator[list[Message]]:
    """Messages of a capture, frames with a bad FCS too."""
    count = 0
    with path.open("rb", buffering=0) as stream:
        parsers: dict[Any, FrameParser] = {}
        for interface, records in open_capture(stream, path.name):
            parser = parsers.get(interface)
            if parser is None:
                template = {"sensor": "s", "file": path.name, "labels": {"site": "home"}}
                parser = parsers[interface] = FrameParser(
                    interface.link_type, template, True, "0123456789abcdef", numbered=True
                )
            yield parser.parse(records, count + 1)
            count += len(records)
            if count > MOST:
                return


@pytest.mark.parametrize("path", CAPTURES, ids=[path.name for path in CAPTURES])
def test_frames_come_back_and_their_bytes_are_those_of_fastavro(
    path: Path,
    fastavro_write: Callable[[str, Any], bytes],
    fastavro_read: Callable[[str, bytes], Any],
) -> None:
    origin = Origin("s", None, path.name, {"site": "home"})
    encoder = BatchEncoder("s", "x", file=path.name, labels=origin.labels)
    every = []
    for sequence, messages in enumerate(batches(path)):
        every += messages
        head = {"sequence": sequence, "sent_at": 1, "now": 2, "clock_offset_ms": None}
        data = encoder.encode(messages, **head)
        assert decode_batch(data).messages == messages
        record = {
            **origin._asdict(),
            **head,
            "session": "x",
            "frames": [to_record(message, origin) for message in messages],
        }
        assert data[10:] == fastavro_write("frame_batch", record)
        found = fastavro_read("frame_batch", data[10:])["frames"]
        assert [from_record(frame, origin) for frame in found] == messages
    worker = BatchEncoder("worker", "y")
    for message in testing.run(STAGES, every):
        if message.type == "frame":
            data = worker.encode([message], sequence=0, sent_at=0, now=0)
            assert decode_batch(data).messages == [message]
        else:
            assert decode_event(encode_event(message)) == message
