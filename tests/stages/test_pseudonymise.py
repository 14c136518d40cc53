"""`pseudonymise` puts pseudonyms in the place of addresses, and of what tells as much."""

from __future__ import annotations

import hmac
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from datastalker import config, pseudonyms
from datastalker.errors import ConfigError
from datastalker.message import FRAME_FIELDS, Message
from datastalker.stages import pseudonymise
from datastalker.testing import START, build, frame, run

KEY = "correct horse battery staple"
DAY = 86_400
PHONE, LOCAL, GROUP = "f0:99:b6:12:34:56", "da:a1:19:3d:4e:5f", "01:00:5e:00:00:fb"
BROADCAST = "ff:ff:ff:ff:ff:ff"


def hidden(*messages: Message, stages: Any = (), **options: Any) -> list[Message]:
    options = {"key": KEY, **options}
    return run([*stages, {"pseudonymise": options}], [Message(m) for m in messages])


def of(address: str, at: float = 0, **options: Any) -> str:
    (out,) = hidden(frame(at, ta=address), **options)
    return str(out["ta"])


def bits(address: str) -> int:
    return int(address[:2], 16) & 3


def test_an_address_becomes_another_the_same_in_every_key_and_run() -> None:
    keys = dict.fromkeys(("ta", "ra", "sa", "da", "bssid"), PHONE)
    (first,), (second,) = hidden(frame(**keys)), hidden(frame(5, **keys))

    (other,) = {first[key] for key in keys} | {second[key] for key in keys}
    assert other != PHONE
    assert bytes.fromhex(other.replace(":", "")).hex(":") == other
    assert len(other) == 17


def test_the_pseudonym_is_the_hmac_that_the_page_tells_of() -> None:
    """So that who has the key can tell in other programs, too; and no release changes it unseen."""
    day = START // (DAY * 1_000_000)
    said = b"address\0day " + str(day).encode() + b"\0" + bytes.fromhex("f099b6123456")
    digest = hmac.new(KEY.encode(), said, "sha256").digest()

    assert of("f0:99:b6:12:34:56") == bytes((digest[0] & 0xFC, *digest[1:6])).hex(":")
    assert of("f0:99:b6:12:34:56") == "74:36:c5:5b:9b:5b"


def test_another_key_gives_other_pseudonyms() -> None:
    assert of(PHONE) != of(PHONE, key="another key of enough letters")


def test_bits_stay_and_broadcast_and_nobody_stay_whole() -> None:
    assert [bits(of(address)) for address in (PHONE, LOCAL, GROUP)] == [0, 2, 1]
    assert of(BROADCAST) == BROADCAST
    assert of("00:00:00:00:00:00") == "00:00:00:00:00:00"
    assert of(GROUP) != GROUP


def test_an_address_with_the_bandwidth_bit_is_the_device_s_with_that_bit() -> None:
    assert of("f1" + PHONE[2:])[2:] == of(PHONE)[2:]


def test_without_the_local_bit_all_pseudonyms_are_made_up_addresses() -> None:
    assert bits(of(PHONE, keep_local_bit=False)) == bits(of(LOCAL, keep_local_bit=False)) == 2


def test_the_oui_is_kept_by_choice_where_it_names_a_vendor() -> None:
    assert of(PHONE, keep_oui=True)[:8] == PHONE[:8]
    assert of(PHONE, keep_oui=True) != PHONE
    assert of(LOCAL, keep_oui=True)[:8] != LOCAL[:8]
    assert of(GROUP, keep_oui=True)[:8] == GROUP[:8]


@pytest.mark.parametrize(
    ("rotate", "same", "other"),
    [
        ("day", [0, 6.9 * 3600], [-17.1 * 3600, 7.1 * 3600, DAY]),  # START is a Monday, 17:00
        ("week", [-16.9 * 3600, 6 * DAY], [-17.1 * 3600, 6.4 * DAY]),
        ("never", [-400 * DAY, 400 * DAY], []),
    ],
)
def test_a_period_is_a_day_or_a_week_of_the_frame_s_own_time_in_utc(
    rotate: str, same: list[float], other: list[float]
) -> None:
    now = of(PHONE, rotate=rotate)

    assert {of(PHONE, at, rotate=rotate) for at in same} == {now}
    assert now not in {of(PHONE, at, rotate=rotate) for at in other}


