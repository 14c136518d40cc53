"""A sink of one's own only writes: batching, retry, commit and dead letters are the runner's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

OWN = """
import json
from pathlib import Path

from datastalker.errors import RetryLater
from datastalker.options import option
from datastalker.pipeline import Pipeline
from datastalker.stage import Refused, Sink

@Pipeline.register_stage('own')
class Own(Sink):
    "Lines of JSON; busy at first, and no friend of sevens."

    file: str = option("own.jsonl", "where to")
    tries = 0

    def write(self, batch):
        self.tries += 1
        if self.tries <= 2:
            raise RetryLater("busy", 0.2)
        with open(self.file, "a") as out:
            for message in batch:
                if message["id"].endswith("7"):
                    yield Refused(message, "a seven")
                else:
                    out.write(json.dumps(message["id"]) + chr(10))
"""


def test_a_sink_of_ones_own_has_nothing_but_write(site: Callable[..., Any]) -> None:
    here = site([{"csv": {"directory": "out"}}])
    (here.folder / "own.py").write_text(OWN)
    kept = here.folder / "own.jsonl"
    text = here.path.read_text().replace("csv:\n    directory: out", f"own:\n    file: {kept}")
    here.path.write_text(f"plugins: [own.py]\n{text}")
    ids = here.publish(3)

    assert here.process("own", "--drain").wait(60) == 0

    assert [json.loads(line) for line in kept.read_text().splitlines()] == [
        name for name in ids if not name.endswith("7")
    ]
    letters = [dict(letter.headers()) for letter in here.dead_letters()]
    refused = [name for said in letters for name in said["dead-letter-ids"].decode().split()]
    assert refused == [name for name in ids if name.endswith("7")]
    assert {said["dead-letter-reason"] for said in letters} == {b"a seven"}
    assert here.committed("own", here.frames) == 3
    said = (here.folder / "sink.log").read_text()
    assert "own is paused: busy" in said
    assert "own goes on" in said
