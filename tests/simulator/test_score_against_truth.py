"""The pipeline against the truth: several sensors' captures through `dedupe` and `presence`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from datastalker import config as configuration
from datastalker.message import Message
from datastalker.simulator.scene import Options
from datastalker.simulator.score import Truth, score_presence
from datastalker.simulator.truth import read_stays
from datastalker.simulator.write import write_scene


def through(directory: Path, *stages: dict[str, Any]) -> list[Message]:
    """What comes out when a pipeline reads the captures of a directory."""
    document = {"pipeline": [{"pcap": {"path": str(directory / "sensor-*.pcap")}}, *stages]}
    built = configuration.build(configuration.parse(yaml.safe_dump(document), "test.yaml"))
    assert built.source is not None
    out: list[Message] = []
    for batch in built.source.run():
        out += built.feed(batch)
    return out + built.finish()


@pytest.fixture(scope="module", params=[3, 2], ids=["three sensors", "two sensors"])
def air(request: pytest.FixtureRequest, hour: Path, tmp_path_factory: pytest.TempPathFactory):
    if request.param == 3:
        return hour
    directory = tmp_path_factory.mktemp("air") / "two"
    write_scene(Options(seed=2, sensors=2, attack=True), directory)
    return directory


@pytest.mark.parametrize("mode", ["first", "merge"])
def test_dedupe_passes_every_transmission_once(air: Path, mode: str):
    frames = through(air, {"dedupe": {"window_seconds": 2, "mode": mode}})
    score = Truth(air).score_dedupe(frames)
    assert (score.precision, score.recall) == (1.0, 1.0), score
    assert score.passed == score.heard > 20_000


def test_a_window_shorter_than_the_sensors_clocks_disagree_lets_copies_through(hour: Path):
    """So the full marks above are not for nothing."""
    score = Truth(hour).score_dedupe(through(hour, {"dedupe": {"window_seconds": 0.001}}))
    assert score.precision < 0.9
    assert score.lost == ()


def test_every_copy_is_read(air: Path):
    truth = Truth(air)
    frames = through(air)
    assert len(frames) == sum(len(sent.heard) for sent in truth.transmissions)
    for frame in frames:
        sent = truth.of(frame)
        assert (frame["kind"], frame["ta"] or "", frame["seq"]) == (sent.kind, sent.ta, sent.seq)


def test_merge_keeps_the_best_signal_and_names_who_heard_it(air: Path):
    truth = Truth(air)
    for frame in through(air, {"dedupe": {"mode": "merge"}}):
        if frame["seq"] is None:
            continue
        assert frame["copies"] == len(frame["heard_by"]) == len(truth.of(frame).heard)
        assert frame["signal_dbm"] == max(each["signal_dbm"] for each in frame["heard_by"])


@pytest.mark.parametrize(
    "dedupe", [[], [{"dedupe": {"window_seconds": 2}}]], ids=["raw", "deduped"]
)
@pytest.mark.parametrize("absent_after_seconds", [120, 300, 600])
def test_presence_tells_every_stay_and_nothing_else(
    air: Path, dedupe: list[Any], absent_after_seconds: int
):
    presence = {"presence": {"absent_after_seconds": absent_after_seconds}}
    out = through(air, *dedupe, presence)
    events = [message for message in out if message.type == "presence"]
    score = score_presence(events, read_stays(air), absent_after_seconds, Truth(air).end_us)
    assert score.expected > 20
    assert (score.missing, score.unexpected) == ((), ())