def test_frames_that_come_late_have_the_pseudonym_of_their_own_day() -> None:
    times = [0, DAY, 0, 2 * DAY, 3 * DAY, 4 * DAY, 0, 4 * DAY]
    out = hidden(*(frame(at, ta=PHONE) for at in times))

    assert [m["ta"] for m in out] == [of(PHONE, at) for at in times]


def test_a_message_without_a_time_has_the_period_of_the_one_before() -> None:
    out = hidden(frame(ta=PHONE), Message(type="frame", ta=PHONE))
    assert out[0]["ta"] == out[1]["ta"]


def test_an_ssid_becomes_a_pseudonym_by_its_very_bytes_unless_it_is_kept() -> None:
    raw = "ff6e6574"
    out = hidden(frame(ssid="home"), frame(ssid="\ufffdnet", ssid_hex=raw), frame(ssid=""))

    names = [m["ssid"] for m in out]
    assert names[0].startswith("ssid-")
    assert names[1].startswith("ssid-")
    assert len(set(names)) == 3
    assert names[2] == ""
    assert all("ssid_hex" not in m for m in out)
    kept = frame(ssid="\ufffdnet", ssid_hex=raw)
    assert hidden(kept, keep_ssids=True) == [kept]


@pytest.mark.parametrize("raw", ["zz", "", 5, None])
def test_hex_that_is_none_is_no_way_round(raw: Any) -> None:
    (out,) = hidden(Message(frame(ssid="home"), ssid_hex=raw))
    assert out["ssid"] == hidden(frame(ssid="home"))[0]["ssid"]
    assert "ssid_hex" not in out


def test_what_names_a_device_goes_and_what_holds_an_address_holds_another() -> None:
    (out,) = hidden(
        frame(
            wps_device_name="Anna's phone",
            wps_uuid="00000000-0000-1000-8000-f099b6123456",
            wps_model_name="X f099b6123456",
            interface="wlxf099b6123456",
            file="F0-99-B6-12-34-56.pcap",
            ta=PHONE,
        )
    )
    digits = out["ta"].replace(":", "")

    assert "wps_device_name" not in out
    assert "wps_uuid" not in out
    assert out["wps_model_name"] == f"X {digits}"
    assert out["interface"] == f"wlx{digits}"
    assert out["file"] == out["ta"].replace(":", "-") + ".pcap"


def test_every_key_of_a_frame_is_safe_or_changed() -> None:
    """A key that the contract is given one day is thought of, or this fails."""
    frames = [
        frame(**{name: PHONE})
        for name, field in FRAME_FIELDS.items()
        if field.type in ("text", "address") and name not in ("id", "sensor")
    ]
    # What these say is a word of the standard's, or is read as such by the parser alone.
    words = {"security", "group_cipher", "pmf", "country", "wps_state"}
    told = [m for m in hidden(*frames) if PHONE in m.values()]

    assert {key for m in told for key in m} - {"type", "timestamp", "kind"} == words


def test_keys_that_others_set_are_searched_in_depth() -> None:
    (out,) = hidden(
        Message(
            frame(ta=PHONE),
            note=f"{PHONE} and f099.b612.3456, {BROADCAST}",
            peers=[PHONE, "x"],
            deep={PHONE: {"mac": PHONE.upper()}},
            raw=bytes.fromhex(PHONE.replace(":", "")),
            count=7,
            none=None,
        )
    )
    digits = out["ta"].replace(":", "")

    dotted = ".".join((digits[:4], digits[4:8], digits[8:]))
    assert out["note"] == f"{out['ta']} and {dotted}, {BROADCAST}"
    assert out["peers"] == [out["ta"], "x"]
    assert out["deep"] == {out["ta"]: {"mac": out["ta"]}}
    assert out["raw"] != bytes.fromhex(PHONE.replace(":", ""))
    assert (out["count"], out["none"]) == (7, None)


@pytest.mark.parametrize("value", ["x", "f0:99:b6:12:34", "F0:99:B6:12:34:56", None])
def test_what_is_no_address_where_one_should_be_is_not_passed_on(value: Any) -> None:
    (out,) = hidden(Message(frame(), ta=value))
    assert (out["ta"] is None) if value is None else (value not in out["ta"])


