"""`stalk test`: what a test in YAML can give, expect and be told."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from datastalker import config as configuration
from datastalker import moment
from datastalker.catalog import PLUGIN
from datastalker.cli import main
from datastalker.commands.schema import schema
from datastalker.stage import REGISTRY, Sink, SourceStage
from datastalker.trial.run import run
from datastalker.yamlfile import Document

ROOT = Path(__file__).resolve().parents[2]
BEACON = "80000000ffffffffffff02000000000102000000000110000000000000000000640001000003616263"
RADIOTAP = "000009000200000002"

LOSSY = """\
from datastalker.pipeline import Message, Pipeline, Stage

@Pipeline.register_stage("counting")
class Counting(Stage):
    def __init__(self, stats):
        self.n = 0  # in no state: gone after a crash

    def handle(self, message):
        if message["seq"] == 7:
            raise ValueError("seven")
        self.n += 1
        self.state["n"] = self.state.get("n", 0) + 1
        self.stats.incr("counting/all")
        if message.get("lost"):
            return  # the message isn't given back: the commonest mistake
        message["n"], message["kept"] = self.n, self.state["n"]
        return message
"""

UNCUT = """\
plugins: [counting.py]
pipeline:
  - pcap: {path: x.pcap}
  - counting
  - csv: {directory: out, when: {kind: BEACON}}
  - presence: {absent_after_seconds: 60}
"""
CUT = """\
name: t
kafka: {partitions: 3}
plugins: [counting.py]
pipeline:
  - pcap: {path: x.pcap}
  - topic: t.in
  - dedupe
  - topic: t.deduped
  - counting
  - presence: {absent_after_seconds: 60}
  - topic: {frame: t.frames, presence: t.presence}
  - csv: {directory: out, when: {type: presence}}
  - elasticsearch: {hosts: ["http://localhost:9"]}
"""


@pytest.fixture(autouse=True)
def own_registry() -> Iterator[None]:
    yield
    for name in [n for n, cls in REGISTRY.items() if cls.__module__.startswith(PLUGIN)]:
        del REGISTRY[name]


@pytest.fixture
def stalk_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs steps against a pipeline: exit code, standard output, standard error."""
    (tmp_path / "counting.py").write_text(LOSSY)
    monkeypatch.chdir(tmp_path)

    def stalk(pipeline: str, steps: str, *arguments: str, more: str = "") -> tuple[int, str, str]:
        lines = "".join(f"      {line}\n" for line in steps.strip("\n").splitlines())
        Path("c.yaml").write_text(f"{pipeline}tests:\n  - name: it\n{more}    steps:\n{lines}")
        capsys.readouterr()
        try:
            main(["test", "-c", "c.yaml", *arguments])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return stalk


Run = Callable[..., tuple[int, str, str]]

