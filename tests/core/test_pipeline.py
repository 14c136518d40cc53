"""The runner does for every stage what no stage does itself: count, catch, tell the time, end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from datastalker import config
from datastalker.errors import InputError, OutputError
from datastalker.message import Message
from datastalker.pipeline import Pipeline
from datastalker.testing import SECOND, START, build, frame, run

STAGE = """
from datastalker.errors import InputError, OutputError
from datastalker.pipeline import Message, Pipeline, Sink, SourceStage, Stage, StopPipeline

@Pipeline.register_stage("my_stage")
class Mine(Stage):
{body}
"""
SOURCE = STAGE.replace("my_stage", "my_source").replace("(Stage)", "(SourceStage)")
SINK = STAGE.replace("my_stage", "my_sink").replace("(Stage)", "(Sink)")

Make = Callable[..., Pipeline]
FRAMES = [frame(n, seq=n) for n in range(4)]


@pytest.fixture
def stage(tmp_path: Path) -> Make:
    """A pipeline of one stage of one's own, from the lines of its body, and what is behind it."""

    def make(body: str, behind: tuple[Any, ...] = (), before: tuple[Any, ...] = (), **settings: Any) -> Pipeline:  # fmt: skip # noqa: E501
        return _build(tmp_path, STAGE, body, (*before, "my_stage", *behind), settings)

    return make


@pytest.fixture
def sink(tmp_path: Path) -> Make:
    def make(body: str, behind: tuple[Any, ...] = (), **settings: Any) -> Pipeline:
        return _build(tmp_path, SINK, body, ("my_sink", *behind), settings)

    return make


@pytest.fixture
def source(tmp_path: Path) -> Make:
    """A pipeline of a source of one's own."""

    def make(body: str) -> Pipeline:
        code = SOURCE.format(body="".join(f"    {line}\n" for line in body.splitlines()))
        (tmp_path / "source.py").write_text(code)
        text = "plugins: [source.py]\npipeline: [my_source, strip: {keys: [x]}]\n"
        return config.build(config.parse(text, str(tmp_path / "c.yaml")))

    return make


def _build(folder: Path, code: str, body: str, entries: Any, settings: Any) -> Pipeline:
    text = code.format(body="".join(f"    {line}\n" for line in body.splitlines()))
    (folder / "mine.py").write_text(text)
    return build(list(entries), FRAMES, plugins=[str(folder / "mine.py")], **settings)


def everything(built: Pipeline) -> list[int | None]:
    """The sequence numbers of what comes out, to the end."""
    out: list[Message] = []
    for batch in built.source.run() if built.source else ():
        out += built.feed(batch)
        if built.stop_reason:
            break
    return [message.get("seq") for message in out + built.finish()]


def counts(built: Pipeline, at: int = 0) -> tuple[int, int, int, int]:
    """in, out, dropped, errors of a stage."""
    built.all_stats()
    stats = built.entries[at].stats
    return stats.received, stats.sent, stats.dropped, stats.errors


PASS = "def handle(self, message): return message"


@pytest.mark.parametrize(
    ("body", "out", "counted"),
    [
        (PASS, [0, 1, 2, 3], (4, 4, 0, 0)),
        ("def handle(self, message): return None", [], (4, 0, 4, 0)),
        ("def handle(self, message): return []", [], (4, 0, 4, 0)),
        ("def handle(self, message): return [message] * 2", [0, 0, 1, 1, 2, 2, 3, 3], (4, 8, 0, 0)),
        ("def handle(self, message): return message if message['seq'] % 2 else None",
            [1, 3], (4, 2, 2, 0)),
        ("def handle(self, message): return message if 1 // message['seq'] else None",
            [1], (4, 1, 2, 1)),
        ("def handle_bulk(self, messages): return messages[:1]", [0], (4, 1, 3, 0)),
        ("def handle_bulk(self, messages): return messages[::-1]", [3, 2, 1, 0], (4, 4, 0, 0)),
    ],
)  # fmt: skip
def test_what_comes_in_goes_out_and_is_dropped_is_counted(
    stage: Make, body: str, out: list[int], counted: tuple[int, ...]
) -> None:
    # One run of messages for a bulk stage: time stands still.
    built = stage(body)
    assert built.source is not None
    built.source.messages = [frame(seq=n) for n in range(4)]  # type: ignore[attr-defined]

    assert everything(built) == out
    assert counts(built) == counted


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def handle(self, message): return dict(message)",
            "handle gave a dict; give a Message, a list of them, or None"),
        ("def handle(self, message): return 'x'",
            "handle gave a str; give a Message, a list of them, or None"),
        ("def handle(self, message): return 7",
            "handle gave an int; give a Message, a list of them, or None"),
        ("def handle(self, message): return True",
            "handle gave a bool; give a Message, a list of them, or None"),
        ("def handle(self, message): return (message,)",
            "handle gave a tuple; give a Message, a list of them, or None"),
        ("def handle(self, message): yield message",
            "handle gave a generator; give a Message, a list of them, or None"),
        ("def handle(self, message): return [message, None]",
            "handle gave a list with a NoneType, not a Message"),
        ("def handle_bulk(self, messages): return None",
            "handle_bulk gave a NoneType; give a list of Messages"),
        ("def handle_bulk(self, messages): return messages[0]",
            "handle_bulk gave a Message; give a list of Messages"),
        ("def handle_bulk(self, messages): return [dict(m) for m in messages]",
            "handle_bulk gave a list with a dict, not a Message"),
    ],
)  # fmt: skip
def test_a_stage_that_gives_something_else_loses_it_and_is_told(
    stage: Make, caplog: pytest.LogCaptureFixture, body: str, said: str
) -> None:
    built = stage(body)

    assert everything(built) == []
    assert counts(built) == (4, 0, 0, 4)
    assert len(caplog.records) == 1
    assert said in caplog.text


