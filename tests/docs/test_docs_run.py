"""What the documentation shows, works."""

import re
import subprocess
from pathlib import Path

import pytest

from datastalker import config as configuration
from datastalker.catalog import BUILTIN
from datastalker.cli import main
from datastalker.segments import topic_plans
from datastalker.stage import REGISTRY
from datastalker.testing import frame, run  # registers its source before any test
from datastalker.trial import run as trial
from docs.reference import INSTEAD, OFF, generated

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = [ROOT / "config.template.yml", *sorted((ROOT / "examples").glob("*.yaml"))]


def blocks(language):
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for number, code in enumerate(re.findall(rf"```{language}\n(.*?)```", text, re.S)):
            found.append(pytest.param(code, id=f"{page.name}-{number}"))
    return found


@pytest.fixture(autouse=True)
def own_registry():
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


@pytest.mark.parametrize("code", blocks("yaml"))
def test_yaml_in_the_docs_can_run(code):
    config = configuration.parse(code, "docs.yaml")

    assert [str(problem) for problem in [*config.problems, *config.test_problems]] == []
    for case in config.cases:
        assert trial.run(config, case).failure is None


def test_pages_and_examples_that_share_a_topic_want_the_same_of_it():
    texts = {param.id: param.values[0] for param in blocks("yaml")}
    texts |= {path.name: path.read_text(encoding="utf-8") for path in EXAMPLES}
    wanted = {}
    for where, text in texts.items():
        config = configuration.parse(text, where)
        read = (config.steps[0].topics or {}).values()  # somebody else's, as the first entry
        for plan in topic_plans(config):
            if plan.name in read:
                continue
            what = plan.partitions, plan.replication, plan.key, plan.config()
            wanted.setdefault(plan.name, {}).setdefault(str(what), []).append(where)

    assert len({page for wants in wanted["wifi.frames"].values() for page in wants}) > 5
    assert {name: wants for name, wants in wanted.items() if len(wants) > 1} == {}


@pytest.mark.parametrize("code", blocks("python"))
def test_python_in_the_docs_runs(code):
    names = {"__name__": "docs_example"}
    exec(compile(code, "docs.py", "exec"), names)

    for name, value in list(names.items()):
        if name.startswith("test_"):
            value()


def test_the_first_stage_that_one_writes_refuses_a_typo(tmp_path):
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs/write-a-stage.md").read_text(), re.S)[1]
    (tmp_path / "custom_stage.py").write_text(code)
    text = "plugins: [custom_stage.py]\npipeline: [pcap: {path: '-'}, custom_stage: {%s: 7}]"
    file = str(tmp_path / "config.yaml")

    assert configuration.parse(text % "parameter", file).problems == []
    (problem,) = configuration.parse(text % "paramter", file).problems
    assert "did you mean 'parameter'?" in problem.text


def test_the_alert_of_the_page_has_the_keys_that_it_names(capsys, tmp_path):
    page = (ROOT / "docs/write-a-stage.md").read_text()
    (code,) = [each for each in re.findall(r"```python\n(.*?)```", page, re.S) if "alert" in each]
    exec(compile(code, "docs.py", "exec"), {"__name__": "docs_example"})
    beacon = frame(kind="BEACON", ta="02:00:00:00:00:01", bssid="02:00:00:00:00:01", ssid="Maple")

    out = run(["quiet_networks", {"csv": {"directory": str(tmp_path)}}], [beacon, frame(61)])

    (alert,) = [message for message in out if message.type == "alert"]
    named = re.findall(r"^\| `(\w+)` \|", page, re.M)
    assert [*alert] == named
    with pytest.raises(SystemExit):
        main(["report", str(tmp_path)])
    shown = capsys.readouterr().out.splitlines()[-1]
    assert shown.split()[2:4] == ["quiet_network", "02:00:00:00:00:01"]


def test_git_ignores_what_the_readme_s_steps_leave():
    left = ["captures/sensor-hall.pcap", "config.yaml", "out/frame-1.csv", "alarm/alert-1.csv"]
    done = subprocess.run(["git", "check-ignore", *left], cwd=ROOT, capture_output=True, text=True)

    assert done.stdout.split() == left


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_and_the_template_can_be_built(path):
    config = configuration.load(str(path))

    assert [str(problem) for problem in config.problems] == []
    configuration.build(config)


def test_the_template_can_be_built_with_everything_switched_on():
    text = (ROOT / "config.template.yml").read_text(encoding="utf-8").replace(OFF, "")
    config = configuration.parse(text, "all.yml", {"PSEUDONYM_KEY": "0123456789abcdef"})

    assert [str(problem) for problem in config.problems] == []
    configuration.build(config)
    assert {step.name for step in config.steps} == {*BUILTIN, "topic"} - {"wifi_sniffer"}


def test_the_other_source_of_the_template_can_be_built():
    lines = (ROOT / "config.template.yml").read_text(encoding="utf-8").splitlines()
    source = [line.removeprefix(INSTEAD) for line in lines if line.startswith(INSTEAD)]
    config = configuration.parse("\n".join(["pipeline:", *source]), "live.yml")

    assert [str(problem) for problem in config.problems] == []
    configuration.build(config)
    assert [step.name for step in config.steps] == ["wifi_sniffer"]


@pytest.mark.parametrize("path", list(generated()), ids=lambda path: path.name)
def test_generated_files_are_what_the_code_says(path):
    assert path.read_text(encoding="utf-8") == generated()[path], "run `make reference`"


def test_links_between_pages_lead_somewhere():
    dead = [
        f"{page.name}: {link}"
        for page in PAGES
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]

    assert dead == []
