"""`make bench-agent`: the agent on a live interface, all delivered to a real Kafka, beside others.

The interface is the kernel's (a TUN device with a monitor's link type), so it needs root. Each tool
has one core of its own; the sender and the broker share another. CPU is that of the tool and its
children from when it listens; the highest rate is that at which a tool had every frame one second
after the last of three seconds of them. `make bench-agent BENCH=rates` for one table of: cpu, rates,
start, and memory, which takes minutes and is made only when it is asked for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from itertools import cycle, islice
from pathlib import Path

import yaml
from confluent_kafka import Consumer, TopicPartition

from bench import frames
from bench.agent_memory import memory
from bench.live_tools import Tool, ours, peers
from bench.process import PYTHON, ROOT, MissingError
from datastalker import config as configuration
from datastalker.broker import connect
from datastalker.segments import topic_plans
from datastalker.wire import decode_batch
from infra.local import Radio, Stack

INTERFACE = "dsbench0"
_STEPS = (
    300,
    500,
    700,
    1000,
    2000,
    5000,
    10_000,
    20_000,
    50_000,
    100_000,
    150_000,
    200_000,
    300_000,
)
_STEP_SECONDS = 3
# Frames a second at which CPU is taken, for how many seconds, and where the search for the highest
# rate begins: about what is known of each, so that a run is short. The agent learns the shapes of
# frames in its first second, and a sensor's first second is one of months.
_PLAN = {
    "agent": (10_000, 20, 20_000),
    "ring": (10_000, 5, 150_000),
    "plain": (10_000, 5, 50_000),
    "dumpcap": (10_000, 5, 100_000),
    "airodump": (10_000, 5, 20_000),
    "tshark": (5_000, 5, 5_000),
    "scapy": (300, 5, 300),
}


def main() -> None:
    wanted = sys.argv[1:] or ["cpu", "rates", "start"]
    path, _, what = frames.big()
    air = _read(frames.first(path, 50_000))
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, cores[1:])
    print(f"Live: {what}; {PYTHON}, {len(cores)} processors\n", flush=True)
    radio = Radio(INTERFACE)
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        try:
            stack.kafka.start()
            config = _configure(Path(folder), stack.kafka.bootstrap_servers)
            tools = {"agent": ours(config)}
            tools |= peers()
            tables = {
                "cpu": lambda: cpu(tools, radio, air),
                "rates": lambda: rates(tools, radio, air),
                "start": lambda: start(radio, air, Path(folder), config),
                "memory": lambda: memory(radio, air, config),
            }
            for name in wanted:
                print(tables[name](), end="\n\n", flush=True)
        finally:
            radio.remove()
            stack.stop(wipe=True)


def cpu(tools: dict[str, Tool], radio: Radio, air: list[bytes]) -> str:
    """CPU a frame at a rate that each can follow."""
    lines = [
        "| | frames/s | µs CPU a frame | frames had | peak MiB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, tool in tools.items():
        rate, seconds, _ = _PLAN[name]
        try:
            count = rate * seconds
            heard = tool.listen(INTERFACE, _Sender(radio, air, count, rate), settle=1.5)
            had = "all" if heard.frames == count else f"{heard.frames:,} of {count:,}"
            each = heard.cpu / max(1, heard.frames) * 1e6
            lines.append(f"| {tool.label} | {rate:,} | {each:.1f} | {had} | {heard.rss:.0f} |")
        except MissingError as missing:
            lines.append(f"| {tool.label} | {missing} | | | |")
    return "\n".join(lines)


def rates(tools: dict[str, Tool], radio: Radio, air: list[bytes]) -> str:
    """The highest of a few rates that each tool follows without a drop, as it was sent; the next
    was too much, or more than one core can send."""
    lines = ["| | frames/s without a drop | had of the next |", "| --- | --- | --- |"]
    for name, tool in tools.items():
        try:
            best, missed = _highest(tool, _PLAN[name][2], radio, air)
            lines.append(f"| {tool.label} | {best:,.0f} | {missed} |")
        except MissingError as missing:
            lines.append(f"| {tool.label} | {missing} | |")
    return "\n".join(lines)


def _highest(tool: Tool, guess: int, radio: Radio, air: list[bytes]) -> tuple[float, str]:
    best, missed = 0.0, ""
    at = _STEPS.index(guess)
    while 0 <= at < len(_STEPS) and not (best and missed):
        rate = _STEPS[at]
        count = rate * _STEP_SECONDS
        send = _Sender(radio, air, count, rate)
        heard = tool.listen(INTERFACE, send)
        sent = count / send.seconds
        if heard.frames < count:
            missed = f"{heard.frames / count:.2%} of {sent:,.0f}"
            at -= 1
            continue
        best = max(best, sent)
        if sent < 0.95 * rate:
            return best, "the sender's limit"
        at += 1
    return best, missed


class _Sender:
    """Sends frames at a rate; `seconds`: what it took."""

    def __init__(self, radio: Radio, air: list[bytes], count: int, rate: int) -> None:
        self._radio, self._air, self._count, self._rate = radio, air, count, rate
        self.seconds = 0.0

    def __call__(self) -> int:
        began = time.monotonic()
        sent = self._radio.send(islice(cycle(self._air), self._count), self._rate)
        self.seconds = time.monotonic() - began
        return sent


def start(radio: Radio, air: list[bytes], folder: Path, config: Path) -> str:
    """From the start of the process to the first frame that is heard, and to its coming out: of
    `stalk run`, and of an agent with its broker."""
    file = folder / "start.yaml"
    source = {"wifi_sniffer": {"interface": INTERFACE}}
    file.write_text(yaml.safe_dump({"pipeline": [source, {"print": {"format": "json"}}]}))
    command = [sys.executable, "-u", "-m", "datastalker", "run", "-q", "-c", str(file)]
    heard, out = [], []
    for _ in range(3):
        began = time.time()
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            os.set_blocking(process.stdout.fileno(), False)
            line = b""
            while b"\n" not in line and time.time() < began + 30:
                radio.send(air[:10], 1000)
                line += process.stdout.read(1 << 16) or b""
            out.append(time.time() - began)
            heard.append(json.loads(line.split(b"\n")[0])["timestamp"] / 1e6 - began)
            process.kill()
    rows = ["| from start to | seconds, best of 3 |", "| --- | --- |"]
    rows.append(f"| the first frame heard | {min(heard):.2f} |")
    rows.append(f"| its being printed | {min(out):.2f} |")
    agents = [_start_agent(radio, air, config) for _ in range(3)]
    rows.append(f"| the first frame heard, by an agent | {min(each for each, _ in agents):.2f} |")
    rows.append(f"| its being in Kafka | {min(each for _, each in agents):.2f} |")
    return "\n".join(rows)


def _start_agent(radio: Radio, air: list[bytes], config: Path) -> tuple[float, float]:
    """Seconds to the first frame that an agent heard, and to its being in the topic."""
    loaded = configuration.load(str(config))
    plan = next(plan for plan in topic_plans(loaded) if plan.name.endswith(".frames"))
    servers = loaded.settings["kafka"]["bootstrap_servers"]
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "start", "fetch.wait.max.ms": 10}
    )
    command = [sys.executable, "-m", "capture_agent", "-c", str(config)]
    try:
        ends = [TopicPartition(plan.name, number) for number in range(plan.partitions)]
        for end in ends:
            end.offset = consumer.get_watermark_offsets(end, timeout=30)[1]
        consumer.assign(ends)
        consumer.poll(1)
        began = time.time()
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
            first, there = 0, 0.0
            while not first and time.time() < began + 30:
                radio.send(air[:10], 1000)
                message = consumer.poll(0.005)
                if message is not None and message.error() is None:
                    times = [f["timestamp"] for f in decode_batch(message.value()).messages]
                    first, there = min(times, default=0), time.time()
            process.terminate()
    finally:
        consumer.close()
    if not first:
        raise RuntimeError("no frame came to Kafka within 30 s")
    return first / 1e6 - began, there - began


def _configure(folder: Path, servers: str) -> Path:
    """A configuration with topics of its own, which are made."""
    name = f"live{uuid.uuid4().hex[:8]}"
    document = {
        "name": name,
        "kafka": {"bootstrap_servers": servers},
        "pipeline": [{"wifi_sniffer": {"interface": INTERFACE}}, {"topic": f"{name}.frames"}],
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(document))
    config = configuration.load(str(file))
    with connect(config, 30) as broker:
        for plan in topic_plans(config):
            broker.create(plan)
    return file


def _read(path: Path) -> list[bytes]:
    content, offset, found = path.read_bytes(), 24, []
    while offset + 16 <= len(content):
        length = int.from_bytes(content[offset + 8 : offset + 12], "little")
        found.append(content[offset + 16 : offset + 16 + length])
        offset += 16 + length
    return found


if __name__ == "__main__":
    main()