@pytest.mark.parametrize("when", ["tick", "flush"])
@pytest.mark.parametrize("given", ["5", "'x'", "{'a': 1}", "Message(a=1)", "[{}]"])
def test_what_tick_and_flush_give_is_checked_too(
    stage: Make, caplog: pytest.LogCaptureFixture, when: str, given: str
) -> None:
    now = ", now" if when == "tick" else ""
    built = stage(f"{PASS}\ndef {when}(self{now}): return {given}")

    assert everything(built) == [0, 1, 2, 3]
    assert built.entries[0].stats.errors >= 1
    assert len(caplog.records) == 1


def test_tick_and_flush_may_give_any_iterable(stage: Make) -> None:
    built = stage(f"{PASS}\ndef flush(self):\n  yield Message(seq=8)\n  yield Message(seq=9)")

    assert everything(built) == [0, 1, 2, 3, 8, 9]


def test_an_exception_loses_one_message_and_is_shown_once_with_stage_message_and_traceback(
    stage: Make, caplog: pytest.LogCaptureFixture
) -> None:
    built = stage("def handle(self, message):\n  if message['seq'] != 2: raise ValueError('bad')\n  return message")  # fmt: skip # noqa: E501

    assert everything(built) == [2]
    assert counts(built) == (4, 1, 0, 3)
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith("stage my_stage failed; shown once, counted in its errors")
    assert f"with {{'type': 'frame', 'timestamp': {START}, 'kind': 'DATA', 'seq': 0}}" in said
    assert 'mine.py", line 8, in handle' in said
    assert said.endswith("ValueError: bad")


def test_another_exception_of_the_same_stage_is_shown_too(
    stage: Make, caplog: pytest.LogCaptureFixture
) -> None:
    everything(stage("def handle(self, message):\n  if message['seq'] % 2:\n    1 / 0\n  message['nope']"))  # fmt: skip # noqa: E501

    assert [r.getMessage().splitlines()[-1] for r in caplog.records] == [
        "KeyError: 'nope'",
        "ZeroDivisionError: division by zero",
    ]


def test_an_exception_is_shown_without_the_terminal_acting_on_it(
    stage: Make, caplog: pytest.LogCaptureFixture
) -> None:
    body = "def handle(self, message):\n  message['ssid'] = '\\x1b[2J'\n  raise ValueError('\\x1b[31m\\u202e')"  # fmt: skip # noqa: E501
    everything(stage(body))

    assert "\x1b" not in caplog.text
    assert "ValueError: \\x1b[31m\\u{202e}" in caplog.text


def test_a_message_that_can_not_be_shown_does_not_end_the_run(
    stage: Make, caplog: pytest.LogCaptureFixture
) -> None:
    body = "class Odd:\n  def __repr__(self): 1 / 0\ndef handle(self, message):\n  message['x'] = self.Odd()\n  raise ValueError"  # fmt: skip # noqa: E501
    built = stage(body)

    assert everything(built) == []
    assert "with a message that can't be shown: ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("where", ["tick", "flush"])
