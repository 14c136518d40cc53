"""The screen of `stalk top`. It looks at the model once a second, and draws what is seen."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, Static

from datastalker.errors import InputError
from datastalker.text import counted, one_line
from datastalker.top.device_page import DevicePage
from datastalker.top.feed import Live
from datastalker.top.search import compile_filter
from datastalker.top.table_view import TableView
from datastalker.top.tables import VIEWS
from datastalker.top.views import Query, View, clock_time, select

HELP = """\
1 … 5, tab     networks, devices, sensors, stages, events
↑ ↓ PgUp PgDn  choose a row; Home, End
enter          its page: signal over time, probes, networks
< >            order by another column; a click on its title too
r              the other way round
/              see fewer rows: text that a cell contains, or a condition
               as `when:` has it, by column names:
               signal_dbm: {gte: -60}, security: OPEN
escape         all rows again
f, space       freeze the picture; data goes on behind
t              on a device's page: how far back
q              quit

Names of columns in conditions: see docs, "stalk top".
Any key closes this."""


class Help(ModalScreen[None]):
    """The keys."""

    CSS = "Help { align: center middle; } Help Static { width: auto; max-width: 100%; padding: 1 2; border: round; }"  # noqa: E501

    def compose(self) -> ComposeResult:
        yield Static(HELP, markup=False)

    def on_key(self, event: events.Key) -> None:
        event.stop()
        self.dismiss()

    def on_click(self) -> None:
        self.dismiss()


class TopApp(App[None]):
    """A table of what `live` holds, one view at a time."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; }
    #head, #foot { height: 1; }
    TableView { height: 1fr; }
    Input { height: 1; border: none; padding: 0; }
    """
    BINDINGS = [  # noqa: RUF012
        *(Binding(str(n), f"show({n - 1})", show=False) for n in range(1, len(VIEWS) + 1)),
        Binding("tab", "next(1)", "next", priority=True),
        Binding("shift+tab", "next(-1)", show=False, priority=True),
        Binding("less_than_sign", "sort(-1)", "sort", key_display="<"),
        Binding("greater_than_sign", "sort(1)", "sort", key_display=">"),
        Binding("r", "reverse", "reverse"),
        Binding("slash", "ask", "filter", key_display="/", priority=True),
        Binding("f,space", "freeze", "freeze"),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("escape", "all", show=False),
    ]

    def __init__(
        self, live: Live, view: View, query: Query, refresh: float = 1.0, typed: str = ""
    ) -> None:
        """`typed`: a filter, as if it had been typed here."""
        super().__init__(ansi_color=True)  # the terminal's own colours, and few bytes over ssh
        self.theme = "ansi-dark"
        self.animation_level = "none"
        self.live, self.view, self.every = live, view, refresh
        self.queries = {each.name: Query(each.sort, each.reverse) for each in VIEWS}
        self.queries[view.name] = query
        self.typed = typed
        self.head, self.foot = Static(id="head", markup=False), Static(id="foot", markup=False)
        self.table = TableView(view, query)
        self.asked = Input(placeholder="text, or signal_dbm: {gte: -60}", compact=True)
        self.asked.display = False
        self.said = ""

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.table
        yield self.asked
        yield self.foot
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            with suppress(ValueError, RuntimeError, NotImplementedError):  # not in the main thread
                asyncio.get_running_loop().add_signal_handler(number, self.exit)
        self.table.focus()
        self.set_interval(self.every, self.draw)
        self.asked.value = self.typed
        self._filter(self.typed)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """On another screen than the tables only what makes sense there. A slash can be typed."""
        if action == "ask" and self.focused is self.asked:
            return False
        return len(self.screen_stack) < 2 or action in ("quit", "freeze", "pop_screen")

    @property
    def query_now(self) -> Query:
        return self.queries[self.view.name]

    def draw(self) -> None:
        """What is known now, on whichever screen is seen."""
        if isinstance(self.screen, DevicePage):
            self.screen.draw()
            return
        with self.live.look() as (air, stages):
            rows = select(self.view, self.query_now, air, stages)
            now, rate, count, odd = air.now, air.pace.rate(air.now), air.pace.count, air.odd
            forgotten = air.devices.forgotten + air.networks.forgotten
        self.table.show(self.view, self.query_now, rows, now)
        self.head.update(self._tabs())
        parts = [f"filter: {one_line(self.typed)}"] if self.typed else []
        parts += [clock_time(now) + " UTC" if now else "nothing heard yet", f"{rate:,.0f} frames/s"]
        parts += [counted(count, "frames"), counted(len(rows), self.view.name)]
        parts += [f"{forgotten:,} forgotten"] if forgotten else []
        parts += [f"{odd:,} unreadable"] if odd else []
        if self.live.error is not None:
            parts = [f"ended: {one_line(str(self.live.error))}"]
        elif self.live.ended:
            parts.insert(0, "ended")
        line = Text(one_line(self.said) or " · ".join(parts), no_wrap=True, overflow="ellipsis")
        self.foot.update(Text("FROZEN ", style="reverse") + line if self.live.frozen else line)

    def _tabs(self) -> Text:
        line = Text(no_wrap=True, overflow="ellipsis")
        for number, view in enumerate(VIEWS):
            style = Style(reverse=view is self.view, meta={"@click": f"app.show({number})"})
            line.append(f" {number + 1} {view.name} ", style)
        line.append("  " + one_line(self.live.feed.title), Style(dim=True))
        return line

    def action_show(self, number: int) -> None:
        self.view = VIEWS[number]
        self._filter(self.typed)

    def action_next(self, by: int) -> None:
        self.action_show((VIEWS.index(self.view) + by) % len(VIEWS))

    def action_sort(self, by: int) -> None:
        keys = [column.key for column in self.view.columns]
        now = keys.index(self.query_now.sort) if self.query_now.sort in keys else -1
        self._sort(keys[(now + by) % len(keys)])

    def _sort(self, key: str) -> None:
        query = self.query_now
        number = next(c for c in self.view.columns if c.key == key).right
        query.reverse = not query.reverse if key == query.sort else number
        query.sort = key
        self.draw()

    def action_reverse(self) -> None:
        self.query_now.reverse = not self.query_now.reverse
        self.draw()

    def action_freeze(self) -> None:
        self.live.freeze(not self.live.frozen)
        self.draw()

    def action_help(self) -> None:
        self.push_screen(Help())

    def action_ask(self) -> None:
        """At once: what is typed next must not be taken for commands."""
        self.asked.display = True
        self.screen.set_focus(self.asked)

    def action_all(self) -> None:
        self.asked.value = ""
        self._answered()
        self._filter("")

    def on_input_changed(self, event: Input.Changed) -> None:
        self._filter(event.value)

    def on_input_submitted(self) -> None:
        self._answered()

    def _answered(self) -> None:
        self.asked.display = False
        self.screen.set_focus(self.table)

    def _filter(self, typed: str) -> None:
        """A condition that is none yet is said, and all rows are shown."""
        self.said, self.typed, matches = "", typed.strip(), None
        try:
            matches = compile_filter(typed)
        except InputError as error:
            self.said = str(error)
        for query in self.queries.values():
            query.matches = matches
        self.draw()

    def on_table_view_opened(self, event: TableView.Opened) -> None:
        with self.live.look() as (air, _):
            known = air.devices.get(event.row.address) is not None
        if known:
            self.push_screen(DevicePage(self.live, event.row.address))

    def on_table_view_sorted(self, event: TableView.Sorted) -> None:
        self._sort(event.key)
