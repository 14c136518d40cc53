"""Every mistake of a configuration at once, with its place and the remedy."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from datastalker import config
from datastalker import testing as _  # noqa: F401 - registers the source `testing_messages`
from datastalker.catalog import BUILTIN
from datastalker.errors import ConfigError
from datastalker.stage import REGISTRY
from datastalker.testing import build, frame, run

ALARM = Path(__file__).parents[2] / "examples" / "home_alarm.py"
TEN = """\
name: 5
plugins: [missing.py]
sate_max_entries: 100
labels: {site: [a]}
pipeline:
- dedupe: {window_secs: 3}
- beacon_filter: {min_time_between_seconds: "120"}
- testing_messages
- prnt
- strip:
- limit: {messages: 0}
- oui:
  fields: [ta]
- print: {format: yaml}
  when: {kind: BEACN}
- dedupe: {mode: "${MODE}"}
"""


def problems(text: str, file: str = "c.yaml") -> list[str]:
    try:
        return [str(problem) for problem in config.parse(text, file, {}).problems]
    except ConfigError as error:
        return [str(problem) for problem in error.problems]


def test_all_mistakes_of_a_file_are_shown_at_once_in_the_order_of_its_lines(tmp_path: Path) -> None:
    assert problems(TEN, f"{tmp_path}/c.yaml") == [f"{tmp_path}/c.yaml:{line}" for line in (
        "1:1: option 'name' must be text, not 5",
        f"2:11: plug-in file {tmp_path}/missing.py does not exist",
        "3:1: unknown option 'sate_max_entries', did you mean 'state_max_entries'?",
        "4:10: option 'labels' must be a mapping to text or a whole number or a number or true or "
        "false, not a list",
        "6:12: dedupe: unknown option 'window_secs', did you mean 'window_seconds'?",
        "7:19: beacon_filter: option 'min_time_between_seconds' must be a number, not the text "
        "'120'",
        "8:3: 'testing_messages' is a source and can only be the first entry; move it up, before "
        "'dedupe'",
        "9:3: unknown stage 'prnt', did you mean 'print'?",
        "10:3: strip: give 'keys', 'keys_startswith' or both",
        "11:11: limit: option 'messages' must be at least 1, not 0",
        "12:3: one stage an entry, not 2; put a '- ' before each, or indent the others further, if "
        "they are options of 'oui'",
        "14:11: print: option 'format' must be one of text, json, not the text 'yaml'",
        "15:10: no frame is of kind 'BEACN', did you mean 'BEACON'?",
        "16:18: environment variable MODE is not set; set it, or give a default: ${MODE:-value}",
    )]  # fmt: skip


NO_LIST = (
    "1:1: 'pipeline' must be a list of stages; the first entry is a source: pcap, wifi_sniffer or "
    "a topic"
)
NO_MAPPING = "1:1: a configuration is a mapping with a 'pipeline:' list in it"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", [NO_MAPPING]),
        ("# nothing\n", [NO_MAPPING]),
        ("- testing_messages\n", [NO_MAPPING]),
        ("pipeline\n", [NO_MAPPING]),
        ("name: a\n",
            ["1:1: 'pipeline' is missing; the first entry is a source: pcap, wifi_sniffer or a topic"]),
        ("pipeline:\n", [NO_LIST]),
        ("pipeline: []\n", [NO_LIST]),
        ("pipeline: {print: }\n", [
            "1:1: 'pipeline' must be a list of stages, with '- ' before each; the first entry is a"]),
        ("pipeline: [print]\n",
            ["1:12: 'print' is no source; the first entry must be one: pcap, wifi_sniffer or a topic"]),
        ("pipeline: [oui, print, testing_messages, testing_messages]\n", [
            "1:24: 'testing_messages' is a source and can only be the first entry; move it up, before "
            "'oui'",
            "1:42: 'testing_messages' is a source and can only be the first entry"]),
        ("pipeline: [dedup: {when: {kind: DATA}}]\n",
            ["1:12: unknown stage 'dedup', did you mean 'dedupe'?"]),
        ("pcap: {path: x}\ncsv: {}\nprint:\n",
            ["1:1: 'pcap' and 'csv' and 'print' are stages and stand outside of the list; put each under "
            "'pipeline:', indented and with a dash: '  - pcap'"]),
        ("pipeline: [testing_messages]\ncsv: {}\n",
            ["2:1: 'csv' is a stage and stands outside of the list; put it under 'pipeline:', indented"]),
        ("pipelines: [testing_messages, prnt]\n", [
            "1:1: unknown option 'pipelines', did you mean 'pipeline'?",
            "1:31: unknown stage 'prnt', did you mean 'print'?"]),
        ("pipeline: [testing_messages, 5]\n",
            ["1:30: an entry is a stage's name, or a mapping: its name to its options"]),
        ("pipeline: [testing_messages, [print]]\n",
            ["1:30: an entry is a stage's name, or a mapping: its name to its options"]),
        ("pipeline: [testing_messages, print: text]\n",
            ["1:30: print: its options must be a mapping, such as {option: value}"]),
        ("pipeline: [testing_messages, when: {kind: DATA}]\n",
            ["1:30: 'when' stands alone; it goes with a stage's name in one entry"]),
        ("pipeline: [testing_messages, {print: , oui: {}}]\n",
            ["1:30: one stage an entry, not 2; put a '- ' before each, or indent the others "
            "further, if they are options of 'print'"]),
        ("pipeline: [testing_messages, {print: {when: {kind: DATA}}, when: {kind: ACK}}]\n",
            ["1:60: 'when' is given twice: among the options, and here"]),
        ("pipeline: [testing_messages: {when: {kind: DATA}}]\n",
            ["1:12: 'testing_messages' is a source: 'when' has nothing to look at yet"]),
        ("pipeline: [topic: a]\n", ["1:12: nothing stands below the topic; put stages and sinks there"]),
        ("pipeline: [[], print, testing_messages]\n", [
            "1:12: an entry is a stage's name, or a mapping: its name to its options",
            "1:23: 'testing_messages' is a source and can only be the first entry"]),
        ("pipeline: [testing_messages, topic, print]\n",
            ["1:30: topic: takes a topic's name, or a mapping of message type to topic"]),
        ("pipeline: [testing_messages, {topic: a, when: {kind: DATA}}, print]\n",
            ["1:41: a topic carries all messages: 'when' goes to a stage"]),
        ("pipeline: [testing_messages, \"\\e[31mx\"]\n",
            ["1:30: unknown stage '\\x1b[31mx' (there is: pcap"]),
        ("name: ${NO}\npipeline: [testing_messages]\n",
            ["1:7: environment variable NO is not set; set it, or give a default: ${NO:-value}"]),
        ("log_level: loud\npipeline: [testing_messages]\n",
            ["1:1: option 'log_level' must be one of DEBUG, INFO, WARNING, ERROR, not 'loud'"]),
        ("pipeline: &a [testing_messages, dedupe: &b {mode: \"${NO}\"}, dedupe: *b]\n", [
            "1:51: environment variable NO is not set; set it, or give a default: ${NO:-value}"]),
    ],
)  # fmt: skip
def test_a_mistake_is_shown_where_it_stands_with_the_remedy(text: str, said: list[str]) -> None:
    found = problems(text)

    assert [f[: len("c.yaml:" + s)] for f, s in zip_longest(found, said, fillvalue="")] == [
        f"c.yaml:{s}" for s in said
    ]


@pytest.mark.parametrize("entry", ["print", "print:", "print: ~", "print: {}", '"print"'])
def test_a_stage_without_options_may_be_bare_or_have_a_null_body(entry: str) -> None:
    checked = config.parse(f"pipeline:\n- testing_messages\n- {entry}\n", "c.yaml")

    assert (checked.problems, [s.name for s in checked.steps]) == (
        [],
        ["testing_messages", "print"],
    )


def test_a_stage_may_stand_twice_and_is_told_apart() -> None:
    built = build([{"strip": {"keys": ["a"]}}] * 2)

    assert [entry.stats.name for entry in built.entries] == ["strip", "strip#2"]


def test_a_topic_in_an_embedded_run_hands_on_what_it_would_carry() -> None:
    out = run([{"topic": {"presence": "x"}}], [frame()])

    assert out == []


def test_labels_come_as_text() -> None:
    built = build(["print"], labels={"floor": 2, "inside": True})

    assert built.entries[0].component.labels == {"floor": "2", "inside": "true"}  # type: ignore[union-attr]


def plugin(folder: Path, text: str, name: str = "mine.py", **stages: Any) -> list[str]:
    """What `stalk check` says of a configuration with this plug-in and a stage `mine`."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    document = f"plugins: [{name}]\npipeline: [testing_messages, mine]\n"
    checked = config.parse(document, f"{folder}/c.yaml")
    try:
        if not checked.errors:
            config.build(checked)
    except ConfigError as error:
        checked.problems += error.problems
    return [str(problem).removeprefix(f"{folder}/c.yaml:") for problem in checked.problems]


