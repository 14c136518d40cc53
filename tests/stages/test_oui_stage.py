"""`oui` says who made a device and whether its address is made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datastalker import config
from datastalker.errors import ConfigError
from datastalker.message import Message
from datastalker.oui import Registry
from datastalker.oui_update import write
from datastalker.pipeline import Pipeline
from datastalker.stages import oui

BLOCKS = {
    "f0:99:b6": "Apple, Inc.",
    "00:55:da:0": "Shinko Technos co.,ltd.",
    "da:a1:19": "Google, Inc.",
}


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    write(Registry(BLOCKS, "2026-11-01"), tmp_path / "vendors.gz")
    return tmp_path / "vendors.gz"


def pipeline(options: str) -> Pipeline:
    text = f"pipeline:\n- pcap: {{path: x.pcap}}\n- oui: {options}\n"
    checked = config.parse(text, "c.yaml")
    checked.problems[:] = [p for p in checked.problems if "oui" in p.text]
    checked.steps = [step for step in checked.steps if step.name == "oui"]
    return config.build(checked)


def decorated(registry: Path, options: str = "", **keys: Any) -> dict[str, Any]:
    built = pipeline(f"{{registry: {registry}{options}}}")
    (message,) = built.feed([Message(type="frame", timestamp=0, **keys)])
    return {key: message[key] for key in message if key not in ("type", "timestamp", *keys)}


def test_a_vendor_is_named_and_its_address_is_not_randomized(registry: Path) -> None:
    assert decorated(registry, ta="f0:99:b6:00:00:01") == {
        "ta_oui": "Apple, Inc.",
        "ta_randomized": False,
    }


def test_an_unknown_vendor_is_absent(registry: Path) -> None:
    assert decorated(registry, ta="00:55:da:10:00:00") == {"ta_randomized": False}


def test_a_randomized_address_has_no_vendor(registry: Path) -> None:
    assert decorated(registry, ta="0a:99:b6:00:00:01") == {"ta_randomized": True}


def test_an_address_under_a_company_id_is_randomized_and_has_its_vendor(registry: Path) -> None:
    assert decorated(registry, ta="da:a1:19:00:00:01") == {
        "ta_oui": "Google, Inc.",
        "ta_randomized": True,
    }


def test_a_group_address_is_neither(registry: Path) -> None:
    found = decorated(registry, ", fields: [ra]", ra="ff:ff:ff:ff:ff:ff")
    assert found == {"ra_randomized": False}


def test_a_message_without_the_address_passes_as_it_is(registry: Path) -> None:
    assert decorated(registry, ra="f0:99:b6:00:00:01") == {}
    assert decorated(registry, ta=None) == {}


def test_each_field_that_is_named_is_looked_up(registry: Path) -> None:
    found = decorated(
        registry,
        ", fields: [ta, bssid], suffix: _vendor",
        ta="f0:99:b6:00:00:01",
        bssid="00:55:da:00:00:01",
    )
    assert found == {
        "ta_vendor": "Apple, Inc.",
        "ta_randomized": False,
        "bssid_vendor": "Shinko Technos co.,ltd.",
        "bssid_randomized": False,
    }


def test_the_answer_is_the_same_the_second_time_and_after_a_flood(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oui, "_MEMO", 10)
    built = pipeline(f"{{registry: {registry}}}")
    flood = [f"0a:00:00:00:00:{number:02x}" for number in range(100)]
    addresses = ["f0:99:b6:00:00:01", "f0:99:b6:00:00:01", *flood, "f0:99:b6:00:00:01"]
    out = built.feed([Message(type="frame", timestamp=0, ta=address) for address in addresses])
    named = [message.get("ta_oui") for message in out]
    assert named == ["Apple, Inc."] * 2 + [None] * 100 + ["Apple, Inc."]
    stage: Any = built.entries[0].component
    assert len(stage._memo) <= 10


def test_what_is_no_address_has_no_vendor(registry: Path) -> None:
    assert decorated(registry, ta="x") == {"ta_randomized": False}


def test_without_options_the_shipped_registry_names_the_transmitter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (message,) = pipeline("{}").feed([Message(type="frame", timestamp=0, ta="f0:99:b6:00:00:01")])
    assert message["ta_oui"] == "Apple, Inc."


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("{registry: /nowhere/oui.gz}", r"c.yaml:3:\d+: oui: /nowhere/oui.gz: not a vendor reg"),
        ("{fields: []}", "option 'fields' is empty"),
        ("{suffix: ''}", "'ta' would set 'ta', which means something else"),
        ("{suffix: _randomized}", "must not be '_randomized'"),
        ("{field: ta}", "unknown option 'field', did you mean 'fields'"),
    ],
)
def test_a_mistake_is_shown_where_it_is(options: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        pipeline(options)
