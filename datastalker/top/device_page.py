"""A device's page: who it is, what it probed for, how well each sensor hears it over time."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from datastalker.oui import is_randomized
from datastalker.text import counted, one_line
from datastalker.top.air import Air, Device
from datastalker.top.chart import EIGHTHS, HALVES, chart
from datastalker.top.feed import Live
from datastalker.top.remembered import SECONDS
from datastalker.top.tables import vendor
from datastalker.top.views import ago, clock_time

LOW, HIGH = -100, -20
_SPANS = (60, 120, 300, SECONDS)


class DevicePage(Screen[None]):
    """Shows one device until it is left; it goes on with what is heard."""

    BINDINGS = [  # noqa: RUF012
        Binding("escape,backspace,left", "app.pop_screen", "back"),
        Binding("t", "span", "time"),
        Binding("f,space", "app.freeze", "freeze"),
        Binding("q", "app.quit", "quit"),
    ]

    def __init__(self, live: Live, address: str) -> None:
        super().__init__()
        self.live, self.address = live, address
        self.span: int | None = None  # seconds; None: as far back as it is known
        self.shown = SECONDS
        self.body = Static(markup=False)

    def compose(self) -> ComposeResult:
        yield VerticalScroll(self.body)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        self.draw()

    def on_resize(self) -> None:
        self.draw()

    def action_span(self) -> None:
        """Show more of the past, and after the most the least again."""
        self.span = next((span for span in _SPANS if span > self.shown), _SPANS[0])
        self.draw()

    def draw(self) -> None:
        """With what is known now."""
        with self.live.look() as (air, _):
            device = air.devices.get(self.address)
            self.shown = self.span or (SECONDS if device is None else _span(air, device))
            width, height = self.size
            lines = list(page(air, self.address, width or 80, height, self.shown))
        text = Text("\n".join(lines), no_wrap=False)
        if lines:
            text.stylize("bold", 0, len(lines[0]))
        frozen = Text(" FROZEN", style="reverse") if self.live.frozen else Text()
        self.body.update(Text.assemble(text, frozen))


def page(air: Air, address: str, width: int, height: int, span: int) -> Iterator[str]:
    """Its lines, without a control character in them."""
    device = air.devices.get(address)
    if device is None:
        yield f"{one_line(address)}: forgotten, others were heard since"
        return
    yield f"{one_line(device.address)}  {one_line(vendor(device, device.address))}"
    yield from _about(air, device)
    yield ""
    if not device.sensors:
        yield "signal: no sensor says how strong it is"
        return
    second = air.now // 1_000_000
    rows = max(2, min(8, (height - 10) // len(device.sensors) - 1))
    scale = 8
    glyphs = HALVES if os.environ.get("TERM") == "linux" else EIGHTHS
    for name, heard in sorted(device.sensors.items()):
        values = heard.history.until(second, span)
        yield f"{one_line(name)}: {heard.signal} dBm, {counted(heard.frames, 'frames')}"
        drawn = chart(values, max(10, width - scale - 2), rows, low=LOW, high=HIGH, glyphs=glyphs)
        for number, line in enumerate(drawn):
            edge = HIGH if number == 0 else LOW if number == rows - 1 else None
            label = f"{edge} ┤" if edge is not None else "│"
            yield f"{label:>{scale - 2}}{line}"
    yield f"{'':{scale - 2}}the last {ago(span * 1_000_000)}, now at the right"


def _span(air: Air, device: Device) -> int:
    known = air.now - device.pace.first
    return next((span for span in _SPANS if span * 1_000_000 >= known), SECONDS)


def _about(air: Air, device: Device) -> Iterator[str]:
    what = "access point" if device.access_point else "device"
    made_up = ", randomized address" if is_randomized(device.address) else ""
    yield f"{what}{made_up}{f', {one_line(device.presence).lower()}' if device.presence else ''}"
    pace = device.pace
    yield (
        f"heard {clock_time(pace.first)} to {clock_time(pace.last)} UTC, "
        f"{ago(max(0, air.now - pace.last))} ago; {counted(pace.count, 'frames')}, "
        f"{pace.rate(air.now):.1f}/s"
    )
    names = {n.bssid: n.ssid or n.revealed or "(hidden)" for n in air.networks}
    if device.access_point:
        own = [n for n in air.networks if n.bssid == device.address]
        said = (f"{n.ssid or '(hidden)'} ({n.security or '?'}, ch {n.channel})" for n in own)
        yield "announces: " + one_line(", ".join(said))
        clients = [d.address for d in air.devices if d.bssid == device.address]
        yield f"clients ({len(clients)}): " + ", ".join(clients[:8])
    else:
        talked = (f"{names.get(b, '?')} {b}" for b in reversed(device.bssids))
        yield "networks: " + (one_line(", ".join(talked)) or "none heard")
        yield "probed for: " + (one_line(", ".join(device.probes)) or "nothing by name")
    yield "kinds: " + ", ".join(f"{kind} {n:,}" for kind, n in device.kinds.most_common(8))