def test_an_exception_in_tick_or_flush_is_counted_and_loses_nothing(
    stage: Make, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    now = ", now" if where == "tick" else ""
    built = stage(f"{PASS}\ndef {where}(self{now}): 1 / 0")

    assert everything(built) == [0, 1, 2, 3]
    assert built.entries[0].stats.errors >= 1
    assert len(caplog.records) == 1


def test_what_one_stage_flushes_goes_through_those_behind_and_comes_out(stage: Make) -> None:
    """Both hold back, so what the first gives at the end must not get lost behind the second."""
    built = stage(
        f"{PASS}\ndef flush(self): return [Message(seq=8, x=1)]",
        before=({"dedupe": {"mode": "merge", "window_seconds": 60}},),
        behind=({"strip": {"keys": ["x"]}},),
    )
    assert built.source is not None
    built.source.messages = [frame(seq=7, ta="02:00:00:00:00:01")]  # type: ignore[attr-defined]

    assert everything(built) == [7, 8]


@pytest.mark.parametrize(
    ("body", "out", "counted"),
    [
        (f"{PASS} if message['seq'] < 2 else self.end()\ndef end(self): raise StopPipeline('enough')",
            [0, 1], (2, 2, 0, 0)),
        ("def handle_bulk(self, messages): raise StopPipeline('enough')", [], (0, 0, 0, 0)),
        (f"{PASS}\ndef flush(self): raise StopPipeline('enough')", [0, 1, 2, 3], (4, 4, 0, 0)),
    ],
)  # fmt: skip
def test_a_stage_may_ask_for_an_orderly_end_anywhere(
    stage: Make,
    caplog: pytest.LogCaptureFixture,
    body: str,
    out: list[int],
    counted: tuple[int, ...],
) -> None:
    built = stage(body, behind=({"strip": {"keys": ["x"]}},))

    assert everything(built) == out
    assert counts(built) == counted
    assert built.stop_reason == "enough"
    assert caplog.records == []


def test_a_stage_may_ask_for_the_end_when_time_has_moved(stage: Make) -> None:
    body = f"{PASS}\ndef tick(self, now):\n  if now > {START}: raise StopPipeline('enough')"
    built = stage(body, batch=1)

    out = everything(built)

    assert out == list(range(len(out)))
    assert len(out) < 4
    assert built.stop_reason == "enough"


def test_a_stages_except_exception_does_not_swallow_the_end(stage: Make) -> None:
    body = "def handle(self, message):\n  try: raise StopPipeline('enough')\n  except Exception: return message"  # fmt: skip # noqa: E501
    built = stage(body)

    assert everything(built) == []


def test_a_sink_has_a_state_too(sink: Make) -> None:
    built = sink("def write(self, batch): self.state['last'] = batch[-1]['seq']", batch=1)

    built.run()

    assert built.entries[0].component.state["last"] == 3


@pytest.mark.parametrize("mode", ["write", "close"])
def test_a_sink_may_ask_for_an_orderly_end_too(sink: Make, mode: str) -> None:
    batch = ", batch" if mode == "write" else ""
    other = "def close(self): pass" if mode == "write" else "def write(self, batch): pass"
    built = sink(f"def {mode}(self{batch}): raise StopPipeline('enough')\n{other}")

    built.run()

    assert built.stop_reason == "enough"


@pytest.mark.parametrize(("error", "said"), [("1 / 0", "sink 'my_sink' failed: ZeroDivisionError: division by zero"), ("raise OutputError('disk full')", "disk full")])  # fmt: skip # noqa: E501
def test_a_sink_that_fails_ends_the_run_and_the_others_are_finished(
    sink: Make, tmp_path: Path, error: str, said: str
) -> None:
    csv = {"csv": {"directory": str(tmp_path / "out")}}
    built = sink(f"def write(self, batch):\n  if batch[0]['seq']: {error}", behind=(csv,), batch=1)

    with pytest.raises(OutputError, match=said):
        built.run()

    (written,) = (tmp_path / "out").glob("frame-*.csv")
    assert len(written.read_text().splitlines()) == 1 + 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def run(self):\n  yield [Message(type='frame')]\n  raise ValueError('cut')",
            "source 'my_source' failed: ValueError: cut"),
        ("def run(self): raise InputError('no such device')", "no such device"),
        ("def run(self): raise ValueError('at once')",
            "source 'my_source' failed: ValueError: at once"),
        ("def run(self): return None",
            "source 'my_source' failed: TypeError: 'NoneType' object is not iterable"),
        ("def run(self): yield Message(type='frame')",
            "failed: TypeError: run gave a Message; yield lists of Messages"),
        ("def run(self): yield [{'type': 'frame'}]",
            "failed: TypeError: run gave a list with a dict, not a Message"),
    ],
)  # fmt: skip
def test_a_source_that_fails_is_named_after_the_pipeline_was_ended_in_order(
    source: Make, body: str, said: str
) -> None:
    built = source(f"{body}\nclosed = 0\ndef close(self): self.closed += 1")

    with pytest.raises(InputError, match=said):
        built.run()

    assert built.source.closed == 1  # type: ignore[union-attr]


