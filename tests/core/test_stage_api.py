"""The public API of a stage works as it is written in the design, from wherever the stage comes."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from datastalker import catalog, config
from datastalker.message import Message
from datastalker.pipeline import Pipeline
from datastalker.stage import REGISTRY
from datastalker.testing import build, frame, run, run_stage

# Letter by letter what the design says.
CUSTOM = """\
from datastalker.pipeline import Pipeline, Stage

@Pipeline.register_stage('custom_stage')
class CustomStage(Stage):
    "My custom stage"
    def __init__(self, stats, parameter): ...
    def handle(self, message):            # -> None (drop), a Message, or a list of Messages
        self.stats.incr('custom-stage/ignored')
        message['new_key'] = self.parameter
        return message
    @classmethod
    def from_config(cls, config, stats):  # optional: the default builds it from the class's typed options
        return cls(stats, config.get('parameter', 42))
"""


@pytest.fixture
def custom(tmp_path: Path) -> str:
    (tmp_path / "custom.py").write_text(CUSTOM)
    return str(tmp_path / "custom.py")


def test_the_custom_stage_of_the_design_works_as_written(custom: str) -> None:
    built = build(["custom_stage"], [frame(), frame()], plugins=[custom])

    out = built.feed([frame(), frame()])

    assert [message["new_key"] for message in out] == [42, 42]
    assert built.stats.get_stats() == {"custom-stage/ignored": 2}


def test_its_options_come_from_the_yaml(custom: str) -> None:
    (out,) = run_stage("custom_stage", [frame()], plugin=custom, parameter="mine")

    assert out["new_key"] == "mine"


def test_it_is_named_relative_to_the_configuration_file(custom: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "plugins: [custom.py]\npipeline: [testing_messages, custom_stage]"
    )

    assert config.load(str(tmp_path / "c.yaml")).problems == []


def test_without_from_config_the_constructors_parameters_are_its_options(tmp_path: Path) -> None:
    (tmp_path / "custom.py").write_text(CUSTOM[: CUSTOM.index("    @classmethod")])
    plugin = str(tmp_path / "custom.py")

    (out,) = run_stage("custom_stage", [frame()], plugin=plugin, parameter=7)
    checked = config.parse(f"plugins: [{plugin}]\npipeline: [testing_messages, custom_stage]", "c")

    assert out["new_key"] == 7
    assert [p.text for p in checked.problems] == ["custom_stage: option 'parameter' is missing: anything"]  # fmt: skip # noqa: E501


def test_a_stage_may_keep_messages_and_give_them_when_time_has_moved(tmp_path: Path) -> None:
    """handle, state, tick and flush together: a frame comes out a second after it went in."""
    (tmp_path / "late.py").write_text('''\
from datastalker.options import option
from datastalker.pipeline import Message, Pipeline, Stage

@Pipeline.register_stage("late")
class Late(Stage):
    """Gives each message later."""
    delay_seconds: float = option(1, "how much later", minimum=0)
    holds = True

    def handle(self, message):
        at = message["timestamp"]
        self.state.set(message["seq"], dict(message), expires=at + int(self.delay_seconds * 1e6))

    def tick(self, now):
        for _, message, expires in self.state.expired(now):
            yield Message(message, late=now >= expires)

    def flush(self):
        return [Message(message, late=False) for message in self.state.values()]
''')
    frames = [frame(at, seq=seq) for seq, at in enumerate((0, 0.5, 1.5, 3))]

    out = run(["late"], frames, plugins=[str(tmp_path / "late.py")])

    assert [(message["seq"], message["late"]) for message in out] == [
        (0, True), (1, True), (2, True), (3, False),
    ]  # fmt: skip


SHOUT = """\
from datastalker.pipeline import Pipeline, Stage
@Pipeline.register_stage("shout")
class Shout(Stage):
    "Says it louder."
    def handle(self, message):
        message["ssid"] = message["ssid"].upper()
        return message
"""
WHEEL = {
    "stalk_shout/__init__.py": SHOUT,
    "stalk_shout/broken.py": "import no_such_module\n",
    "stalk_shout/nothing.py": "",
    "stalk_shout-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: stalk-shout\nVersion: 1.0\n",
    "stalk_shout-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "stalk_shout-1.0.dist-info/entry_points.txt": """\
[datastalker.stages]
shout = stalk_shout
shout_broken = stalk_shout.broken
shout_nothing = stalk_shout.nothing
""",
    "stalk_shout-1.0.dist-info/RECORD": "",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed a package that brings a stage."""
    wheel = tmp_path_factory.mktemp("wheel") / "stalk_shout-1.0-py3-none-any.whl"
    target = tmp_path_factory.mktemp("target")
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in WHEEL.items():
            archive.writestr(name, text)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run(
        [*pip, "--no-deps", "--no-index", "--target", str(target), str(wheel)], check=True
    )
    return target


@pytest.fixture
def on_path(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(installed)
    yield
    REGISTRY.pop("shout", None)
    for name in [name for name in sys.modules if name.startswith("stalk_shout")]:
        del sys.modules[name]


@pytest.mark.usefixtures("on_path")
def test_an_installed_packages_stage_is_found_by_its_name() -> None:
    (out,) = run(["shout"], [frame(ssid="home")])

    assert out["ssid"] == "HOME"
    assert catalog.third_party()["shout"] == "stalk_shout"


@pytest.mark.usefixtures("on_path")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shout_broken", "the installed package behind stage 'shout_broken' (stalk_shout.broken) "
            "can't be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("shout_nothing",
            "the installed package behind stage 'shout_nothing' registers no such name"),
        ("shuot", "unknown stage 'shuot', did you mean 'shout'?"),
    ],
)  # fmt: skip
def test_what_an_installed_package_gets_wrong_is_said(name: str, said: str) -> None:
    checked = config.parse(f"pipeline: [testing_messages, {name}]", "c.yaml")

    assert [problem.text for problem in checked.problems] == [said]


def test_stalk_stages_lists_it_beside_the_built_in_ones_and_names_what_is_broken(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(installed))
    stalk = Path(__file__).parents[2] / "stalk"

    done = subprocess.run([stalk, "stages"], capture_output=True, text=True, check=True)

    assert "shout           stage   Says it louder.\n" in done.stdout
    assert "not listed: the installed package behind stage 'shout_broken'" in done.stderr


def test_a_message_is_a_dict_whose_contract_keys_read_as_none() -> None:
    message = Message(type="frame", kind="ACK")

    assert message["ta"] is None
    assert "ta" not in message
    assert isinstance(message, dict)
    with pytest.raises(KeyError):
        message["my_tpyo"]


def test_a_copy_of_a_message_is_a_message_of_its_own() -> None:
    message = Message(type="frame", kind="ACK")
    copy = message.copy()
    copy["kind"] = "CTS"

    assert (message["kind"], type(copy), copy.type) == ("ACK", Message, "frame")


def test_a_class_that_is_no_stage_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="'x': a stage derives from Stage, SourceStage or Sink"):
        Pipeline.register_stage("x")(dict)  # type: ignore[type-var]
