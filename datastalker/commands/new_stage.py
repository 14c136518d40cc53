"""`stalk new-stage`: a stage of one's own that works, to change from there."""

from __future__ import annotations

import importlib.util
import keyword
import shlex
import sys
from pathlib import Path

import click

from datastalker import catalog
from datastalker.config import CUT
from datastalker.errors import OutputError

_STAGE = '''"""`{name}`: say here what it does."""

from datastalker.options import option
from datastalker.pipeline import Message, Pipeline, Stage


@Pipeline.register_stage("{name}")
class {cls}(Stage):
    """Counts the frames of each transmitter and sets the count in `{name}`."""

    forget_after_seconds: float = option(3600, "start again after this long without a frame")

    def handle(self, message: Message) -> Message | list[Message] | None:
        ta, time = message.get("ta"), message.get("timestamp", 0)
        if ta is None:
            return message  # None would drop it
        count = self.state.get(ta, 0) + 1
        self.state.set(ta, count, expires=time + int(self.forget_after_seconds * 1e6))
        self.stats.incr("{name}/counted")
        message["{name}"] = count
        return message
'''

_TEST = '''"""{name}: run with `python -m pytest {file}`."""

from pathlib import Path

from datastalker.testing import frame, run_stage

PLUGIN = str(Path(__file__).with_name("{name}.py"))


def test_frames_of_a_transmitter_are_counted():
    frames = [frame(ta="02:00:00:00:00:01"), frame(ta="02:00:00:00:00:02")]
    frames.append(frame(ta="02:00:00:00:00:01"))

    out = run_stage("{name}", frames, plugin=PLUGIN)

    assert [message["{name}"] for message in out] == [1, 1, 2]


def test_a_frame_without_transmitter_passes_untouched():
    out = run_stage("{name}", [frame(kind="ACK")], plugin=PLUGIN)

    assert "{name}" not in out[0]
'''

_CONFIG = """# Try it: stalk test -c {name}.yaml
plugins: [{name}.py]
pipeline:
  - pcap: {{path: "captures/*.pcap"}}
  - {name}
  - csv: {{directory: out}}

tests:
  - name: it counts on after a crash, and forgets after an hour
    steps:
      - given: &frame {{ta: "02:00:00:00:00:01"}}
      - crash
      - given: *frame
      - advance: 1h
      - given: *frame
      - expect:
          sink: csv
          messages: [{{{name}: 1}}, {{{name}: 2}}, {{{name}: 1}}]
"""


@click.command("new-stage")
@click.argument("name")
@click.option("--directory", default=".", show_default=True, help="Where to write the files.")
def new_stage_command(name: str, directory: str) -> None:
    """Write a working stage and its tests: NAME.py, NAME.yaml, test_NAME.py.

    NAME.yaml is a pipeline with the stage and tests of it, for `stalk test`; test_NAME.py has others, in
    Python, for pytest.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise click.BadParameter(
            f"'{name}' must be a Python name in lower case, such as my_stage", param_hint="NAME"
        )
    if name in catalog.BUILTIN or name in (CUT, "when"):
        raise click.BadParameter(f"'{name}' is built in already", param_hint="NAME")
    if name in sys.stdlib_module_names:
        text = f"'{name}' is a module of Python's own, which {name}.py would hide; choose another"
        raise click.BadParameter(text, param_hint="NAME")
    folder = Path(directory)
    cls = "".join(part.capitalize() for part in name.split("_")) or name
    files = {f"{name}.py": _STAGE, f"{name}.yaml": _CONFIG, f"test_{name}.py": _TEST}
    try:
        taken = [file for file in files if (folder / file).exists()]
        if taken:
            raise OutputError(f"{folder / taken[0]} exists already; choose another name")
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            content = text.format(name=name, cls=cls, file=f"test_{name}.py")
            (folder / file).write_text(content, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder} can't be written: {error.strerror}") from error
    click.echo(f"wrote {', '.join(str(folder / file) for file in files)}")
    click.echo(f"use it:  plugins: [{folder / f'{name}.py'}]  and in the pipeline:  - {name}")
    command = [sys.executable, "-m", "pytest", str(folder / f"test_{name}.py")]
    click.echo(f"test it: stalk test -c {shlex.quote(str(folder / f'{name}.yaml'))}")
    click.echo(f"         {shlex.join(command)}")
    if importlib.util.find_spec("pytest") is None:
        install = [sys.executable, "-m", "pip", "install", "pytest"]
        click.echo(f"         which needs pytest: {shlex.join(install)}")
