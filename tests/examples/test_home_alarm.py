"""The home alarm of docs/alarm.md: its own file, on simulated air, to whoever is to be told."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from datastalker.simulator.scene import Options
from datastalker.simulator.write import write_scene

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/alarm.md").read_text(encoding="utf-8")
ANNA = "1a:8a:e4:30:a3:f7"
"""Her phone in the simulated household: it leaves at 17:11 and is back at 17:35."""
TOLD = ["nobody is home", "nobody is home, and a stranger is near", "somebody came home"]
REPORT = """\
3 alerts
time (UTC)           alert     of    text                                    more
2026-03-02 17:17:32  armed     home  nobody is home
2026-03-02 17:21:24  intruder  home  nobody is home, and a stranger is near  device: 36:ef:81:4c:e4:10
2026-03-02 17:35:25  disarmed  home  somebody came home                      device: 1a:8a:e4:30:a3:f7
"""


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captures")
    write_scene(Options(minutes=60), folder)
    return folder


class Phone(HTTPServer):
    """Takes what is posted, as ntfy does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Post)
        self.posted: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}/home"


class Post(BaseHTTPRequestHandler):
    server: Phone

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.posted.append(text)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Not to standard error."""


@pytest.fixture
def phone() -> Iterator[Phone]:
    with Phone() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def the_page_s(captures: Path, folder: Path, notify: Any) -> Path:
    """The page's file, but for the card, the resident, and where to store and to post."""
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    document = yaml.safe_load(text)
    document["plugins"] = [str(ROOT / name) for name in document["plugins"]]
    pipeline = document["pipeline"]
    pipeline[0] = {"pcap": {"path": str(captures / "sensor-*.pcap")}}
    pipeline[3]["home_alarm"]["residents"] = [ANNA.upper().replace(":", "-")]  # as routers list it
    pipeline[4]["csv"]["directory"] = str(folder / "alarm")
    pipeline[5] = notify
    file = folder / "alarm.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def stalk(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "datastalker", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_who_is_told_what_and_the_report_shows_it(
    captures: Path, tmp_path: Path, phone: Phone
) -> None:
    file = the_page_s(captures, tmp_path, {"notify": {"url": phone.url}})
    done = stalk("run", "-q", "-c", file)

    assert (done.returncode, done.stderr) == (0, "")
    assert phone.posted == TOLD
    assert stalk("report", tmp_path / "alarm").stdout == REPORT


def test_a_phone_that_can_not_be_reached_ends_nothing(captures: Path, tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/home"
    file = the_page_s(captures, tmp_path, {"notify": {"url": url, "tries": 1}})
    done = stalk("run", "-c", file)

    assert done.returncode == 0, done.stderr
    assert "sink notify refused a message" in done.stderr
    assert "it can't be posted: " in done.stderr
    assert re.search(r"^notify .* 3 +[\d.]+$", done.stderr, re.M)  # its errors
    assert stalk("report", tmp_path / "alarm").stdout == REPORT


def test_a_shell_that_reads_what_print_says_is_told_as_well(captures: Path, tmp_path: Path) -> None:
    said = {"print": {"format": "json", "when": {"type": "alert"}}}
    assert "- print: {format: json, when: {type: alert}}" in PAGE
    file = the_page_s(captures, tmp_path, said)
    run = f"{sys.executable} -m datastalker run -q -c {file}"
    loop = f'{run} | while read -r alert; do echo "$alert"; done'
    done = subprocess.run(["sh", "-c", loop], cwd=ROOT, capture_output=True, text=True)

    assert re.findall(r'"text":"([^"]+)"', done.stdout) == TOLD


def test_the_sink_on_the_page_is_the_example() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert code == (ROOT / "examples/notify.py").read_text(encoding="utf-8")