PASSING = {
    "a message is a frame that was heard now": """
- given: {ta: "02:00:00:00:00:01", seq: 1}
- expect: [{type: frame, timestamp: now, sensor: test, n: 1}]
""",
    "keys that are not named may be anything, those named absent must be": """
- given: {ta: "02:00:00:00:00:0A", seq: 1, signal_dbm: -50}
- expect:
    - {type: frame, ta: "02:00:00:00:00:0A", signal_dbm: {gte: -60, lt: 0}, ssid: {exists: false}}
""",
    "values may be matched": """
- given: {ta: "02:00:00:00:00:01", seq: 1, ssid: guest-7, labels: {site: a, floor: b}}
- expect:
    - {type: frame, ssid: {matches: "^guest-[0-9]$"}, labels: {site: a}, seq: {in: [1, 2]}}
""",
    "a hex frame goes through the real parser, with a radio header or without": f"""
- hex: "{BEACON}"
- hex: {{frames: ["{RADIOTAP}{BEACON}"], sensor: porch}}
- expect:
    type: frame
    messages: [{{kind: BEACON, ssid: abc, sensor: test}}, {{kind: BEACON, sensor: porch}}]
- expect: {{sink: csv, count: 2}}
""",
    "what the parser drops is counted": """
- hex: "d0"
- expect: {messages: [], counters: {pcap/dropped/no_frame_control: 1}}
""",
    "time is the test's": """
- given: {ta: "02:00:00:00:00:01", seq: 1}
- advance: 59999ms
- expect: {type: presence, messages: [{event: NEW}]}
- advance: 1ms
- expect: [{type: presence, event: ABSENT, timestamp: start+60s, last_seen: start}]
""",
    "what is repeated is heard again and again": """
- given: {ta: "02:00:00:00:00:01", seq: 1}
  times: 5
  every: 59s
- expect: {type: frame, count: 5}
- expect: {type: presence, messages: [{event: NEW}]}
""",
    "in any order, with others between them": """
- given: [{ta: "02:00:00:00:00:01", seq: 1}, {ta: "02:00:00:00:00:02", seq: 2}]
- expect: {messages: [{seq: 2}, {seq: 1}], order: any, others: true}
""",
    "an exact match names all keys": """
- given: {type: other, seq: 1}
- expect: {match: exact, messages: [{type: other, timestamp: now, seq: 1, n: 1, kept: 1}]}
""",
    "a message that is lost is told of": """
- given: [{ta: "02:00:00:00:00:01", seq: 7}, {ta: "02:00:00:00:00:02", seq: 1}]
- expect:
    type: frame
    messages: [{seq: 1}]
    dead_letters: [{who: counting, reason: {matches: seven}, ids: [test-1]}]
    stages: {counting: {received: 2, errors: 1, sent: 1}}
    counters: {counting/all: 1}
""",
    "what was expected once is not looked at again": """
- given: {ta: "02:00:00:00:00:01", seq: 1}
- expect: {type: frame, count: 1}
- advance: 1s
- expect: []
""",
}


_ONE_PROCESS_ALONE = ("sink: csv", "type: other")  # another condition; a type that no topic carries


@pytest.mark.parametrize(
    ("pipeline", "steps"),
    [
        pytest.param(pipeline, steps, id=f"{how}: {name}")
        for how, pipeline in (("one process", UNCUT), ("over topics", CUT))
        for name, steps in PASSING.items()
        if pipeline is UNCUT or not any(part in steps for part in _ONE_PROCESS_ALONE)
    ],
)
def test_it_passes(stalk_test: Run, pipeline: str, steps: str) -> None:
    code, out, err = stalk_test(pipeline, steps)

    assert (code, err) == (0, ""), out


FAILING = {
    "c.yaml:11:9: step 2, expect: not what was expected at the end of the pipeline (type frame)": """
- given: {ta: "02:00:00:00:00:01", seq: 1}
- expect: [{type: frame, seq: 2}]
""",
    "expected 1 message at sink 'csv', nothing came": """
- given: {ta: "02:00:00:00:00:01", seq: 1}
- expect: {sink: csv, messages: [{}]}
""",
    "expected nothing at the end of the pipeline, 2 came": """
- given: {ta: "02:00:00:00:00:01", seq: 1}
- expect: nothing
""",
    "step 1, given: counting lost a message, which nothing expects (dead_letters)": """
- given: {ta: "02:00:00:00:00:01", seq: 7}
- expect: []
""",
    "- counting: received: 2": """
- given: {ta: "02:00:00:00:00:01", seq: 1}
- expect: {stages: {counting: {received: 2}}}
""",
    "it came, but not in that order": """
- given: [{ta: "02:00:00:00:00:01", seq: 1}, {ta: "02:00:00:00:00:02", seq: 2}]
- expect: [{type: frame, seq: 2}, {type: frame, seq: 1}]
""",
    "topic lost a message: key 'odd' holds the dict": """
- given: {ta: "02:00:00:00:00:01", seq: 1, odd: {a: {b: 1}}}
- expect: {type: frame, count: 1}
""",
    '- rank: "6"\n          + rank: 6\n': """
- given: {ta: "02:00:00:00:00:01", seq: 1, rank: 6}
- expect: [{type: frame, rank: "6"}]
""",
    "+ counting/al: 0, did you mean 'counting/all'?": """
- given: {ta: "02:00:00:00:00:01", seq: 1}
- expect: {counters: {counting/al: 1}}
""",
}


