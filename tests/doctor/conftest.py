"""`stalk doctor` as a user calls it, on a configuration of the test's own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
"""How long it may take on a busy machine; it bounds itself at less."""


@dataclass
class Said:
    """What it found. `said["broker"]`: the findings about that, each with level, found, …"""

    code: int
    findings: list[dict[str, str]]

    def __getitem__(self, about: str) -> list[dict[str, str]]:
        return [finding for finding in self.findings if finding["about"] == about]

    def one(self, about: str, level: str) -> dict[str, str]:
        """The one finding about that of a level; of a warning or failure also why and what to do."""
        found = [finding for finding in self[about] if finding["level"] == level]
        assert len(found) == 1, self[about] or self.findings
        if level != "ok":
            assert found[0]["cause"], found
            assert found[0]["remedy"], found
        return found[0]

    @property
    def failed(self) -> set[str]:
        return {finding["about"] for finding in self.findings if finding["level"] == "failed"}


@dataclass
class Doctor:
    """Calls it. `command` stands before: `setpriv`, `unshare`."""

    folder: Path
    command: list[str] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "doctor.yaml"

    def run(self, document: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
        text = document if isinstance(document, str) else yaml.safe_dump(document)
        self.file.write_text(text)
        stalk = [sys.executable, "-m", "datastalker", "doctor", "-c", str(self.file), *arguments]
        done = subprocess.run(
            [*self.command, *stalk],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.stderr == ""
        return done

    def look(self, document: Any, *arguments: str) -> Said:
        """Its findings; the exit code goes by them."""
        done = self.run(document, "--json", *arguments)
        said = Said(done.returncode, json.loads(done.stdout))
        assert said.code == bool(said.failed), done.stdout
        for finding in said.findings:
            if finding["level"] != "ok":
                assert finding["cause"], finding
                assert finding["remedy"], finding
        return said

    def whole(self, source: Any, *sinks: Any, **settings: Any) -> dict[str, Any]:
        """A pipeline without topics."""
        return {**settings, "pipeline": [source, *sinks]}


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A capture file of one frame."""
    path = tmp_path / "one.pcap"
    header = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000069000000")  # 802.11
    ack = bytes.fromhex("d4000000020000000001")
    record = (1_772_470_800).to_bytes(4, "little") + bytes(4) + 2 * len(ack).to_bytes(4, "little")
    path.write_bytes(header + record + ack)
    return path
