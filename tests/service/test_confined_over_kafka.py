"""Agent, worker and sink, each under its unit's system call filter, over a real broker."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from datastalker import config as configuration
from datastalker.service import Service
from infra.local import Kafka

ROOT = Path(__file__).resolve().parents[2]
CONFINED = ROOT / "tests/live/confined.py"
SECONDS = 90
BEACON = (
    struct.pack("<BBHI", 0, 0, 8, 0)
    + bytes.fromhex("80000000ffffffffffff0200000000010200000000010000")
    + struct.pack("<QHH", 1, 100, 1)
    + b"\0\5house\3\1\6"
)


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze says which calls a group has"
)
def test_a_frame_goes_from_the_air_to_csv(
    kafka: Kafka, make_radio: Callable[..., Any], tmp_path: Path
) -> None:
    radio, name = make_radio(), f"c{uuid.uuid4().hex[:10]}"
    file, out = tmp_path / "home.yaml", tmp_path / "out"
    pipeline = [
        {"wifi_sniffer": {"interface": radio.name}},
        {"topic": f"{name}.frames"},
        "dedupe",
        {"topic": f"{name}.out"},
        {"csv": {"directory": str(out)}},
    ]
    document = {
        "name": name,
        "kafka": {"bootstrap_servers": kafka.bootstrap_servers, "partitions": 1},
        "agent": {"spool_directory": str(tmp_path / "spool"), "linger_ms": 50},
        "workers": {"http_port": 0},
        "pipeline": pipeline,
    }
    file.write_text(yaml.safe_dump(document))
    stalk = [sys.executable, "-m", "datastalker"]
    subprocess.run([*stalk, "topics", "apply", "-c", str(file)], cwd=ROOT, check=True)
    config = configuration.load(str(file))
    environment = {**os.environ, "DATASTALKER_CONFIG": str(file), "PYTHONPATH": str(ROOT)}
    processes = []
    try:
        for role in ("agent", "worker", "sink"):
            service = Service(config, role)
            unit = tmp_path / service.name
            unit.write_text(service.unit())
            words = service.words(file)
            command = [sys.executable, str(CONFINED), str(unit), "-m", *words]
            with (tmp_path / f"{role}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
                )
        end = time.monotonic() + SECONDS
        while not any("house" in part.read_text() for part in out.glob("frame-*")):
            logs = "\n".join(log.read_text() for log in tmp_path.glob("*.log"))
            assert [process.poll() for process in processes] == [None] * 3, logs
            assert time.monotonic() < end, logs
            radio.send([BEACON])
            time.sleep(0.2)
        for process in processes:
            status = Path(f"/proc/{process.pid}/status").read_text()
            assert "\nSeccomp:\t2\n" in status
            process.terminate()
        assert [process.wait(30) for process in processes] == [0, 0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