@pytest.mark.parametrize(("said", "steps"), [*FAILING.items()])
def test_it_fails_and_says_where_and_how(stalk_test: Run, said: str, steps: str) -> None:
    code, out, _ = stalk_test(UNCUT, steps)

    assert code == 1
    assert said in out
    assert "1 failed" in out


@pytest.mark.parametrize("pipeline", [UNCUT, CUT], ids=["one process", "over topics"])
@pytest.mark.parametrize("expect", ["{count: 2}", "[{seq: 3}, {seq: 4}]"])
def test_where_nothing_comes_the_stage_that_passed_on_none_is_named(
    stalk_test: Run, pipeline: str, expect: str
) -> None:
    steps = f"""
- given: {{ta: "02:00:00:00:00:01", seq: 1}}
- expect: {{type: frame, count: 1}}
- given:
    - {{ta: "02:00:00:00:00:01", seq: 3, lost: true}}
    - {{ta: "02:00:00:00:00:01", seq: 4, lost: true}}
- expect: {expect}
"""
    _, out, _ = stalk_test(pipeline, steps)

    assert (
        out.count("counting got 2 messages and passed on none; does handle return the message?")
        == 1
    )


def test_a_built_in_stage_that_passed_on_none_is_not_asked_for_its_code(stalk_test: Run) -> None:
    pipeline = "pipeline: [{pcap: {path: x.pcap}}, dedupe]\n"
    heard = '{ta: "02:00:00:00:00:01", seq: 1, sensor: '
    steps = f"""
- given: {heard}porch}}
- expect: {{count: 1}}
- given: {heard}attic}}
- expect: {{count: 1}}
"""
    _, out, _ = stalk_test(pipeline, steps)

    assert "dedupe got 1 message and passed on none\n" in out


def test_a_difference_shows_the_closest_message_and_no_escapes_from_the_air(
    stalk_test: Run,
) -> None:
    steps = r"""
- given:
    - {ta: "02:00:00:00:00:01", seq: 4}
    - {ta: "02:00:00:00:00:01", seq: 5, ssid: "a\e[31m"}
- expect: {type: frame, messages: [{seq: 4}, {seq: 5, ssid: a, timestamp: start+1s}]}
"""
    _, out, _ = stalk_test(UNCUT, steps)

    assert "- expected  {timestamp: start+1s, seq: 5, ssid: a}" in out
    closest = re.search(r"closest .*seq: 5.*\n((?: +[-+] .*\n)+)", out)
    assert closest is not None
    assert [line.strip() for line in closest[1].splitlines()] == [
        "- ssid: a",
        r'+ ssid: "a\x1b[31m"',
        "- timestamp: start+1s",
        "+ timestamp: start",
    ]
    assert "\x1b" not in out


@pytest.mark.parametrize("pipeline", [UNCUT, CUT], ids=["one process", "over topics"])
def test_a_crash_keeps_what_is_in_the_state_and_loses_everything_else(
    stalk_test: Run, pipeline: str
) -> None:
    steps = """
- given: {ta: "02:00:00:00:00:01", seq: 1}
- crash
- given: {ta: "02:00:00:00:00:01", seq: 2}
- expect: {type: frame, messages: [{seq: 1, n: 1, kept: 1}, {seq: 2, n: %s, kept: 2}]}
- advance: 59s
- crash
- advance: 1s
- expect: [{type: presence, event: ABSENT, timestamp: start+60s}]
"""
    assert stalk_test(pipeline, steps.replace("%s", "{gte: 1}"))[0] == 0
    code, out, _ = stalk_test(pipeline, steps.replace("%s", "2"))

    assert code == 1
    assert "    - n: 2\n          + n: 1\n" in out
    assert "with the crash after all was stored" in out


def test_what_was_in_flight_in_a_crash_is_done_again_and_read_once(stalk_test: Run) -> None:
    steps = """
- given: [{ta: "02:00:00:00:00:01", seq: 1}, {ta: "02:00:00:00:00:02", seq: 1}]
- crash: in_flight
- crash: in_flight
- expect: {type: frame, count: 2, counters: {counting/all: 2}}
- expect: {sink: csv, messages: [{event: NEW}, {event: NEW}]}
- expect: {topic: t.deduped, count: 2}
"""
    code, out, _ = stalk_test(CUT, steps)
    assert code == 0, out

    beacons = f'- hex: "{BEACON}"\n- crash: in_flight\n- expect: {{sink: csv, count: 1}}'
    assert stalk_test(UNCUT, beacons)[0] == 0