def test_keys_that_are_named_become_pseudonyms() -> None:
    (out,) = hidden(
        Message(frame(), hostname="annas-phone", names=["a", "b"], ip=None),
        keys=["hostname", "names", "ip"],
    )
    assert out["hostname"].startswith("name-")
    assert [name[:5] for name in out["names"]] == ["name-", "name-"]
    assert out["ip"] is None


def test_events_that_presence_made_above_have_no_address_and_no_name() -> None:
    frames = [
        frame(kind="PROBE_REQ", ta=PHONE, ssid="home", sensor="porch"),
        frame(1, ta=PHONE, bssid=LOCAL, sensor="porch"),
    ]
    above = [{"presence": {"active_every_seconds": 1}}]
    out = hidden(*frames, stages=above)
    events = [m for m in out if m.type == "presence"]
    expected = out[-1]

    assert [m["event"] for m in events] == ["NEW", "ACTIVE"]
    assert [m["key"] for m in events] == [expected["ta"]] * 2
    assert events[0]["id"] == f"{expected['ta']}-NEW-{START}"
    assert events[1]["bssids"] == [expected["bssid"]]
    assert events[1]["ssids"] == [out[1]["ssid"]]
    assert events[1]["sensors"] == ["porch"]
    assert hidden(*frames, stages=above, keep_ssids=True)[0]["ssids"] == ["home"]


def test_a_presence_key_with_a_name_in_it_is_hidden_whole() -> None:
    above = [{"presence": {"key": ["ta", "ssid"]}}]
    event, _ = hidden(frame(kind="PROBE_REQ", ta=PHONE, ssid="my home"), stages=above)

    assert event["key"].startswith("name-")
    assert event["id"] == f"{event['key']}-NEW-{START}"
    kept, _ = hidden(
        frame(kind="PROBE_REQ", ta=PHONE, ssid="my home"), stages=above, keep_ssids=True
    )
    assert kept["key"] == f"{of(PHONE)} my home"


def test_dedupe_below_still_knows_copies_from_two_sensors() -> None:
    copies = [
        frame(ta=PHONE, seq=1, sensor="a"),
        frame(0.001, ta=PHONE, seq=1, sensor="b"),
        frame(0.002, ta=LOCAL, seq=1, sensor="b"),
    ]
    assert len(run([{"pseudonymise": {"key": KEY}}, "dedupe"], copies)) == 2


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudonyms, "_MEMO", 10)
    monkeypatch.setattr(pseudonymise, "_SHAPES", 10)
    built = build([{"pseudonymise": {"key": KEY}}])
    flood = [
        Message(frame(day * DAY), ta=f"02:00:00:00:00:{number:02x}", **{f"key{number}": PHONE})
        for day in range(20)
        for number in range(30)
    ]
    assert len({m["ta"] for m in built.feed(flood)}) == 600

    stage: Any = built.entries[0].component
    assert len(stage._periods) == 3
    for period in stage._periods.values():
        assert len(period._shapes) <= 10
        assert len(period._pseudonyms.addresses) <= 10


SECRET = "9918273645"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (f"'{SECRET}'", "option 'key' has 10 characters, and needs 16 at least; make a key with"),
        (SECRET, "option 'key' must be text, not a number (not shown here); put quotes"),
        (SECRET * 3, "no number of 64 bits; if it is text, put quotes around it"),
        (f"[{SECRET}]", "option 'key' must be text, not what was given (not shown here)"),
        ("${PSEUDONYMS}", "option 'key' must be text, not a number (not shown here)"),
        ("${UNSET}", "environment variable UNSET is not set"),
        ("${file:no.key}", "no.key: No such file"),
        ("", "option 'key' must be text, not null"),
    ],
)
def test_a_key_that_won_t_do_is_told_of_and_never_shown(key: str, said: str) -> None:
    text = f"pipeline:\n- testing_messages\n- pseudonymise: {{key: {key}}}\n"
    if key.startswith("$"):
        text = f"pipeline:\n- testing_messages\n- pseudonymise:\n    key: {key}\n"

    problems = config.parse(text, "c.yaml", {"PSEUDONYMS": SECRET}).problems

    shown = "\n".join(map(str, problems))
    assert said in shown
    assert SECRET not in shown


def test_a_file_of_blanks_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(" " * 40 + "\n")
    text = "pipeline:\n- testing_messages\n- pseudonymise:\n    key: ${file:key}\n"

    (problem,) = config.parse(text, str(tmp_path / "c.yaml")).problems

    assert "option 'key' has 0 characters, and needs 16 at least" in str(problem)


