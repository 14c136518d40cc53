"""Takes the pictures of terminals in docs/images: runs the commands, draws what they say as SVG.

Run by `make screenshots`. A test runs them again and compares the text; of doctor.svg only what is
looked at, since what is found is this machine's.
"""

from __future__ import annotations

import inspect
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
WIDTH = 122

_THEIRS: str = inspect.signature(Console.export_svg).parameters["code_format"].default
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", _THEIRS, flags=re.S)
"""Rich's drawing of a terminal without the font that it would fetch from the net."""

TYPOS = """\
pipeline:
  - pcap: {path: "captures/*.pcap"}
  - dedupe: {window: 2}
  - beacon_fliter
  - presence: {absent_after_seconds: 5m}
  - csv: {directory: out}
"""

OVER_KAFKA = """\
name: home
kafka: {bootstrap_servers: "SERVERS", partitions: 4}
pipeline:
  - pcap: {path: "captures/*.pcap"}
  - topic: wifi.frames
  - dedupe: {window_seconds: 2}
  - presence: {absent_after_seconds: 300}
  - topic: {frame: wifi.decorated, presence: wifi.presence}
  - csv: {directory: out}
"""

LIVE = """\
name: home
kafka: {bootstrap_servers: "localhost:1", partitions: 4}
agent: {spool_directory: spool}
pipeline:
  - wifi_sniffer: {interface: wlan1}
  - topic: wifi.frames
  - csv: {directory: out}
"""


def check(folder: Path, servers: str | None) -> Iterator[str]:
    """Three mistakes, and what `stalk check` says of them."""
    (folder / "config.yaml").write_text(TYPOS, encoding="utf-8")
    yield "cat config.yaml"
    yield "stalk check -c config.yaml"


def report(folder: Path, servers: str | None) -> Iterator[str]:
    """What `make demo` ends with."""
    quiet = f"stalk simulate --out captures --seed 1 && stalk run -q -c {ROOT}/examples/home.yaml"
    said = run(quiet, folder)
    if not (folder / "out").is_dir():
        raise RuntimeError(said)
    yield "stalk report out --limit 8"


def topics_plan(folder: Path, servers: str | None) -> Iterator[str]:
    """What a broker without topics lacks."""
    text = OVER_KAFKA.replace("SERVERS", servers or "")
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    yield "stalk topics plan -c config.yaml"


def doctor(folder: Path, servers: str | None) -> Iterator[str]:
    """A sensor node where little is as it should be."""
    (folder / "home.yaml").write_text(LIVE, encoding="utf-8")
    yield "stalk doctor -c home.yaml --role agent"


Shot = Callable[[Path, str | None], Iterator[str]]
SHOTS: dict[str, Shot] = {
    "check": check,
    "report": report,
    "topics-plan": topics_plan,
    "doctor": doctor,
}


def take(name: str, servers: str | None = None) -> str:
    """Run the commands of a shot in a folder of their own; gives the picture, as SVG."""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        said = [(command, run(command, where)) for command in SHOTS[name](where, servers)]
    return draw(said, name)


def run(command: str, folder: Path) -> str:
    """What a command says on both its outputs, in a terminal of WIDTH columns without colours."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {"PATH": path, "HOME": str(folder), "COLUMNS": str(WIDTH), "LANG": "C.UTF-8"}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=env, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
    )  # fmt: skip
    return done.stdout.replace(str(folder), "~")


def draw(said: list[tuple[str, str]], name: str) -> str:
    """A terminal with these commands and what they said, as SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor")
    for command, output in said:
        console.print(Text.assemble(("$ ", "green"), (command, "bold")))
        console.print(Text(output.rstrip()))
    return console.export_svg(title="", code_format=FORMAT, unique_id=name)


def text_of(svg: str) -> list[str]:
    """The lines of text in a picture, without its drawing."""
    return [
        unescape(re.sub(r"<[^>]+>", "", line)).replace("\xa0", " ").rstrip()
        for line in re.findall(r"<text .*?</text>", svg, re.S)
    ]


def main() -> None:
    from docs import screenshots_top
    from infra.local import Stack

    IMAGES.mkdir(exist_ok=True)
    for name, picture in screenshots_top.take(FORMAT).items():
        (IMAGES / f"{name}.svg").write_text(picture, encoding="utf-8")
        print(f"wrote docs/images/{name}.svg")
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), quick=True)
        try:
            servers = stack.kafka.start().bootstrap_servers
            for name in SHOTS:
                (IMAGES / f"{name}.svg").write_text(take(name, servers), encoding="utf-8")
                print(f"wrote docs/images/{name}.svg")
        finally:
            stack.stop(wipe=True)


if __name__ == "__main__":
    main()