def test_a_test_may_begin_at_a_stage_or_a_topic_or_take_some_stages_alone(
    stalk_test: Run,
) -> None:
    twice = """
- given: [{ta: "02:00:00:00:00:01", seq: 1}, {ta: "02:00:00:00:00:01", seq: 1}]
"""
    for where, count in (
        ("from: dedupe", 1),
        ("from: t.in", 1),
        ("from: t.deduped", 2),
        ("from: presence", 2),
        ("from: t.frames", 2),
        ("stages: [counting]", 2),
        ("stages: [dedupe, elasticsearch]", 1),
    ):
        steps = twice + f"- expect: {{type: frame, count: {count}}}\n"
        code, out, _ = stalk_test(CUT, steps, more=f"    {where}\n")
        assert code == 0, where + out


def test_a_capture_says_when_the_test_begins(stalk_test: Run, tmp_path: Path) -> None:
    main_args = ["simulate", "--out", str(tmp_path / "captures"), "--minutes", "1"]
    with pytest.raises(SystemExit):
        main(main_args)
    file = sorted((tmp_path / "captures").rglob("*.pcap"))[0].relative_to(tmp_path)
    steps = f"""
- capture: {file}
- expect: {{type: frame, count: {{gte: 100}}}}
- advance: 1h
- expect: {{type: presence, messages: [{{event: ABSENT, last_seen: {{lte: start+120s}}}}], others: true}}
"""
    code, out, _ = stalk_test(UNCUT.replace("  - counting\n", ""), steps)

    assert code == 0, out


def test_nothing_is_written_or_sent(stalk_test: Run, tmp_path: Path) -> None:
    pipeline = UNCUT.replace("  - counting", "  - print") + "log_file: log.txt\n"
    code, out, _ = stalk_test(pipeline, f'- hex: "{BEACON}"\n- expect: {{sink: print, count: 1}}')

    assert code == 0
    assert out.splitlines()[0] == "pass  it"
    there = {path.name for path in tmp_path.iterdir()}
    assert there - {"__pycache__"} == {"c.yaml", "counting.py"}  # of the plug-in: Python's


def test_tests_may_stand_in_a_file_of_their_own_and_be_chosen_by_name(
    stalk_test: Run, tmp_path: Path
) -> None:
    steps = '- given: {ta: "02:00:00:00:00:01", seq: 1}\n- expect: {type: frame, count: 1}'
    other = "\n".join(f"    {line}" for line in steps.replace("count: 1", "count: 2").splitlines())
    (tmp_path / "more.yaml").write_text(f"- name: two of them\n  steps:\n{other}\n")
    three = other.replace("count: 2", "count: 3")
    (tmp_path / "third.yaml").write_text(f"- name: two of them\n  steps:\n{three}\n")

    code, out, _ = stalk_test(UNCUT, steps, "-t", "more.yaml", "--junit", "junit.xml")
    assert (code, "more.yaml:4:7: step 2, expect: 1 message at" in out) == (1, True)
    suite = ElementTree.parse("junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")

    stalk_test(UNCUT, steps, "-t", "more.yaml", "-t", "third.yaml", "--junit", "junit.xml")
    told = [failure.text or "" for failure in ElementTree.parse("junit.xml").iter("failure")]
    assert [text.split(":")[0] for text in told] == ["more.yaml", "third.yaml"]

    code, out, _ = stalk_test(UNCUT, steps, "-t", "more.yaml", "--only", "it")
    assert (code, out.splitlines()[0]) == (0, "pass  it")
    code, _, err = stalk_test(UNCUT, steps, "--only", "itt")
    assert (code, "did you mean 'it'?" in err) == (2, True)


