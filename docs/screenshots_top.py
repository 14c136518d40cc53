"""The pictures of `stalk top`: its screen, after some keys, over a simulated capture."""

from __future__ import annotations

import asyncio
import io
import tempfile
from pathlib import Path

from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

from datastalker import config as configuration
from datastalker.simulator.scene import Options
from datastalker.simulator.write import write_scene
from datastalker.top.app import TopApp
from datastalker.top.embedded import EmbeddedFeed
from datastalker.top.feed import Live
from datastalker.top.tables import VIEWS
from datastalker.top.views import Query

SIZE = (118, 22)
KEYS = {
    "top-networks": ["down"],
    "top-devices": ["2"],
    "top-sensors": ["3"],
    "top-device": ["2", "enter"],
}
"""What is pressed before each picture. The table of stages has times, which are never the same."""


def take(code_format: str) -> dict[str, str]:
    """All pictures by their names, as SVG. The same capture gives the same."""
    with tempfile.TemporaryDirectory() as folder:
        write_scene(Options(seed=1, minutes=10), Path(folder))
        text = f"pipeline: [pcap: {{path: '{folder}/sensor-*.pcap'}}, presence]"
        live = Live(EmbeddedFeed(configuration.parse(text, "top.yaml"), "sensor-*.pcap"))
        live.start()
        live.wait(None)
    if live.error is not None:
        raise live.error
    drawn = {name: asyncio.run(_drawn(live, keys)) for name, keys in KEYS.items()}
    return {name: _svg(segments, name, code_format) for name, segments in drawn.items()}


async def _drawn(live: Live, keys: list[str]) -> list[Segment]:
    app = TopApp(live, VIEWS[0], Query(VIEWS[0].sort, VIEWS[0].reverse), refresh=60)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*keys)
        await pilot.pause()
        segments: list[Segment] = []
        for strip in app.screen._compositor.render_strips():
            segments += [Segment(part.text, _plain(part.style)) for part in strip]
            segments.append(Segment.line())
    return segments


def _plain(style: Style | None) -> Style:
    """Without what can be clicked on."""
    return Style.null() if style is None else style.clear_meta_and_links()


def _svg(segments: list[Segment], name: str, code_format: str) -> str:
    console = Console(record=True, width=SIZE[0], file=io.StringIO(), color_system="truecolor")
    console.print(Segments(segments))
    return console.export_svg(title="", code_format=code_format, unique_id=name)
