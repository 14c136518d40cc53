"""A full disk is survived: on a file system of a megabyte, with nobody at the broker's address."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

_SCRIPT = """
import json, sys
from collections import Counter
from pathlib import Path
from capture_agent.outbox import KafkaOutbox, Parcel
from capture_agent.spool import Spool
from capture_agent.spool_files import contents
from capture_agent.spool_outbox import SpoolOutbox
from datastalker.errors import BrokerError
from datastalker.options import complete
from datastalker.topics import KAFKA

folder, drop_oldest, count = Path(sys.argv[1]), sys.argv[2] == "oldest", int(sys.argv[3])
kafka = complete(KAFKA, {"bootstrap_servers": "127.0.0.1:1"}, (), lambda path, text: None)
spool = Spool(folder / "spool", 2 << 20)
outbox = SpoolOutbox(
    KafkaOutbox(kafka, "c.yaml", "test", 60, 0.3), spool, "me", 0.1,
    drop_oldest=drop_oldest, in_order=True, topics=("t",),
)
outbox.wait_for(lambda: BrokerError("away", retriable=True), lambda: None)
told, refused = Counter(), 0
outbox.told = lambda parcel, reason: told.update({reason: parcel.frames})
for number in range(count):
    if not outbox.offer(Parcel("t", 0, bytes(1000), "frames", 1, None, "me", number, 1)):
        refused += 1
    if number % 50 == 0:
        outbox.serve()
print(json.dumps({
    "told": told, "refused": refused, "spooled": outbox.spooled, "memory": outbox.waiting,
    "on_disk": contents(folder / "spool").frames,
    "damaged": sum(contents(folder / "spool").damaged.values()),
}))
(folder / "ballast").unlink(missing_ok=True)
if not drop_oldest:
    outbox.drop()
    print(json.dumps({"spooled": outbox.spooled, "on_disk": contents(folder / "spool").frames}))
"""


def run(folder: Path, when_full: str, count: int, before: str = "") -> list[dict[str, Any]]:
    """The script, with a megabyte of disk at `folder` that only it sees."""
    mount = f"mount -t tmpfs -o size=1m tmpfs {folder} && {before} exec "
    shell = f'{mount} "$0" -c "$1" {folder} {when_full} {count}'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", shell, sys.executable, _SCRIPT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "No space left on device; batches wait in memory (queue_mb)" in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_oldest_make_room_and_every_frame_is_accounted_for(tmp_path: Path) -> None:
    (said,) = run(tmp_path, "oldest", 5000)

    assert said["told"]["spool_full"] > 3500
    assert said["refused"] == said["memory"] == 0
    assert said["spooled"] == said["on_disk"] > 500
    assert said["told"]["spool_full"] + said["spooled"] == 5000


def test_else_memory_takes_what_it_can_and_the_disk_what_it_can_when_there_is_room_again(
    tmp_path: Path,
) -> None:
    full, after = run(tmp_path, "newest", 3000, f"head -c 500000 /dev/zero > {tmp_path}/ballast &&")

    assert full["told"] == {}
    assert full["spooled"] == full["on_disk"] > 300
    assert 200 < full["memory"] < 400
    assert full["spooled"] + full["memory"] + full["refused"] == 3000
    assert after["spooled"] == after["on_disk"] == full["spooled"] + full["memory"]


@pytest.mark.parametrize("when_full", ["oldest", "newest"])
def test_a_disk_without_a_byte_is_one_without_a_spool(tmp_path: Path, when_full: str) -> None:
    before = f"mkdir {tmp_path}/spool && head -c 2000000 /dev/zero > {tmp_path}/ballast;"

    said = run(tmp_path, when_full, 200, before)[0]

    assert said["on_disk"] == said["spooled"] == 0
    assert said["memory"] == 200