def test_a_source_may_ask_for_an_orderly_end(source: Make) -> None:
    built = source(
        "def run(self):\n  yield [Message(type='frame')]\n  raise StopPipeline('enough')"
    )

    built.run()

    assert (built.stop_reason, counts(built)) == ("enough", (1, 1, 0, 0))


def test_a_source_may_give_messages_without_a_time_and_empty_batches(source: Make) -> None:
    built = source("def run(self):\n  yield []\n  yield [Message(a=1), Message(a=2, timestamp='x')]\n  yield []")  # fmt: skip # noqa: E501

    built.run()

    assert counts(built) == (2, 2, 0, 0)


def test_a_source_is_told_what_went_through_and_is_closed_before_the_run_returns(
    source: Make,
) -> None:
    built = source(
        "said = ()\n"
        "def run(self):\n"
        "  try:\n"
        "    while True: yield [Message(a=1)]\n"
        "  finally: self.said += ('ended',)\n"
        "def commit(self): self.said += ('commit',)\n"
        "def close(self): self.said += ('closed',)\n"
    )

    built.run(lambda: built.stop("test"))

    assert built.source.said == ("commit", "ended", "closed")  # type: ignore[union-attr]


def test_time_is_the_datas_and_stages_are_told(stage: Make) -> None:
    built = stage(f"{PASS}\ntold = ()\ndef tick(self, now):\n  self.told += (now,)\n  return ()")

    everything(built)

    told = [(now - START) / SECOND for now in built.entries[0].component.told]  # type: ignore[union-attr]
    assert told == sorted(told)
    assert told[-1] == 3


def test_a_stages_own_statistics_stand_beside_the_runners(stage: Make) -> None:
    built = stage("def handle(self, message):\n  self.stats.incr('mine/seen')\n  self.stats.incr('mine/sum', message['seq'])\n  self.stats.set('mine/last', message['seq'])")  # fmt: skip # noqa: E501

    everything(built)

    assert built.stats.get_stats() == {"mine/last": 3, "mine/seen": 4, "mine/sum": 6}


def test_a_source_that_waits_for_its_time_does_not_count_that(source: Make) -> None:
    built = source(
        "def run(self):\n"
        "  import time\n"
        "  for number in range(2):\n"
        "    sum(range(200_000))\n"
        "    time.sleep(0.5)\n"
        "    yield [Message(a=number)]\n"
    )

    built.run()

    assert 0.0005 < built.source_stats.seconds < 0.5


def test_seconds_are_counted_for_source_and_stages_flush_included(stage: Make) -> None:
    body = f"{PASS}\ndef flush(self):\n  import time; time.sleep(0.01)\n  return ()"
    built = stage(body)

    built.run()

    assert built.source_stats.seconds > 0
    assert 0.01 < built.entries[0].stats.seconds < 1


def test_evicted_state_is_counted_by_stage() -> None:
    frames = [frame(n, ta=f"02:00:00:00:00:{n:02x}", seq=n) for n in range(10)]
    built = build(["presence", "print"], frames, state_max_entries=4)

    built.feed(frames)

    assert built.evicted() == {"presence": 6}


PIPELINE: list[Any] = [
    {"dedupe": {"mode": "merge"}},
    "beacon_filter",
    "oui",
    "moving_average",
    {"presence": {"absent_after_seconds": 5}},
]


def _air() -> Iterator[Message]:
    for n in range(300):
        kind = ("BEACON", "DATA", "PROBE_REQ")[n % 3]
        ta = f"02:00:00:00:00:{n * 7 % 40:02x}"
        for sensor in ("a", "b"):
            yield frame(n / 7, kind=kind, ta=ta, seq=n, sensor=sensor, signal_dbm=-n % 60 - 90)


@pytest.mark.parametrize("entries", [65_536, 16])
def test_the_same_input_gives_the_same_output_to_the_byte_twice(
    entries: int, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (repr(run(PIPELINE, _air(), state_max_entries=entries)) for _ in range(2))

    assert first == second
    assert len(first) > 10_000
    assert caplog.records == []


@pytest.mark.parametrize("stage", PIPELINE, ids=str)
def test_where_a_batch_ends_does_not_change_what_a_stage_says(stage: Any) -> None:
    said = {batch: sorted(map(repr, run([stage], _air(), batch=batch))) for batch in (1, 7, 1000)}

    assert said[1] == said[7] == said[1000]