WRONG = """\
- name: it
  stage: [dedupe]
  steps:
    - gven: {ta: x}
    - given: {kind: BEACN, sgnal_dbm: 1, ta: 5}
    - advance: 61 secs
    - crash: later
    - hex: zz
    - capture: none.pcap
    - expect: {event: NEW}
    - expect: {sink: cvs, ordr: any, messages: [{ssid: {mtches: a}}]}
    - expect: {stages: {dedup: {sent: 1}}}
    - advance: 1s
      times: 2
- {name: it, steps: [], from: csv}
"""


def test_a_variable_that_is_not_set_is_one_mistake() -> None:
    text = (
        "pipeline: [{pcap: {path: x}}, csv]\ntests:\n- name: ${NO}\n  steps: [expect: {count: 0}]\n"
    )
    config = configuration.parse(text, "c.yaml", {})

    said = "environment variable NO is not set; set it, or give a default: ${NO:-value}"
    assert [str(problem) for problem in config.problems] == [f"c.yaml:3:9: {said}"]
    assert config.test_problems == []


def test_mistakes_are_shown_with_line_and_remedy_and_keep_nothing_from_running(
    tmp_path: Path,
) -> None:
    pipeline = "pipeline: [{pcap: {path: x}}, dedupe, {csv: {directory: out}}]\n"
    config = configuration.parse(pipeline + "tests:\n" + WRONG, "c.yaml")

    assert config.problems == []
    said = [str(problem).removeprefix("c.yaml:") for problem in config.test_problems]
    assert said == [
        "4:3: unknown option 'stage', did you mean 'stages'?",
        "6:7: unknown step 'gven', did you mean 'given'?",
        "7:15: no frame is of kind 'BEACN', did you mean 'BEACON'?",
        "7:28: warning: no field is called 'sgnal_dbm', did you mean 'signal_dbm'?",
        "7:42: 'ta' holds address, never 5; put quotes around text",
        "8:7: 'advance' takes a duration such as 61s, 250ms or 1h30m, not '61 secs'",
        "9:7: 'crash' stands alone, or takes idle or in_flight, not 'later'",
        "10:7: 'hex' takes a frame's bytes as hex digits, two a byte; quote them",
        f"11:7: 'capture' takes a capture file, and there is none at {Path.cwd()}/none.pcap",
        "12:16: 'event' belongs to a message; messages are a list: expect: [{event: …}]",
        "13:16: there is no sink 'cvs' here, did you mean 'csv'?",
        "13:27: unknown option 'ordr', did you mean 'order'?",
        "13:57: unknown comparison 'mtches', did you mean 'matches'?",
        "14:25: there is no stage 'dedup' here, did you mean 'dedupe'?",
        "15:7: 'times' and 'every' go with given and hex, not with advance",
        "17:4: another test is called so already",
        "17:14: there is no step; a step is one of: given, hex, capture, advance, crash, expect",
        "17:25: 'csv' is a sink: begin at a stage or a topic",
    ]
    configuration.build(config)


@pytest.mark.parametrize(
    ("text", "micros"),
    [("61s", 61_000_000), ("1h30m", 5_400_000_000), ("250ms", 250_000), (2, 2_000_000)],
)
def test_durations(text: str | int, micros: int) -> None:
    assert moment.duration(text) == micros


@pytest.mark.parametrize("text", ["", "61", "s", "-5s", "1s2", True, None, "9999999999d"])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="takes a duration"):
        moment.duration(text)


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in [*sorted((ROOT / "examples").glob("*.yaml")), ROOT / "config.template.yml"]
        if "\ntests:" in path.read_text(encoding="utf-8")
    ],
    ids=lambda path: path.name,
)
def test_the_examples_pass_their_tests(path: Path) -> None:
    config = configuration.load(str(path))

    assert config.test_problems == []
    results = [run(config, case) for case in config.cases]
    assert [result.failure for result in results if result.failure is not None] == []


def test_editors_know_what_a_test_may_hold() -> None:
    known = {**schema(), "required": []}
    for name in ("home", "home_alarm", "demo"):
        document = Document((ROOT / f"examples/{name}.yaml").read_text(encoding="utf-8"), name)
        jsonschema.validate({"tests": document.value["tests"]}, known)

    for wrong in ({"gven": {}}, {"expect": {"ordr": "any"}}, {"crash": "later"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"tests": [{"name": "x", "steps": [wrong]}]}, known)


