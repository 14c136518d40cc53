"""The whole over Kafka, as processes: agent, worker, sinks. For the demo and the tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_CAME = "captured", "made"
_WENT = "published", "filtered", "dropped", "waiting", "spooled"


class WholeError(Exception):
    """A process of the whole failed, or did not finish in time. The text ends with its output."""


def stalk(*args: str, seconds: float = 300) -> str:
    """Run `stalk` to its end and give what it showed. Raises WholeError."""
    command = [sys.executable, "-m", "datastalker", *args]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode:
        raise WholeError(f"stalk {' '.join(args)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout + done.stderr


def capture(config: Path | str) -> dict[str, int]:
    """Run an agent to its end; its balance."""
    return balance(stalk("capture", "-c", str(config)))


def balance(said: str) -> dict[str, int]:
    """The words and numbers of an agent's summary. Raises WholeError where they don't add up:
    captured (+ made) = published + filtered + dropped (+ waiting, spooled, where it was ended), and
    dropped is the sum of its reasons."""
    found = re.search(r"captured .*", said)
    if not found:
        raise WholeError(f"an agent did not say what became of its frames:\n{said}")
    line = found[0].partition(";")[0]
    words = {
        word: int(number.replace(",", ""))
        for word, number in re.findall(r"([a-z_]+) ([\d,]+\d|\d)", line)
    }
    came = sum(words.get(word, 0) for word in _CAME)
    went = sum(words.get(word, 0) for word in _WENT)
    reasons = sum(words.values()) - came - went
    if came != went or reasons != words.get("dropped"):
        raise WholeError(f"it does not add up: {line}")
    return words


@contextmanager
def worker(config: Path, log: Path, seconds: float = 120) -> Iterator[str]:
    """A Faust worker that is ready; gives the address of its metrics, and ends it."""
    environment = {**os.environ, "DATASTALKER_CONFIG": str(config)}
    command = [str(Path(sys.executable).with_name("faust")), "-A", "processors", "worker"]
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [*command, "--without-web"], cwd=ROOT, env=environment, stdout=out, stderr=out
        )
    try:
        yield _address(process, log, seconds)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path, seconds: float) -> str:
    """Where the worker says that it serves its health, once it is ready."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise WholeError(f"the worker ended with {process.returncode}:\n{_tail(log)}")
        found = re.search(r"http://[0-9.]+:\d+", log.read_text(errors="replace"))
        if found and _get(f"{found[0]}/readyz") is not None:
            return found[0]
        time.sleep(0.2)
    raise WholeError(f"the worker was not ready within {seconds:g} s:\n{_tail(log)}")


def wait_until_idle(address: str, batches: int, seconds: float = 180) -> str:
    """Wait until the worker has handled so many Kafka messages; its metrics."""
    deadline = time.monotonic() + seconds
    page = ""
    while time.monotonic() < deadline:
        page = _get(f"{address}/metrics") or page
        if total(page, "datastalker_batches_total") >= batches:
            return page
        time.sleep(0.2)
    raise WholeError(f"the worker did not finish within {seconds:g} s:\n{page}")


def messages(bootstrap_servers: str, topic: str) -> int:
    """How many Kafka messages a topic got so far, in all its partitions."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "count"})
    try:
        partitions = consumer.list_topics(topic, timeout=15).topics[topic].partitions
        ends = (
            consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=15)[1]
            for number in partitions
        )
        return sum(ends)
    finally:
        consumer.close()


def total(page: str, name: str) -> float:
    """The sum of a metric over its labels, on a Prometheus page."""
    lines = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", page, re.M)
    return sum(map(float, lines))


def by_stage(page: str, name: str) -> dict[str, float]:
    """A metric of the stages, by their names."""
    pattern = rf'^{name}\{{[^}}]*stage="([^"]*)"[^}}]*\}} (\S+)$'
    found: dict[str, float] = {}
    for stage, value in re.findall(pattern, page, re.M):
        found[stage] = found.get(stage, 0) + float(value)
    return found


def _get(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return None


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
