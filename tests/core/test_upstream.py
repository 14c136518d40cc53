"""Messages go up the pipeline: a stage speaks to those above it, and to the source."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from datastalker.message import Message
from datastalker.pipeline import Pipeline, Stage
from datastalker.stage import REGISTRY
from datastalker.stats import Stats
from datastalker.testing import build, frame

TUNE = Message(type="tune", channel=6, seconds=2)


@pytest.fixture(autouse=True)
def own_registry() -> Iterator[None]:
    register_all()
    yield
    for name in ("asks", "doubles", "takes", "breaks"):
        del REGISTRY[name]


def register_all() -> None:
    @Pipeline.register_stage("asks")
    class Asks(Stage):
        """Sends what it is told up, for each frame."""

        def handle(self, message: Message) -> Message:
            self.up(Message(TUNE))
            return message

    @Pipeline.register_stage("doubles")
    class Doubles(Stage):
        """Asks for twice as long."""

        def handle(self, message: Message) -> Message:
            return message

        def on_upstream(self, message: Message) -> Message:
            return Message({**message, "seconds": message["seconds"] * 2})

    @Pipeline.register_stage("takes")
    class Takes(Doubles):
        """Lets nothing by."""

        def on_upstream(self, message: Message) -> None:  # type: ignore[override]
            self.stats.incr("takes/taken")

    @Pipeline.register_stage("breaks")
    class Breaks(Doubles):
        """Fails."""

        def on_upstream(self, message: Message) -> Message:
            raise RuntimeError("not so")


def sent_up(*pipeline: str | dict[str, str]) -> tuple[list[Message], Pipeline]:
    built = build(list(pipeline))
    assert built.source is not None
    built.feed([frame()])
    return built.source.heard, built  # type: ignore[attr-defined]


def test_it_comes_to_the_source() -> None:
    heard, _ = sent_up("beacon_filter", "asks")

    assert heard == [TUNE]


def test_what_stands_between_may_change_it() -> None:
    heard, _ = sent_up("doubles", "doubles", "asks")

    assert heard == [{**TUNE, "seconds": 8}]


def test_what_stands_between_may_take_it() -> None:
    heard, built = sent_up("takes", "asks")

    assert heard == []
    assert built.stats.get("takes/taken") == 1


def test_what_stands_below_hears_nothing() -> None:
    heard, built = sent_up("asks", "takes")

    assert heard == [TUNE]
    assert built.stats.get("takes/taken") == 0


def test_a_topic_stops_it_as_it_would_over_kafka() -> None:
    heard, built = sent_up({"topic": "wifi.frames"}, "asks", {"topic": "wifi.asked"})

    assert heard == []
    assert built.stats.get("topic/stopped_going_up") == 1


def test_an_exception_on_its_way_loses_it_and_nothing_else() -> None:
    heard, built = sent_up("breaks", "asks", "doubles")

    assert heard == []
    assert [entry.stats.errors for entry in built.entries] == [1, 0, 0]
    assert built.entries[-1].stats.received == 1


def test_where_no_source_hears_it_it_is_counted() -> None:
    built = build(["asks"])
    built.source = None
    built.feed([frame()])

    assert built.stats.get("asks/unheard_above") == 1


def test_a_stage_alone_may_speak_too() -> None:
    stage = REGISTRY["asks"](Stats())
    assert isinstance(stage, Stage)

    assert stage.handle(frame()) is not None