def test_what_an_agent_loses_is_told_of_too(stalk_test: Run) -> None:
    pipeline = CUT.replace("  - topic: t.in\n", "  - counting\n  - topic: t.in\n", 1)
    steps = """
- given: [{ta: "02:00:00:00:00:01", seq: 7}, {ta: "02:00:00:00:00:02", seq: 1, at: {a: 1}}]
- expect: {type: frame, messages: []%s}
"""
    letters = ", dead_letters: [{who: counting, ids: [test-1]}, {who: topic, ids: [test-2]}]"
    assert stalk_test(pipeline, steps % letters)[0] == 0
    assert "step 1, given: counting lost a message" in stalk_test(pipeline, steps % "")[1]


TUNING = """\
from datastalker.pipeline import Message, Pipeline, Stage

@Pipeline.register_stage("tuning")
class Tuning(Stage):
    def handle(self, message):
        if message["kind"] == "AUTH":
            self.up(Message(type="tune", freq_mhz=message["freq_mhz"], seconds=2))
        return message
"""


def test_what_a_stage_asks_of_the_source_is_expected_too(stalk_test: Run, tmp_path: Path) -> None:
    (tmp_path / "tuning.py").write_text(TUNING)
    uncut = UNCUT.replace("counting", "tuning")
    agent = CUT.replace("counting", "tuning").replace(
        "  - topic: t.in\n", "  - tuning\n  - topic: t.in\n"
    )
    steps = """
- given: {kind: AUTH, ta: "02:00:00:00:00:01", seq: 1, freq_mhz: 2437}
- given: {kind: ACK, ra: "02:00:00:00:00:01"}
- expect: {up: [{type: tune, freq_mhz: %s, seconds: 2}]}
- expect: {type: frame, count: 2}
- crash
- given: {kind: ACK, ra: "02:00:00:00:00:02"}
- expect: {up: []}
"""
    for pipeline in (uncut, agent):
        code, out, err = stalk_test(pipeline, steps % 2437)
        assert (code, err) == (0, ""), out
        code, out, _ = stalk_test(pipeline, steps % 2412)
        assert code == 1
        assert "not what was expected at the source" in out
        assert "- freq_mhz: 2412\n" in out
    below = CUT.replace("counting", "tuning")  # nothing goes up through a topic
    assert "at the source, nothing came" in stalk_test(below, steps % 2437)[1]


def test_a_wrong_clock_moves_no_time(stalk_test: Run) -> None:
    steps = """
- given: {ta: "02:00:00:00:00:01", seq: 1}
- given: {ta: "02:00:00:00:00:02", seq: 2, timestamp: now+1h, clock_wrong: true}
- expect: {type: presence, messages: [{event: NEW, timestamp: now}]}
"""
    code, out, _ = stalk_test(CUT, steps)

    assert code == 0, out


def test_every_example_with_stages_carries_tests() -> None:
    configs = {
        path.name: configuration.load(str(path))
        for path in [*(ROOT / "examples").glob("*.yaml"), ROOT / "config.template.yml"]
    }
    with_stages = {
        name
        for name, config in configs.items()
        if any(s.cls and not issubclass(s.cls, (SourceStage, Sink)) for s in config.steps)
    }

    assert with_stages >= {"home.yaml", "home_alarm.yaml", "demo.yaml", "config.template.yml"}
    assert {name for name in with_stages if not configs[name].cases} == set()


def test_a_ci_can_read_whatever_the_air_sent(stalk_test: Run) -> None:
    steps = r"""
- given: {ta: "02:00:00:00:00:01", seq: 1, ssid: "\uFFFF\uFFFE\e]]>\0</failure>"}
- expect: [{type: frame, ssid: a}]
"""
    assert stalk_test(UNCUT, steps, "--junit", "junit.xml")[0] == 1

    (failure,) = ElementTree.parse("junit.xml").iter("failure")
    assert r"\u{ffff}\u{fffe}\x1b]]>\x00</failure>" in str(failure.text)