STAGE = """\
from datastalker.pipeline import *
@Pipeline.register_stage("mine")
class Mine(Stage):
    "Mine."
    def handle(self, message): return message
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def f(:\n", "SyntaxError: invalid syntax (mine.py, line 1)"),
        ("x = 1\nimport no_such_module\n",
            "ModuleNotFoundError: No module named 'no_such_module' (line 2)"),
        ("raise SystemExit(0)\n", "SystemExit: 0 (line 1)"),
        ("raise ImportError('\\x1b[31mred')\n", "ImportError: \\x1b[31mred (line 1)"),
        (STAGE.replace('"mine"', '"dedupe"'),
            "ValueError: 'dedupe' is a built-in stage; choose another name (line 2)"),
        (STAGE.replace('"mine"', '"topic"'),
            "ValueError: 'topic' can't be a stage's name: a configuration needs it (line 2)"),
        (STAGE.replace('("mine")', ""),
            "TypeError: write @Pipeline.register_stage('name'), with the stage's name (line 2)"),
        (STAGE.replace("(Stage)", ""),
            "TypeError: 'mine': a stage derives from Stage, SourceStage or Sink (line 2)"),
    ],
)  # fmt: skip
def test_a_plug_in_that_fails_is_named_with_its_line(tmp_path: Path, code: str, said: str) -> None:
    found = plugin(tmp_path, code)

    assert found == [f"1:11: plug-in 'mine.py' can't be imported: {said}"]


def test_a_stage_that_is_misspelt_is_told_beside_a_plug_in_that_fails(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("1 / 0\n")
    text = "plugins: [mine.py]\npipeline: [testing_messages, mine, prnt]\n"

    assert problems(text, f"{tmp_path}/c.yaml")[1:] == [
        f"{tmp_path}/c.yaml:2:36: unknown stage 'prnt', did you mean 'print'?"
    ]


@pytest.mark.parametrize(
    ("base", "method", "said"),
    [
        ("Stage", "handel(self, message): return message", "'handle'; is 'handel' meant?"),
        (
            "Stage",
            "handlebulk(self, messages): return messages",
            "'handle'; is 'handlebulk' meant?",
        ),
        ("Stage", "tick(self, now): return ()", "'handle'"),
        ("Sink", "wirte(self, batch): ...", "'write'; is 'wirte' meant?"),
    ],
)
def test_a_class_without_its_method_is_a_mistake(
    tmp_path: Path, base: str, method: str, said: str
) -> None:
    head = STAGE.replace("(Stage)", f"({base})").partition("    def")[0]

    assert plugin(tmp_path, f"{head}    def {method}\n") == [f"2:30: mine: Mine has no {said}"]


def test_a_method_that_the_constructor_chooses_is_there(tmp_path: Path) -> None:
    body = "    def __init__(self, stats): self.handle = lambda message: message\n"

    assert plugin(tmp_path, STAGE.partition("    def")[0] + body) == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("    def __init__(self, stats): 1 / 0",
            "mine: can't be built: ZeroDivisionError: division by zero (mine.py, line 6)"),
        ("    def __init__(self, stats): raise ValueError('too small')", "mine: too small"),
        ("    @classmethod\n    def from_config(cls, config, stats): return {}",
            "mine: from_config gave a dict, not a stage"),
        ("    @classmethod\n    def check_config(cls, config): 1 / 0",
            "mine: its check_config failed: ZeroDivisionError: division by zero"),
        ("    @classmethod\n    def check_config(cls, config): yield '', 'not today'",
            "mine: not today"),
        ("    def __init__(self, stats, needed): ...", "mine: option 'needed' is missing: anything"),
    ],
)  # fmt: skip
def test_a_stage_that_can_not_be_built_is_a_mistake_at_its_place(
    tmp_path: Path, code: str, said: str
) -> None:
    assert plugin(tmp_path, STAGE + code + "\n") == [f"2:30: {said}"]


def twins(folder: Path, other: str) -> list[str]:
    """Two plug-ins of the same file name, the second with a stage `other`."""
    for name, stage in (("a", "mine"), ("b", other)):
        (folder / name).mkdir()
        (folder / name / "same.py").write_text(STAGE.replace('"mine"', f'"{stage}"'))
    text = f"plugins: [a/same.py, b/same.py]\npipeline: [testing_messages, mine, {other}]\n"
    return problems(text, f"{folder}/c.yaml")


def test_two_plug_ins_may_have_the_same_file_name(tmp_path: Path) -> None:
    assert twins(tmp_path, "other") == []


def test_two_plug_ins_that_bring_the_same_name_are_a_mistake(tmp_path: Path) -> None:
    (said,) = twins(tmp_path, "mine")

    assert f"{tmp_path}/c.yaml:1:22: plug-in 'b/same.py' can't be imported" in said
    assert "ValueError: a stage 'mine' is registered already, by datastalker_plugin_same" in said


def test_a_plug_in_of_one_configuration_is_unknown_to_the_next(tmp_path: Path) -> None:
    plugin(tmp_path, STAGE)

    (said,) = problems("pipeline: [testing_messages, mine]\n")

    assert said.startswith("c.yaml:1:30: unknown stage 'mine'")


def test_a_plug_in_may_be_loaded_again_and_then_is_the_new_one(tmp_path: Path) -> None:
    plugin(tmp_path, STAGE)
    before = REGISTRY["mine"]

    assert plugin(tmp_path, STAGE) == []
    assert REGISTRY["mine"] is not before


def test_a_file_named_without_its_suffix_is_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "plug.py").write_text("")

    found = problems("plugins: [plug]\npipeline: [testing_messages]\n", f"{tmp_path}/c.yaml")

    assert found == [
        f"{tmp_path}/c.yaml:1:11: plug-in 'plug' can't be imported: ModuleNotFoundError: No module "
        "named 'plug'; did you mean the file 'plug.py'?"
    ]


def test_the_catalog_names_modules_that_register_what_it_says() -> None:
    import importlib.util

    assert all(
        importlib.util.find_spec(module) for name, module in BUILTIN.items() if name != "pcap"
    )


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("oui: {fields: [ra, tb]}", ["1:54: warning: oui: no field is called 'tb', did you mean 'ta'?"]),
        ("presence: {key: bssdi}",
            ["1:46: warning: presence: no field is called 'bssdi', did you mean 'bssid'?"]),
        ("moving_average: {field: signal_db, key: [ta, senser]}", [
            "1:52: warning: moving_average: no field is called 'signal_db', did you mean 'signal_dbm'?",
            "1:80: warning: moving_average: no field is called 'senser', did you mean 'sensor'?"]),
        ("csv: {columns: [time, extra, type, my_own, ta_oiu]}",
            ["1:78: warning: csv: no field is called 'ta_oiu', did you mean 'ta_oui'?"]),
        ("csv: {columns: [ta_oui, ta_vendor, building]}", []),
        ("strip: {keys: [bssdi]}", []),
    ],
)  # fmt: skip
def test_what_looks_like_a_typo_in_the_name_of_a_field_is_a_warning(
    entry: str, said: list[str]
) -> None:
    found = problems(f"pipeline: [testing_messages, oui, {entry}]\n")

    assert found == [f"c.yaml:{s}" for s in said]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("residents: [02:00:00:00:00:0A, 62-d3-8f-42-d6]", "2:84: home_alarm: option 'residents' must "
            "be a list of addresses such as 02:00:00:00:00:01, not the text '62-d3-8f-42-d6'"),
        ("residents: []", "2:53: home_alarm: nobody would ever disarm it; list the addresses of their "
            "phones"),
        ("residents: [02:00:00:00:00:0A], near_dbm: 65",
            "2:85: home_alarm: option 'near_dbm' must be at most 0, not 65"),
    ],
)  # fmt: skip
def test_what_the_home_alarm_would_take_for_nobody_is_a_mistake(options: str, said: str) -> None:
    found = problems(
        f"plugins: ['{ALARM}']\npipeline: [testing_messages, presence, home_alarm: {{{options}}}]\n"
    )

    assert found == [f"c.yaml:{said}"]


def test_a_column_that_stands_twice_is_named() -> None:
    (said,) = problems("pipeline: [testing_messages, csv: {columns: [ta, ra, ta]}]\n")

    assert said.endswith(": csv: column 'ta' stands twice")


def test_stages_that_lack_a_topic_below_them_are_told_of_once_and_the_remedy_helps() -> None:
    def written(cut: str = "") -> list[str]:
        return problems(
            "pipeline:\n  - testing_messages\n  - topic: x\n  - dedupe\n  - presence\n"
            f"{cut}  - csv: {{directory: out}}\n"
        )

    (found,) = written()
    assert found.startswith("c.yaml:4:5: 'dedupe' and 'presence' stand below the last topic, where")
    assert "put a topic below 'presence'" in found
    assert written(f"  {found[found.index('- topic:') :]}\n") == []


def test_types_that_a_topic_does_not_carry_are_told_of_once() -> None:
    def written(topic: str) -> list[str]:
        return problems(
            f"plugins: ['{ALARM}']\n"
            "pipeline: [testing_messages, presence, home_alarm: {residents: [02-00-00-00-00-0A]}, "
            f"topic: {topic}, csv]\n"
        )

    (found,) = written("a")
    assert found.endswith(
        "'presence' makes messages of type 'presence' and 'home_alarm' makes messages of type 'alert', "
        "and no topic here carries them; write topic: {frame: a, presence: NAME, alert: NAME}"
    )
    (found,) = written("{frame: a, presense: b, alert: c}")
    assert found.endswith("write topic: {frame: a, alert: c, presence: b}")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (
            "csv, topic: a",
            "1:30: 'csv' is a sink and stands above a topic: nobody would run it; move",
        ),
        (
            "topic: a, csv, topic: b, csv",
            "1:40: 'csv' is a sink: it stands below the last topic, wh",
        ),
    ],
)
def test_a_sink_above_a_topic(entries: str, said: str) -> None:
    assert [found[: len("c.yaml:" + said)] for found in problems(
        f"pipeline: [testing_messages, {entries}]\n"
    )] == [f"c.yaml:{said}"]  # fmt: skip


def test_stages_that_keep_their_state_by_another_key_are_told_of_once() -> None:
    (found,) = problems(
        "topics: {a: {key: ssid}}\n"
        "pipeline: [testing_messages, topic: a, dedupe, moving_average, topic: b, csv]\n"
    )

    assert "2:40: 'dedupe' and 'moving_average' keep their state by 'ta', but topic 'a'" in found


@pytest.mark.parametrize(
    ("stage", "key", "said"),
    [
        ("presence: {key: ssid}", "ssid", "'presence' keeps its state by 'ssid', but topic 'frames'"),
        ("dedupe", "ta", "'dedupe' keeps its state by 'ta', but topic 'frames'"),
        ("moving_average: {key: [bssid, sensor]}", "bssid", "'moving_average' keeps its state by"),
    ],
)  # fmt: skip
def test_state_by_another_field_than_the_topics_key_is_refused_and_the_remedy_helps(
    stage: str, key: str, said: str
) -> None:
    frames = "kind" if key == "ta" else "ta"

    def written(cut: str = "", topics: str = "") -> list[str]:
        return problems(
            f"name: home\ntopics: {{frames: {{key: {frames}}}{topics}}}\npipeline:\n"
            "  - pcap: {path: x}\n  - topic: frames\n  - oui\n"
            f"{cut}  - {stage}\n"
            "  - topic: {frame: out, presence: events}\n  - csv: {directory: out}\n"
        )

    (found,) = written()
    assert found.startswith(f"c.yaml:7:5: {said}")
    assert f"partitioned by '{frames}', so no worker sees all of one '{key}'; put a topic" in found
    remedy = f"- topic: NAME, and topics: {{NAME: {{key: {key}}}}}"
    assert found.endswith(f"before it, keyed so: {remedy}")
    assert written("  - topic: NAME\n", f", NAME: {{key: {key}}}") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pipeline: [testing_messages, topic: {frame: a, presense: p}, csv]",
            "1:48: warning: no type of messages is called 'presense', did you mean 'presence'?"),
        ("pipeline: [testing_messages, topic: {frame: a, sensors.mine: p}, csv]", None),
        ("topics: {x: {key: tta}}\npipeline: [pcap: {path: '-'}, topic: x, csv]",
            "1:14: warning: all frames would go to one partition: no field of them is called 'tta', did "
                "you mean 'ta'?"),
        ("topics: {x: {key: room}}\npipeline: [pcap: {path: '-'}, topic: x, csv]",
            "1:14: warning: all frames would go to one partition: no field of them is called 'room'"),
        ("topics: {x: {key: room}}\npipeline: [testing_messages, topic: x, csv]", None),
        ("topics: {x: {key: ta_oui}}\npipeline: [pcap: {path: '-'}, oui, topic: x, csv]", None),
        ("topics: {x: {key: room}}\npipeline: [topic: x, csv]", None),
        ("topics: {y: {key: ssid}}\npipeline: [testing_messages, topic: x, csv]",
            "1:10: warning: the pipeline has no topic 'y' (there is: x, datastalker.sensors, "),
        ("topics: {wifi.fames: {}}\npipeline: [topic: wifi.frames, csv]",
            "1:10: warning: the pipeline has no topic 'wifi.fames', did you mean 'wifi.frames'?"),
        ("topics: {y: {}}\npipeline: [testing_messages, csv]",
            "1:10: warning: the pipeline has no topic 'y'"),
        ("name: a\ntopics: {a.sensors: {}, a.dead-letters: {}, a-1-state-changelog: {}}\n"
            "pipeline: [testing_messages, topic: x, oui, topic: y, csv]", None),
        ("name: a\nworkers: {segments: [a-1, foo]}\n"
            "pipeline: [testing_messages, topic: x, oui, topic: y, csv]",
            "2:27: warning: no worker runs a segment 'foo' (there is: a-1)"),
        ("pipeline: [testing_messages, csv, csv: {directory: ./out/}]",
            "1:41: warning: csv#2: writes the same files as 'csv' of line 1; give each a directory of"),
        ("pipeline: [testing_messages, csv: {when: {type: frame}}, csv: {when: {kind: ACK}}]",
            "1:58: warning: csv#2: writes the same files as 'csv' of line 1; give each a directory of"),
        ("pipeline: [testing_messages, csv: {when: {type: frame}}, csv: {when: {type: [alert]}}]",
            None),
        ("pipeline: [testing_messages, csv, csv: {directory: other}]", None),
    ],
)  # fmt: skip
def test_what_is_probably_not_meant_is_a_warning(text: str, said: str | None) -> None:
    found = [each[: len(f"c.yaml:{said}")] for each in problems(text)]

    assert found == ([] if said is None else [f"c.yaml:{said}"])
