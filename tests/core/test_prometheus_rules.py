"""The rules for Prometheus: valid, tested by Prometheus's own tool, and of names that are served."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from capture_agent.outbox import GIVEN_UP, TIMED_OUT
from capture_agent.page import LOSSES
from capture_agent.publish import UNWRITABLE
from capture_agent.spool_outbox import DAMAGED, FINAL, FULL
from datastalker.metrics import METRICS

FOLDER = Path(__file__).resolve().parents[2] / "infra" / "prometheus"


@pytest.fixture(scope="module")
def promtool() -> str:
    got = subprocess.run([FOLDER / "promtool.sh"], capture_output=True, text=True)
    if got.returncode and "CI" not in os.environ:
        pytest.skip(f"there is no promtool, and apt has none: {got.stderr.strip()[-200:]}")
    assert got.returncode == 0, got.stderr
    return got.stdout.strip()


@pytest.mark.parametrize(
    "words",
    [["check", "rules", "rules.yml"], ["check", "config", "prometheus.yml"],
     ["test", "rules", "rules_test.yml"]],
    ids=" ".join,
)  # fmt: skip
def test_promtool_finds_nothing_wrong(promtool: str, words: list[str]) -> None:
    said = subprocess.run([promtool, *words], cwd=FOLDER, capture_output=True, text=True)

    assert said.returncode == 0, said.stdout + said.stderr


def test_rules_and_their_tests_use_names_that_are_served() -> None:
    for file in ("rules.yml", "rules_test.yml"):
        named = set(re.findall(r"datastalker_\w+", (FOLDER / file).read_text()))

        assert named <= set(METRICS)


def test_there_is_a_rule_for_each_trouble_and_each_is_raised_in_a_test() -> None:
    (group,) = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    rules = {rule["alert"]: rule["expr"] for rule in group["rules"]}
    for name in ("lag", "agent_dropped_frames_total", "source_kernel_dropped_messages_total",
                 "agent_captured_frames_total", "agent_clock_offset_seconds", "dead_letters_total",
                 "sink_dead_messages_total"):  # fmt: skip
        assert any(re.search(rf"datastalker_{name}\b", expr) for expr in rules.values()), name

    _, each = yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"]
    (fired,) = each["promql_expr_test"]
    raised = {re.search('alertname="(\\w+)"', s["labels"])[1] for s in fired["exp_samples"]}
    assert raised == set(rules)


def test_whatever_loses_a_frame_on_its_way_raises_an_alert_the_first_time() -> None:
    (group,) = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    rules = {rule["alert"]: rule["expr"] for rule in group["rules"]}
    (reasons,) = re.findall('reason=~"(.*?)"', rules["DataStalkerFramesDropped"])

    assert {FULL, DAMAGED, UNWRITABLE, GIVEN_UP, TIMED_OUT} | FINAL <= set(LOSSES)
    assert [reason for reason in LOSSES if not re.fullmatch(reasons, reason)] == []
    assert re.fullmatch(reasons, "topic_authorization_failed")


def test_each_rule_says_what_to_do() -> None:
    (group,) = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]

    for rule in group["rules"]:
        assert set(rule["annotations"]) == {"summary", "remedy"}, rule["alert"]
