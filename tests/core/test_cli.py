"""`./stalk`, as a user calls it: what it prints, and its exit code (0 done, 1 failed, 2 wrong)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml

from datastalker.cli import cli, main
from datastalker.commands.stages import as_yaml
from datastalker.yamlfile import Document

STALK = Path(__file__).parents[2] / "stalk"
SOURCE = '''\
from datastalker.options import option
from datastalker.pipeline import Message, Pipeline, SourceStage

@Pipeline.register_stage("three")
class Three(SourceStage):
    """Gives three frames."""

    kind: str = option("DATA", "of this kind")

    def run(self):
        for seq in range(3):
            yield [Message(type="frame", timestamp=seq * 1_000_000, kind=self.kind, seq=seq)]
'''
CONFIG = "plugins: [source.py]\npipeline:\n- three\n- print: {format: json}\n"


@dataclass
class Done:
    code: int
    out: str
    err: str


WITHOUT_ROOTS_POWERS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Even root may not read then what its rights forbid."""


def stalk(*args: str, cwd: Path | None = None, before: tuple[str, ...] = ()) -> Done:
    """The program itself, in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [*before, STALK, *args],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def here(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Done]:
    """The same, quicker, for what neither runs a pipeline nor sets up a log."""
    monkeypatch.chdir(folder)

    def call(*args: str) -> Done:
        try:
            main(list(args))
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "source.py").write_text(SOURCE)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


@pytest.mark.parametrize(
    "args", [("--run",), ("--run", "-c", "config.yaml"), ("run",), ("-c", "config.yaml", "run")]
)
def test_run_works_as_in_the_original_and_as_a_command(folder: Path, args: tuple[str, ...]) -> None:
    done = stalk(*args, cwd=folder)

    assert (done.code, [json.loads(line)["seq"] for line in done.out.splitlines()]) == (
        0,
        [0, 1, 2],
    )
    assert "3 messages in" in done.err


def test_the_same_input_gives_the_same_output_to_the_byte_twice(folder: Path) -> None:
    assert stalk("run", cwd=folder).out == stalk("run", cwd=folder).out


def test_the_summary_is_a_table_of_all_stages_and_their_counters(folder: Path) -> None:
    (folder / "c.yaml").write_text(CONFIG + "- limit: {messages: 2}\n")

    lines = stalk("run", "-c", "c.yaml", cwd=folder).err.split("\n")

    rows = [line.split() for line in lines]
    assert rows[1] == ["stage", "in", "out", "dropped", "errors", "µs", "each"]
    assert [row[:5] for row in rows[3:5]] == [["print", "2", "2", "0", "0"], ["limit", "2", "2", "0", "0"]]  # fmt: skip # noqa: E501
    assert lines[-2].startswith("stopped: limit of 2 messages reached; ")


def test_quiet_says_nothing(folder: Path) -> None:
    assert stalk("run", "--quiet", cwd=folder).err == ""


def test_who_reads_may_stop_reading(folder: Path) -> None:
    (folder / "source.py").write_text(SOURCE.replace("range(3)", "range(100_000)"))
    command = f"'{STALK}' run -c config.yaml | head -1; exit ${{PIPESTATUS[0]}}"

    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=30)  # fmt: skip # noqa: E501

    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert "stopped: nobody reads the output any more" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("--help",), 0), (("run", "--help"), 0), (("run",), 0), (("stages",), 0), (("schema",), 0),
        (("check",), 0), (("check", "-c", "wrong.yaml"), 2), (("oui", "info"), 0), (("graph",), 0),
        (("report",), 0), (("report", "none"), 1), (("simulate", "--out", "air", "--minutes", "1"), 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)  # fmt: skip
def test_every_command_ends_quietly_with_its_own_exit_code_where_nobody_reads(
    folder: Path, args: tuple[str, ...], code: int, stream: str
) -> None:
    (folder / "wrong.yaml").write_text("pipeline: [none]\n")
    (folder / "out").mkdir()
    (folder / "out" / "frame-1.csv").write_text("ta,kind\n00:00:00:00:00:01,NULL\n")
    reader, writer = os.pipe()
    os.close(reader)

    streams: dict[str, int] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writer}
    done = subprocess.run([STALK, *args], cwd=folder, text=True, timeout=30, **streams)
    os.close(writer)

    assert done.returncode == code
    if stream == "stdout" and code == 0 and args != ("run",):  # which shows its summary
        assert done.stderr == ""


def test_check_says_fine_and_what_the_pipeline_is(folder: Path, here: Callable[..., Done]) -> None:
    done = here("check", "-c", "config.yaml")

    assert (done.code, done.out, done.err) == (0, "config.yaml: fine. three → print\n", "")


@pytest.mark.parametrize("args", [("check", "-c", "c.yaml"), ("-c", "c.yaml", "check"), ("run", "-c", "c.yaml")])  # fmt: skip # noqa: E501
def test_mistakes_are_shown_all_at_once_with_exit_code_2(
    folder: Path, args: tuple[str, ...], here: Callable[..., Done]
) -> None:
    (folder / "c.yaml").write_text(CONFIG + "- dedpe\n- limit: {mesages: 3}\n")

    done = here(*args)

    assert done.code == 2
    assert done.err.splitlines()[:2] == [
        "c.yaml:5:3: unknown stage 'dedpe', did you mean 'dedupe'?",
        "c.yaml:6:11: limit: unknown option 'mesages', did you mean 'messages'?",
    ]
    assert done.out == ""


def test_a_warning_is_shown_and_does_not_hinder(folder: Path, here: Callable[..., Done]) -> None:
    (folder / "c.yaml").write_text(CONFIG + "  when: {bssdi: x}\n")

    done = here("check", "-c", "c.yaml")

    assert done.code == 0
    assert "c.yaml:5:10: warning: no built-in field is called 'bssdi', did you mean" in done.err


@pytest.mark.parametrize("command", [("--run", "-c"), ("check", "-c")])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.yaml", "none.yaml: there is no such file; name another with -c FILE"),
        (".", ".: can't be read: Is a directory"),
        ("binary", "binary: can't be read: it is not UTF-8 text"),
        ("unreadable", "unreadable: can't be read: Permission denied"),
        ("bad.yaml", "bad.yaml:2:1: no valid YAML: while parsing a flow node expected the "
            "node content, but found '<stream end>'"),
    ],
)  # fmt: skip
def test_a_file_that_can_not_be_read_is_named(
    folder: Path, command: tuple[str, ...], name: str, said: str, here: Callable[..., Done]
) -> None:
    (folder / "binary").write_bytes(b"\xff\xfe\x00")
    (folder / "bad.yaml").write_text("pipeline: [\n")
    (folder / "unreadable").write_text("")
    (folder / "unreadable").chmod(0)

    if name == "unreadable" and os.geteuid() == 0:
        done = stalk(*command, name, cwd=folder, before=WITHOUT_ROOTS_POWERS)
    else:
        done = here(*command, name)

    assert (done.code, done.err) == (2, said + "\n")


SHUT = """\
name: t
plugins: [source.py]
agent: {spool_directory: shut/spool}
kibana: {url: "https://localhost:1", ca: shut/ca.pem}
pipeline: [three, topic: t.frames, csv]
tests: [{name: it, steps: [expect: nothing]}]
"""


@pytest.mark.parametrize(
    "command",
    [
        ["new-stage", "mine", "--directory", "shut"],
        ["new-stage", "mine", "--directory", "shut/in"],
        ["graph", "-o", "shut/g.svg"],
        ["test", "--junit", "shut/j.xml"],
        ["report", "shut/in"],
        ["simulate", "--out", "shut/in"],
        ["spool", "check"],
        ["kibana", "install"],
    ],
    ids=" ".join,
)
def test_a_folder_that_may_not_be_entered_is_one_sentence(folder: Path, command: list[str]) -> None:
    (folder / "config.yaml").write_text(SHUT)
    (folder / "shut").mkdir(mode=0)

    done = stalk(*command, cwd=folder, before=WITHOUT_ROOTS_POWERS if os.geteuid() == 0 else ())

    assert done.code == 1
    (line,) = done.err.splitlines()
    assert "shut" in line
    assert re.search("Permission denied|may not be read", line)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("log_file: no/such/folder.log",
            "config.yaml: log_file: no/such/folder.log can't be written: No such file or directory"),
        ("log_level: loud",
            "config.yaml:1:1: option 'log_level' must be one of DEBUG, INFO, WARNING, ERROR, not 'loud'"),
        ("logging: {handlers: {a: {class: no.such}}}",
            "config.yaml: logging: Unable to configure handler 'a': Cannot resolve 'no.such': No "
            "module named 'no'"),
        ("logging: {handlers: 5}", "config.yaml: logging: 'int' object is not iterable"),
    ],
)  # fmt: skip
def test_a_log_that_can_not_be_written_is_a_mistake(folder: Path, setting: str, said: str) -> None:
    (folder / "config.yaml").write_text(f"{setting}\n{CONFIG}")

    done = stalk("--run", cwd=folder)

    assert (done.code, done.err) == (2, said + "\n")


FAILING = '''

from datastalker.pipeline import Stage

@Pipeline.register_stage("failing")
class Failing(Stage):
    """Fails."""
    def handle(self, message):
        raise ValueError("\\x1b[31mred")
'''


@pytest.mark.parametrize("setting", ["", "log_file: x.log\n", "logging: {root: {level: INFO}}\n"])
def test_a_stage_that_fails_is_shown_once_wherever_the_log_goes(folder: Path, setting: str) -> None:
    (folder / "source.py").write_text(SOURCE + FAILING)
    (folder / "config.yaml").write_text(setting + CONFIG + "- failing\n")

    done = stalk("run", cwd=folder)

    log = (folder / "x.log").read_text() if "x.log" in setting else done.err
    assert log.count("ValueError: \\x1b[31mred") == 1
    assert "\x1b" not in done.err


def test_what_is_written_to_a_home_lies_in_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (folder / "config.yaml").write_text(
        "log_file: ~/x.log\n" + CONFIG + "- csv: {directory: ~/out}\n"
    )

    assert stalk("run", cwd=folder).code == 0

    assert (home / "x.log").exists()
    assert list((home / "out").glob("frame-*.csv"))
    assert not (folder / "~").exists()


@pytest.mark.parametrize(
    ("when", "code", "last"),
    [
        ("seq >= 0", 1, "stalk: stage 'failing' failed on every message that it got, 3: the log "
            "has the exception"),
        ("seq == 1", 0, "3 messages in"),
    ],
)  # fmt: skip
def test_a_stage_that_lost_every_message_by_exceptions_is_exit_code_1(
    folder: Path, when: str, code: int, last: str
) -> None:
    body = f"        seq = message['seq']\n        if not {when}: return message\n        raise"
    (folder / "source.py").write_text(SOURCE + FAILING.replace("        raise", body))
    (folder / "config.yaml").write_text(CONFIG + "- failing\n")

    done = stalk("run", cwd=folder)

    assert done.code == code
    assert done.err.splitlines()[-1].startswith(last)


def test_a_run_that_fails_before_any_message_shows_only_the_error(folder: Path) -> None:
    (folder / "config.yaml").write_text("pipeline:\n- pcap: {path: none.pcap}\n- print\n")

    done = stalk("run", cwd=folder)

    assert done.code == 1
    assert done.err == (
        "stalk: can't read none.pcap: there is no such file; correct pcap: path, or make a sample: "
        "stalk simulate --out captures\n"
    )


FULL = "standard output can't be written: No space left on device\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("args", [("stages",), ("run", "-q")])
def test_a_full_disk_is_one_sentence_and_exit_code_1(
    folder: Path, args: tuple[str, ...], unbuffered: str
) -> None:
    (folder / "config.yaml").write_text(CONFIG)

    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [STALK, *args], cwd=folder, env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=30,
        )  # fmt: skip

    assert (done.returncode, done.stderr) == (1, f"stalk: {FULL}")


def test_check_warns_of_a_capture_that_is_not_there(
    folder: Path, here: Callable[..., Done]
) -> None:
    (folder / "c.yaml").write_text(
        "pipeline:\n- pcap: {path: [none.pcap, source.py, '*.pcap', '*.py']}\n- print\n"
    )

    done = here("check", "-c", "c.yaml")

    assert done.code == 0
    assert done.err == (
        "c.yaml:2:3: warning: pcap: there is no file or folder 'none.pcap' here, now\n"
        "c.yaml:2:3: warning: pcap: no file matches '*.pcap' here, now\n"
    )


@pytest.mark.parametrize(
    ("below", "said"),
    [
        ("", "3:3: warning: nothing stands below 'three' that"),
        ("- dedupe\n- oui\n", "5:3: warning: nothing stands below 'oui' that"),
        ("- dedupe\n- print\n", ""),
        ("- csv\n- dedupe\n", ""),
        ("- failing\n", ""),
        ("- topic: a\n- csv\n", ""),
    ],
)
def test_a_pipeline_that_stores_and_shows_nothing_is_a_warning(
    folder: Path, below: str, said: str
) -> None:
    (folder / "source.py").write_text(
        SOURCE + FAILING.replace("        raise", "        return message\n        raise")
    )
    (folder / "c.yaml").write_text(f"plugins: [source.py]\npipeline:\n- three\n{below}")

    shown = [
        done.err
        for done in (
            stalk("check", "-c", "c.yaml", cwd=folder),
            stalk("run", "-qc", "c.yaml", cwd=folder),
        )
    ]

    if said:
        said = f"c.yaml:{said} stores or shows messages; add csv or print\n"
    assert shown == [said, said]


def test_a_source_that_fails_ends_with_one_sentence_and_exit_code_1(folder: Path) -> None:
    (folder / "source.py").write_text(SOURCE + "        raise ValueError('\\x1b[31mcut')\n")

    done = stalk("run", cwd=folder)

    assert (done.code, len(done.out.splitlines())) == (1, 3)
    assert done.err.endswith("stalk: source 'three' failed: ValueError: \\x1b[31mcut\n")
    assert "3 messages in" in done.err


def test_stages_lists_sources_stages_and_sinks(here: Callable[..., Done]) -> None:
    done = here("stages")

    rows = {line.split()[0]: line.split()[1] for line in done.out.splitlines()[:-2]}
    assert done.code == 0
    assert {"dedupe": "stage", "presence": "stage", "csv": "sink"}.items() <= rows.items()


def test_stages_explains_one_from_its_declaration(here: Callable[..., Done]) -> None:
    out = here("stages", "dedupe").out

    assert out.startswith("dedupe (stage)\n\nPasses one frame for each transmission.\n")
    assert "  window_seconds: a number; default 2.0\n" in out
    assert "  mode: one of first, merge; default first\n" in out
    assert "\nExample:\n  - dedupe: {window_seconds: 2.0, mode: first, late_seconds: 10}\n" in out


def test_the_example_of_a_stage_passes_the_check(folder: Path, here: Callable[..., Done]) -> None:
    wrong = {}
    for name in ("print", "beacon_filter", "oui", "dedupe", "presence", "moving_average", "csv"):
        example = here("stages", name).out.split("Example:\n")[1]
        (folder / "c.yaml").write_text(f"plugins: [source.py]\npipeline:\n  - three\n{example}")
        done = here("check", "-c", "c.yaml")
        if done.code:
            wrong[name] = done.err

    assert wrong == {}


def test_stages_explains_what_a_plug_in_brings(folder: Path) -> None:
    out = stalk("stages", "three", "--plugin", "source.py", cwd=folder).out

    assert out == (
        "three (source)\n\nGives three frames.\n\nOptions:\n  kind: text; default DATA\n"
        "      of this kind\n\nExample:\n  - three: {kind: DATA}\n"
    )


@pytest.mark.parametrize(
    "value",
    ["a_b", "6", "1e3", "null", "True", "no", "", 'say "x"', "a\\b", 6, None, ["6", 6], {"a": "~"}],
)
def test_a_value_that_is_shown_is_read_as_itself(value: Any) -> None:
    assert Document(f"option: {as_yaml(value)}", "c.yaml").value == {"option": value}


def test_stages_knows_the_plug_ins_of_a_configuration(here: Callable[..., Done]) -> None:
    assert here("stages", "three", "-c", "config.yaml").out.startswith("three (source)\n")


def test_stages_explains_the_cut(here: Callable[..., Done]) -> None:
    assert here("stages", "topic").out.startswith("topic (cut)\n")


def test_an_unknown_stage_is_not_explained(here: Callable[..., Done]) -> None:
    done = here("stages", "presense")

    assert done.code == 2
    assert done.err.endswith("there is no stage 'presense', did you mean 'presence'?\n")


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("schema")
    (folder / "source.py").write_text(SOURCE)
    made: dict[str, Any] = json.loads(stalk("schema", "--plugin", "source.py", cwd=folder).out)
    return made


def test_the_schema_is_one(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    "pipeline",
    [
        "[three, print]",
        "[three, print: ]",
        "[three, print: {}]",
        "[three: {kind: ACK}, {print: {format: json}, when: {kind: ACK}}]",
        "[three, print: {when: {signal_dbm: {gte: -70}}}]",
        "[three, topic: wifi.frames, {topic: {frame: a}}, csv: {directory: x, columns: null}]",
        "[three, presence: {key: [ta, sensor], active_every_seconds: null}]",
    ],
)
def test_the_schema_accepts_what_is_right(schema: dict[str, Any], pipeline: str) -> None:
    jsonschema.validate({"name": "x", "pipeline": yaml.safe_load(pipeline)}, schema)


@pytest.mark.parametrize(
    "document",
    [
        "pipeline: []",
        "name: x",
        "{nmae: x, pipeline: [three]}",
        "{labels: [a], pipeline: [three]}",
        "pipeline: [three, prnt]",
        "pipeline: [three, print: {formt: json}]",
        "pipeline: [three, print: {format: yaml}]",
        "pipeline: [three, limit: {messages: 0}]",
        "pipeline: [three, limit: {messages: five}]",
        "pipeline: [three, {print: , dedupe: }]",
        "pipeline: [three, print: {when: {}}]",
    ],
)
def test_the_schema_refuses_what_is_wrong(schema: dict[str, Any], document: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(document), schema)


def test_the_schema_completes_names_options_and_their_help(schema: dict[str, Any]) -> None:
    entries = schema["properties"]["pipeline"]["items"]["anyOf"]
    (three,) = (e["properties"]["three"] for e in entries if "three" in e.get("properties", {}))

    assert three["description"] == "Gives three frames."
    assert three["properties"]["kind"] == {
        "type": "string", "description": "of this kind", "default": "DATA"
    }  # fmt: skip


def test_new_stage_writes_a_working_stage_with_its_test(
    folder: Path, here: Callable[..., Done]
) -> None:
    done = here("new-stage", "my_stage")
    (folder / "config.yaml").write_text(
        CONFIG.replace("[source.py]", "[source.py, my_stage.py]") + "- my_stage\n"
    )

    assert done.code == 0
    assert f"{sys.executable} -m pytest test_my_stage.py\n" in done.out
    assert "test it: stalk test -c my_stage.yaml\n" in done.out
    assert "1 passed" in here("test", "-c", "my_stage.yaml").out
    assert here("check").code == 0
    environment = os.environ | {
        "PYTHONPATH": str(STALK.parent),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_stage.py"],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert "2 passed" in tested.stdout, tested.stdout


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("My-Stage", 2, "'My-Stage' must be a Python name in lower case, such as my_stage"),
        ("queue", 2, "'queue' is a module of Python's own, which queue.py would hide"),
        ("class", 2, "'class' must be a Python name in lower case, such as my_stage"),
        ("dedupe", 2, "'dedupe' is built in already"),
        ("topic", 2, "'topic' is built in already"),
        ("source", 1, "source.py exists already; choose another name"),
    ],
)
def test_new_stage_refuses_a_name_that_would_not_work(
    folder: Path, name: str, code: int, said: str, here: Callable[..., Done]
) -> None:
    done = here("new-stage", name)

    assert (done.code, said in done.err) == (code, True)


def test_version_shows_version_and_licence(here: Callable[..., Done]) -> None:
    done = here("--version")

    assert done.code == 0
    assert done.out.startswith("DataStalker ")
    assert "\nLicense: MIT" in done.out


@pytest.mark.parametrize("args", [(), ("-h",), ("--help",)])
def test_help_lists_the_commands(args: tuple[str, ...], here: Callable[..., Done]) -> None:
    done = here(*args)

    assert all(name in done.out + done.err for name in ("run", "check", "stages", "new-stage"))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("chek",), "no such command 'chek', did you mean 'check'?"),
        (("--runn",), "No such option"),
        (
            ("--run", "-q"),
            "-q (--run goes with -c alone; `stalk run` has more",
        ),
        (("--run", "check"), "--run and the command 'check': give one of them"),
        (("check", "-c"), "requires an argument"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(
    args: tuple[str, ...], said: str, here: Callable[..., Done]
) -> None:
    done = here(*args)

    assert (done.code, said in done.err) == (2, True), done.err


def _with_a_file(command: click.Command, path: list[str]) -> Iterator[list[str]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            part = command.get_command(context, name)
            assert part is not None
            yield from _with_a_file(part, [*path, name])
    elif any("--config" in parameter.opts for parameter in command.params):
        yield path


@pytest.mark.parametrize("command", [*_with_a_file(cli, [])], ids=" ".join)
def test_the_configuration_may_be_named_before_any_command(
    command: list[str], here: Callable[..., Done]
) -> None:
    arguments = {"export": "--topic x x.avro", "import": "config.yaml", "replay": "--topic x"}
    arguments |= {"tap": "x", "stages": "topic", "dlq show": "0:0"}
    arguments |= {"dlq drop": "--all", "dlq retry": "--all"}

    done = here("-c", "nowhere.yaml", *command, *arguments.get(" ".join(command), "").split())

    assert done.code
    assert "nowhere.yaml" in done.err + done.out
    assert "there is no such file" in done.err + done.out
