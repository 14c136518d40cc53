"""The line that shows how far a run is: on a terminal, of any width, it stays one line."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from datastalker.commands.progress import Progress, progress_line
from datastalker.commands.tables import columns

STALK = Path(__file__).parents[2] / "stalk"
SOURCE = '''\
import time
from datastalker.pipeline import Message, Pipeline, SourceStage

@Pipeline.register_stage("slow")
class Slow(SourceStage):
    """Takes a second for its frames."""

    done = 0

    def run(self):
        for self.done in range(1, 11):
            time.sleep(0.1)
            yield [Message(type="frame", timestamp=0, kind="DATA")] * 12_345

    def progress(self):
        return self.done, 10
'''


def shown(folder: Path, width: int) -> list[str]:
    """The progress lines of a run, one after the other, on a terminal so wide."""
    (folder / "source.py").write_text(SOURCE)
    (folder / "config.yaml").write_text(
        "plugins: [source.py]\npipeline: [slow, csv: {directory: out}]\n"
    )
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    said = b""
    with subprocess.Popen(
        [STALK, "run"], cwd=folder, stderr=theirs, env=os.environ | {"TERM": "xterm"}
    ) as process:
        os.close(theirs)
        try:
            while data := os.read(ours, 65_536):
                said += data
        except OSError:  # EIO: nobody has the terminal's other end any more
            pass
    os.close(ours)
    assert process.returncode == 0, said
    *lines, summary = said.decode().split("\r\x1b[2K")
    assert "messages in" in summary
    return [line for line in lines if line]


@pytest.mark.parametrize(
    ("width", "looks"),
    [
        (30, r"\d+%  [\d,]+/s  \d+ s left"),
        (80, r"\[█*·*\] \d+%  [\d,]+ frames  [\d,]+/s  \d+ s left"),
    ],
)
def test_progress_never_wraps_and_tells_speed_and_time_left(
    tmp_path: Path, width: int, looks: str
) -> None:
    lines = shown(tmp_path, width)

    assert len(lines) >= 2
    assert [line for line in lines if not re.fullmatch(looks, line)] == []
    assert max(map(columns, lines)) <= width - 1


def test_progress_fits_any_width() -> None:
    lines = [progress_line(width, 123_456_789, 4000.0, (2, 3)) for width in range(120)]

    assert all(columns(line) <= width for width, line in enumerate(lines))
    assert all("30,864/s  2000 s left" in line for line in lines[30:])


def test_the_bar_takes_what_room_there_is() -> None:
    lines = [progress_line(width, 1000, 1.0, (1, 2)) for width in (79, 48, 37, 30)]

    assert lines == [
        f"[{'█' * 15}{'·' * 15}] 50%  1,000 frames  1,000/s  1 s left",
        f"[{'█' * 4}{'·' * 5}] 50%  1,000 frames  1,000/s  1 s left",
        "50%  1,000 frames  1,000/s  1 s left",
        "[██···] 50%  1,000/s  1 s left",
    ]


def test_where_the_end_is_not_known_there_is_no_bar() -> None:
    assert progress_line(79, 1000, 2.0, None) == "1,000 frames  500/s"


def test_where_there_is_no_terminal_it_is_a_line_every_five_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("datastalker.commands.progress.monotonic", lambda: now)
    progress = Progress(what="messages", lines=True)
    for now in range(1, 13):
        if progress.due():
            progress.show(now * 1000, (now, 20))
    progress.close()

    assert capsys.readouterr().err == (
        "25%  5,000 messages  1,000/s  15 s left\n50%  10,000 messages  1,000/s  10 s left\n"
    )
    assert not Progress(what="messages").due()  # a run says nothing there
