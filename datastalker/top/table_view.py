"""A table that draws only the lines that are seen: rows may be thousands, and change each second."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from datastalker.top.views import Column, Query, Row, View, cell_text, fit

_HEADER, _CHOSEN = Style(bold=True, underline=True), Style(reverse=True)
_EMPTY = Style(dim=True)
_WIDEST = 40
"""A name with escapes may be longer, and is cut."""


def _needed(column: Column, index: int, rows: Sequence[Row]) -> int:
    """How wide the longest of the names is, where it is wider than its column."""
    names = {str(row.cells[index]) for row in rows}
    wide = (n for n in names if len(n) > column.width or not (n.isascii() and n.isprintable()))
    return min(_WIDEST, max((cell_len(cell_text(column, name, 0)) for name in wide), default=0))


class TableView(Widget, can_focus=True):
    """Rows of a view under its header. What is chosen stays chosen where rows change places."""

    BINDINGS = [  # noqa: RUF012 - as textual declares it
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "move(-1000000)", show=False),
        Binding("end", "move(1000000)", show=False),
        Binding("enter", "open", "open"),
    ]

    class Opened(Message):
        """Somebody wants to see more of a row."""

        def __init__(self, row: Row) -> None:
            super().__init__()
            self.row = row

    class Sorted(Message):
        """Somebody clicked on a column's title."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, view: View, query: Query) -> None:
        super().__init__()
        self.view, self.query_of, self.rows = view, query, list[Row]()
        self.now = self.top = self.index = 0
        self.needed: dict[int, int] = {}
        self.moved = False
        """Until somebody has chosen a row, the first is chosen, whichever it is."""

    def show(self, view: View, query: Query, rows: list[Row], now: int) -> None:
        """Draw these rows instead."""
        chosen = self.chosen
        if view is not self.view:
            self.top = self.index = 0
            self.moved = False
        elif self.moved and chosen is not None:
            here = (i for i, row in enumerate(rows) if row.key == chosen.key)
            self.index = next(here, self.index)
        self.view, self.query_of, self.rows, self.now = view, query, rows, now
        self.needed = {i: _needed(c, i, rows) for i, c in enumerate(view.columns) if c.names}
        self._stay()
        self.refresh()

    @property
    def chosen(self) -> Row | None:
        return self.rows[self.index] if self.index < len(self.rows) else None

    def _stay(self) -> None:
        """The chosen row is one, and is seen."""
        self.index = max(0, min(self.index, len(self.rows) - 1))
        seen = max(1, self.size.height - 1)
        self.top = max(0, min(self.top, len(self.rows) - seen))
        self.top = max(self.index - seen + 1, min(self.top, self.index))

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        places = fit(self.view.columns, width, self.needed)
        index = self.top + y - 1
        if y == 0:
            text, style = self._header(places), _HEADER
        elif index < len(self.rows):
            cells = self.rows[index].cells
            texts = [cell_text(self.view.columns[i], cells[i], self.now) for i, _ in places]
            text = self._line(places, texts)
            style = _CHOSEN if index == self.index else Style.null()
        else:
            nothing = f" no {self.view.name} yet" if not self.rows and y == 1 else ""
            text, style = nothing, _EMPTY
        return Strip([Segment(set_cell_size(text, width), style)], width)

    def _header(self, places: Sequence[tuple[int, int]]) -> str:
        titles = []
        for i, _ in places:
            column = self.view.columns[i]
            sorts = column.key == self.query_of.sort
            titles.append(column.title + (("▼" if self.query_of.reverse else "▲") if sorts else ""))
        return self._line(places, titles)

    def _line(self, places: Sequence[tuple[int, int]], texts: Sequence[str]) -> str:
        parts = []
        for (i, width), text in zip(places, texts, strict=True):
            if cell_len(text) > width:
                text = set_cell_size(text, width - 1) + "…"
            elif self.view.columns[i].right:
                text = " " * (width - cell_len(text)) + text
            parts.append(set_cell_size(text, width))
        return " ".join(parts)

    def action_move(self, by: int) -> None:
        self.moved = True
        self.index += by
        self._stay()
        self.refresh()

    def action_page(self, by: int) -> None:
        self.action_move(by * max(1, self.size.height - 2))

    def action_open(self) -> None:
        if self.chosen is not None:
            self.post_message(self.Opened(self.chosen))

    def on_resize(self) -> None:
        self._stay()

    def on_mouse_scroll_down(self) -> None:
        self.action_move(3)

    def on_mouse_scroll_up(self) -> None:
        self.action_move(-3)

    def on_click(self, event: events.Click) -> None:
        if event.y > 0:
            again = self.index == self.top + event.y - 1 and self.moved
            self.action_move(self.top + event.y - 1 - self.index)
            if again:
                self.action_open()
            return
        left = 0
        for i, width in fit(self.view.columns, self.size.width, self.needed):
            left += width + 1
            if event.x < left:
                self.post_message(self.Sorted(self.view.columns[i].key))
                return
