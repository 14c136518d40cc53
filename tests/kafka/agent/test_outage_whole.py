"""An outage from end to end: agent, spool, worker, CSV sink as processes, and a broker that is away.

Ten minutes by the frames' own time. DATASTALKER_LONG=1: at 1,000 frames a second, as on a busy
channel; else at 100, which says the same sooner.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from capture_agent.spool_files import contents
from datastalker.wire import decode_batch
from infra.local import Kafka, Stack
from infra.whole import messages, stalk, wait_until_idle, worker

Make = Callable[..., Any]

RATE = 1000 if os.environ.get("DATASTALKER_LONG") else 100
MINUTES = (1, 3, 4, 3, 1)
"""Before the outage; three parts of it, behind the first two of which the agent is killed; after."""
OF_A_RUN = {"frame_number", "id", "file", "sensor", "sensors"}
"""What says which run heard a frame, and where in its input; a pipe's sensor is `stdin`."""


@pytest.fixture(scope="module")
def frail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker to kill."""
    stack = Stack(tmp_path_factory.mktemp("outage"), quick=True).end_with(os.getpid())
    yield stack.kafka.start()
    stack.stop(wipe=True)


def parts(make_node: Make) -> list[bytes]:
    """The air, so that nobody is silent for long; cut where the outage begins, and so on."""
    cuts, first = [], 0
    for minutes in MINUTES:
        count = minutes * 60 * RATE
        cuts.append(make_node.air(count, 1_000_000 // RATE, first))
        first += count
    return cuts


def rows(folder: Path, kind: str) -> Counter[tuple[tuple[str, str], ...]]:
    found: Counter[tuple[tuple[str, str], ...]] = Counter()
    for path in folder.glob(f"{kind}-*.csv"):
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                found[tuple((k, v) for k, v in row.items() if k not in OF_A_RUN)] += 1
    return found


def whole(node: Any, source: Any, out: Path) -> Path:
    """The configuration of all that runs, with `presence` in the worker."""
    document = yaml.safe_load(node.file.read_text())
    document["workers"] = {"http_port": 0}
    stages = [{"presence": {"absent_after_seconds": 60, "active_every_seconds": 30}}]
    cut = {"topic": {kind: f"{node.name}.{kind}" for kind in ("frame", "presence")}}
    document["pipeline"] = [source, {"topic": node.frames}, *stages, cut]
    document["pipeline"].append({"csv": {"directory": str(out)}})
    node.file.write_text(yaml.safe_dump(document, sort_keys=False))
    stalk("topics", "apply", "-c", str(node.file))
    return Path(node.file)


def passed(node: Any) -> int:
    """Frames that the worker has passed on, repeats counted."""
    topic = node.read(f"{node.name}.frame")
    return sum(len(decode_batch(m.value()).messages) for kept in topic.values() for m in kept)


def test_everything_is_there_once_and_nobody_went_who_stayed(
    frail: Kafka, make_node: Make, tmp_path: Path
) -> None:
    air, total = parts(make_node), sum(MINUTES) * 60 * RATE * 93 // 100
    calm = make_node(frail, 0)
    calm.write()
    calm.capture.write_bytes(make_node.header() + b"".join(air))
    source = {"pcap": {"path": str(calm.capture)}}
    stalk("run", "-q", "-c", str(whole(calm, source, tmp_path / "calm")))

    node = make_node(frail, 0, source={"pcap": {"path": "-"}})
    node.agent = {"spool_directory": str(tmp_path / "spool"), "spool_fsync_seconds": 0.3}
    node.write()
    whole(node, node.source, tmp_path / "out")

    def start() -> subprocess.Popen[bytes]:
        process = node.start(stdin=subprocess.PIPE, text=False)
        process.stdin.write(make_node.header())
        return process  # type: ignore[no-any-return]

    def on_disk() -> int:
        return contents(tmp_path / "spool").frames

    agent = start()
    assert agent.stdin is not None
    agent.stdin.write(air[0])
    agent.stdin.flush()
    before = MINUTES[0] * 60 * RATE * 93 // 100
    make_node.until(lambda: len(node.published()) == before, "what was before the outage")
    frail.kill()
    spooled = 0
    for number, minutes in enumerate(MINUTES[1:4], start=1):
        agent.stdin.write(air[number])
        agent.stdin.flush()
        spooled += minutes * 60 * RATE * 93 // 100
        make_node.until(lambda: on_disk() == spooled, "a part of the outage on disk")  # noqa: B023
        if number < 3:
            agent.send_signal(signal.SIGKILL)
            agent.wait()
            agent = start()
            assert agent.stdin is not None
    frail.start()
    make_node.until(lambda: on_disk() < spooled, "the broker to be back")
    agent.stdin.write(air[4])
    agent.stdin.flush()
    # At the end of a pipe what is on disk would stay there.
    make_node.until(lambda: not on_disk() and len(node.published()) == total, "all of it sent")
    said = make_node.end(agent, 120)
    assert said.code == 0, said.text

    with worker(node.file, tmp_path / "worker.log") as address:
        wait_until_idle(address, messages(frail.bootstrap_servers, node.frames))
        make_node.until(lambda: passed(node) >= total, "the worker's output")
    stalk("sink", "csv", "--drain", "-c", str(node.file))

    frames = rows(tmp_path / "out", "frame")
    assert frames.total() == total
    assert frames == rows(tmp_path / "calm", "frame")
    events = rows(tmp_path / "out", "presence")
    assert events == rows(tmp_path / "calm", "presence")
    assert {dict(row)["event"] for row in events} == {"NEW", "ACTIVE"}
