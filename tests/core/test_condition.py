"""`when:` works on any stage: what does not meet it passes by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from datastalker import config
from datastalker.message import Message
from datastalker.testing import build, frame, run

BEACON = frame(kind="BEACON", ta="02:00:00:00:00:01", ssid="guest-1", signal_dbm=-60, retry=False)
DATA = frame(kind="DATA", ta="02:00:00:00:00:02", signal_dbm=-80, retry=True)
EVENT = Message(type="presence", event="NEW")
BARE = Message(x=1)
MESSAGES = {"BEACON": BEACON, "DATA": DATA, "EVENT": EVENT, "BARE": BARE}


@pytest.mark.parametrize(
    ("when", "met_by"),
    [
        ("{type: frame}", "BEACON DATA"),
        ("{type: presence}", "EVENT"),
        ("{type: message}", "BARE"),
        ("{type: message, x: 1}", "BARE"),
        ("{type: [frame, presence]}", "BEACON DATA EVENT"),
        ("{type: {not: frame}}", "EVENT BARE"),
        ("{kind: BEACON}", "BEACON"),
        ("{kind: [BEACON, DATA]}", "BEACON DATA"),
        ("{kind: {equals: DATA}}", "DATA"),
        ("{kind: {in: [DATA, ACK]}}", "DATA"),
        ("{kind: {not: [DATA, null]}}", "BEACON"),
        ("{kind: null}", "EVENT BARE"),
        ("{kind: {exists: true}}", "BEACON DATA"),
        ("{kind: {exists: false}}", "EVENT BARE"),
        ("{kind: {matches: ^BEA}}", "BEACON"),
        ("{ssid: {matches: 'T-\\d$'}}", ""),
        ("{ssid: {matches: '(?i)T-\\d$'}}", "BEACON"),
        ("{ssid: ''}", ""),
        ("{ta: 02:00:00:00:00:02}", "DATA"),
        ("{signal_dbm: {gt: -80}}", "BEACON"),
        ("{signal_dbm: {gte: -80}}", "BEACON DATA"),
        ("{signal_dbm: {lt: -60}}", "DATA"),
        ("{signal_dbm: {lte: -60, gt: -79.5}}", "BEACON"),
        ("{retry: true}", "DATA"),
        ("{retry: false, kind: BEACON}", "BEACON"),
        ("{x: 1}", "BARE"),
        ("{x: {gt: 0.5}}", "BARE"),
        ("{x: {matches: '1'}}", ""),
        ("{event: NEW}", "EVENT"),
    ],
)
def test_a_condition_picks_the_messages_that_meet_it(when: str, met_by: str) -> None:
    condition = yaml.safe_load(when.replace("02:00:00:00:00:02", "'02:00:00:00:00:02'"))
    step = build(["print"]).entries[0]
    built = build([{"print": {"when": condition}}]).entries[0]

    assert step.when is None
    assert built.when is not None
    assert [name for name, message in MESSAGES.items() if built.when(message)] == met_by.split()


@pytest.mark.parametrize(
    "when",
    [
        {"ta": "0A:00:00:00:00:0F"},
        {"ta": "0a-00-00-00-00-0f"},
        {"ta": "0A00.0000.000F"},
        {"ta": ["02-00-00-00-00-99", "0A-00-00-00-00-0F"]},
        {"ta": {"not": "02-00-00-00-00-01"}},
        {"ta": {"matches": "^0A:"}},
        {"key": "0A-00-00-00-00-0F"},
        {"seen_by": "0A-00-00-00-00-0F"},
        {"key": {"not": ["02-00-00-00-00-01"]}},
    ],
)
def test_an_address_may_be_written_in_any_usual_notation(when: dict[str, Any]) -> None:
    address = "0a:00:00:00:00:0f"
    given = [frame(seq=1, ta=address, key=address, seen_by=address)]
    given.append(frame(seq=2, ta="02:00:00:00:00:01", key="02:00:00:00:00:01", seen_by=""))

    out = run([{"strip": {"keys": ["seq"], "when": when}}], given)

    assert ["seq" in message for message in out] == [False, True]


def test_what_only_looks_like_an_address_is_met_as_it_was_written() -> None:
    name = "0A-00-00-00-00-0F"  # a sensor, and a network, may be called so

    out = run(
        [{"strip": {"keys": ["seq"], "when": {"ssid": name, "key": name}}}],
        [frame(seq=1, ssid=name, key=name), frame(seq=2, ssid="0a:00:00:00:00:0f", key=name)],
    )

    assert [message.get("seq") for message in out] == [None, 2]


@pytest.mark.parametrize(
    "entry",
    [
        {"strip": {"keys": ["kind"], "when": {"ta": {"exists": True}}}},
        {"strip": {"keys": ["kind"]}, "when": {"ta": {"exists": True}}},
    ],
    ids=["among the options", "beside the name"],
)
def test_a_condition_stands_in_either_place(entry: dict[str, Any]) -> None:
    out = run([entry], [frame(ta="02:00:00:00:00:01"), frame()])

    assert [message["kind"] for message in out] == [None, "DATA"]


def test_what_passes_by_keeps_its_place_and_is_counted_neither_in_nor_out(tmp_path: Path) -> None:
    frames = [frame(kind=kind, seq=n) for n, kind in enumerate(["DATA", "ACK", "DATA", "ACK"])]
    built = build([{"csv": {"directory": str(tmp_path)}, "when": {"kind": "ACK"}}], frames)

    out = built.feed(frames)
    built.finish()

    assert [message["seq"] for message in out] == [0, 1, 2, 3]
    stats = built.entries[0].stats
    assert (stats.received, stats.sent, stats.skipped, stats.dropped) == (2, 2, 2, 0)


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("{}", "4:5: 'when' must be a mapping such as {kind: BEACON} or {signal_dbm: {gte: -70}}"),
        ("null", "4:5: 'when' must be a mapping such as {kind: BEACON} or {signal_dbm: {gte: -70}}"),
        ("{kind: {}}", "4:12: 'kind' compares with nothing; give one of equals, in, not, matches, "
            "gt, gte, lt, lte, exists"),
        ("{kind: BEACN}", "4:12: no frame is of kind 'BEACN', did you mean 'BEACON'?"),
        ("{kind: [BEACON, 5]}", "4:12: 'kind' holds kind, never 5"),
        ("{kind: {equals: [BEACON]}}",
            "4:19: 'equals' takes one value; for one of several use 'in'"),
        ("{kind: {in: BEACON}}", "4:19: 'in' takes a list"),
        ("{kind: {euqals: BEACON}}", "4:19: unknown comparison 'euqals', did you mean 'equals'?"),
        ("{kind: {gt: 5}}", "4:19: 'kind' is no number (kind): 'gt' never holds"),
        ("{signal_dbm: {gt: x}}", "4:25: 'gt' compares with a number, not 'x'"),
        ("{signal_dbm: {gt: true}}", "4:25: 'gt' compares with a number, not True"),
        ("{signal_dbm: {gt: .nan}}", "4:25: 'gt' compares with a number, not nan"),
        ("{signal_dbm: '-70'}", "4:12: 'signal_dbm' holds integer, never '-70'"),
        ("{signal_dbm: true}", "4:12: 'signal_dbm' holds integer, never True"),
        ("{signal_dbm: {matches: 7}}", "4:25: 'signal_dbm' is no text (integer): 'matches' never holds"),
        ("{ssid: {matches: '(a'}}", "4:19: '(a' is no regular expression: missing ), "
            "unterminated subpattern at position 0"),
        ("{ssid: {matches: [a, b]}}", "4:19: 'matches' takes a regular expression; quote it"),
        ("{ssid: {matches: null}}", "4:19: 'matches' takes a regular expression; quote it"),
        ("{ssid: {exists: 1}}", "4:19: 'exists' is true or false"),
        ("{retry: 1}", "4:12: 'retry' holds boolean, never 1"),
        ("{ta: 62-d3-8f-42-d6}", "4:12: 'ta' is an address, such as 02:00:00:00:00:01, never "
            "'62-d3-8f-42-d6'; for a part of one: {matches: \"^02:00\"}"),
        ("{bssid: [02:00:00:00:00:01, '*']}", "4:12: 'bssid' is an address, such as "
            "02:00:00:00:00:01, never '*'; for a part of one: {matches: \"^02:00\"}"),
        ("{elements: 5}", "4:12: 'elements' holds integers; compare it with 'exists'"),
        ("{bssdi: a}", "4:12: warning: no built-in field is called 'bssdi', did you mean 'bssid'?"),
        ("{type: frme}",
            "4:12: warning: no type of messages is called 'frme', did you mean 'frame'?"),
        ("{type: {not: [presense, mine]}}",
            "4:12: warning: no type of messages is called 'presense', did you mean 'presence'?"),
    ],
)  # fmt: skip
def test_a_condition_that_can_not_be_meant_is_a_mistake(when: str, said: str) -> None:
    text = f"pipeline:\n- testing_messages\n- print:\n    when: {when}\n"

    (problem,) = config.parse(text, "c.yaml").problems

    assert str(problem) == f"c.yaml:{said}"


@pytest.mark.parametrize("field", ["ta_oui", "ta_randomized", "signal_dbm_avg", "heard_by", "mine"])
def test_a_key_that_a_stage_adds_is_no_misspelling(field: str) -> None:
    text = f"pipeline: [testing_messages, print: {{when: {{{field}: {{exists: true}}}}}}]"

    assert config.parse(text, "c.yaml").problems == []