def test_of_a_key_that_can_not_be_read_nobody_says_to_make_another(tmp_path: Path) -> None:
    text = "pipeline:\n- testing_messages\n- pseudonymise:\n    key: ${file:key}\n"

    (problem,) = config.parse(text, str(tmp_path / "c.yaml")).problems

    assert "key: No such file or directory" in str(problem)


def test_a_key_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    found = []
    for key in ("${file:key}", "${PSEUDONYM_KEY}"):
        text = f"pipeline:\n- testing_messages\n- pseudonymise:\n    key: {key}\n"
        parsed = config.parse(text, str(tmp_path / "c.yaml"), {"PSEUDONYM_KEY": KEY})
        (out,) = config.build(parsed).feed([frame(ta=PHONE)])
        found.append(out["ta"])

    assert found == [of(PHONE)] * 2


def test_no_command_shows_the_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    (tmp_path / "plug.py").write_text(BROKEN)
    (tmp_path / "c.yaml").write_text(
        "plugins: [plug.py]\nlog_level: DEBUG\npipeline:\n- one\n"
        "- pseudonymise: {key: '${file:key}'}\n- broken\n- print: {format: json}\n"
    )
    for command in (["check"], ["run"], ["schema"], ["stages", "pseudonymise"]):
        options = ["-c", str(tmp_path / "c.yaml")] if command[0] in ("check", "run") else []
        done = subprocess.run(
            [sys.executable, "-m", "datastalker", *command, *options],
            capture_output=True,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
            check=False,
        )
        assert done.stdout + done.stderr
        assert KEY not in done.stdout + done.stderr
        if command == ["run"]:
            (line,) = done.stdout.splitlines()
            assert json.loads(line)["ta"] == of(PHONE)
            assert "ValueError" in done.stderr


BROKEN = f'''
from datastalker.pipeline import Message, Pipeline, SourceStage, Stage

@Pipeline.register_stage("one")
class One(SourceStage):
    """Two frames."""
    def run(self):
        yield [Message(type="frame", timestamp={START}, ta="{PHONE}", seq=n) for n in (0, 1)]

@Pipeline.register_stage("broken")
class Broken(Stage):
    """Fails once."""
    def handle(self, message):
        if message["seq"]:
            raise ValueError(message)
        return message
'''


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep_oui": True, "keep_local_bit": False}, "'keep_oui' keeps that bit as well"),
        ({"keys": ["seq"]}, "'seq' can't become a pseudonym; use strip"),
        ({"keys": ["type"]}, "'type' can't become a pseudonym"),
        ({"rotate": "month"}, "must be one of day, week, never"),
    ],
)
def test_a_mistake_is_shown_with_the_remedy(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        hidden(**options)


def warnings(*entries: str) -> list[str]:
    lines = "\n".join(f"- {entry}" for entry in ("testing_messages", *entries))
    return [str(p) for p in config.parse(f"pipeline:\n{lines}\n", "c.yaml").problems]


IT = f"pseudonymise: {{key: '{KEY}'}}"


@pytest.mark.parametrize(
    ("above", "said"),
    [
        ("topic: wifi", "stands below 'topic', so the addresses themselves are in wifi; put it"),
        ("csv: {directory: x}", "stands below 'csv', which stores the addresses themselves; put"),
        ("print", "stands below 'print', which shows the addresses themselves"),
        ("presence", "stands below 'presence', whose messages may say of a device"),
    ],
)
def test_check_warns_where_others_have_seen_the_addresses_before(above: str, said: str) -> None:
    below = "topic: out" if "topic" in above else "print"
    found = [w for w in warnings(above, IT, below) if "pseudonymise" in w]
    assert len(found) == 1
    assert "c.yaml:4:3: warning: pseudonymise: " + said in found[0]


def test_check_warns_where_a_condition_lets_addresses_pass() -> None:
    (found,) = warnings(f"pseudonymise: {{key: '{KEY}', when: {{kind: DATA}}}}")
    assert "what does not meet 'when' passes as it is, with its addresses" in found


def test_check_has_nothing_to_say_where_it_stands_right() -> None:
    assert warnings("dedupe", "oui", "limit: {messages: 5}", IT, "topic: wifi") == []
