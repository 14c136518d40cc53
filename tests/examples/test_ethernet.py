"""The example source `ethernet`: its parser on bytes, and all of it on a real interface."""

from __future__ import annotations

import ast
import csv
import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from datastalker.stage import REGISTRY
from datastalker.wire import decode_event, encode_event

ROOT = Path(__file__).resolve().parents[2]
SRC, DST = "02:11:22:33:44:55", "ff:ff:ff:ff:ff:ff"
HEAD = bytes.fromhex((DST + SRC).replace(":", ""))
ARP = HEAD + bytes.fromhex("0806 0001 0800 06 04 0001 021122334455 c0a80105 000000000000 c0a80101")


def dhcp(name: bytes) -> bytes:
    bootp = b"\1" + bytes(235) + b"\x63\x82\x53\x63" + b"\0\x35\1\1\x0c" + bytes([len(name)]) + name
    udp = b"\0\x44\0\x43" + bytes(4) + bootp + b"\xff"
    return HEAD + b"\x08\0" + b"\x45" + bytes(8) + b"\x11" + bytes(10) + udp


@pytest.fixture(scope="module")
def parse() -> Any:
    spec = importlib.util.spec_from_file_location("example_ethernet", ROOT / "examples/ethernet.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    del REGISTRY["ethernet"]  # of this file alone
    return module.parse


def test_an_arp_request_says_whose_ip_it_is(parse: Any) -> None:
    message = parse(ARP)
    assert (message["src"], message["dst"], message["key"]) == (SRC, DST, SRC)
    assert (message["ethertype"], message["arp"], message["ip"]) == (
        0x806,
        "request",
        "192.168.1.5",
    )
    assert message["length"] == len(ARP)


def test_a_vlan_tag_is_looked_behind(parse: Any) -> None:
    message = parse(ARP[:12] + b"\x81\0\0\x07" + ARP[12:])
    assert (message["vlan"], message["arp"]) == (7, "request")


def test_a_host_name_is_hostile_text_and_travels(parse: Any) -> None:
    message = parse(dhcp(b"=cmd()\xff\n"))
    message["timestamp"] = 1

    assert message["hostname"] == "=cmd()\ufffd\n"
    assert decode_event(encode_event(message)) == message


def test_what_is_said_in_a_frame_is_not_passed_on(parse: Any) -> None:
    for head in (ARP, dhcp(b"annas-phone"), HEAD + b"\x88\xcc"):
        said = json.dumps(parse(head + b"a letter"))
        assert "letter" not in said
        assert b"letter".hex() not in said


def test_the_class_has_60_lines_at_most() -> None:
    found = ast.parse((ROOT / "examples/ethernet.py").read_text()).body
    (source,) = [each for each in found if isinstance(each, ast.ClassDef)]
    assert source.name == "Ethernet"
    assert source.end_lineno is not None
    assert source.end_lineno - source.decorator_list[0].lineno + 1 <= 60


def test_malformed_bytes_never_raise(parse: Any) -> None:
    rng = random.Random(1)
    for whole in (ARP, dhcp(b"annas-phone")):
        for size in range(len(whole)):
            assert (parse(whole[:size]) is None) == (size < 14)
        for _ in range(5000):
            mutated = bytearray(whole)
            for _ in range(rng.randint(1, 8)):
                mutated[rng.randrange(len(mutated))] = rng.randrange(256)
            parse(bytes(mutated[: rng.randrange(14, len(mutated) + 1)]))


LIVE = """
ip link set lo up
ip link add left type veth peer name right
ip link set left up; ip link set right up
{python} -m datastalker run -c {config} &
{python} - <<'END'
import socket, time
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("right", 0))
for _ in range(100):
    link.send(bytes.fromhex("{arp}")); link.send(bytes.fromhex("{dhcp}")); time.sleep(0.05)
END
kill -INT %1; wait %1
"""


def test_it_reads_a_real_interface_and_fills_a_csv_of_its_own(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    text = (ROOT / "examples/ethernet.yaml").read_text()
    text = text.replace("[ethernet.py]", f"['{ROOT}/examples/ethernet.py']")
    text = text.replace("eth0", "left").replace("out}", f"'{tmp_path}'}}")
    config.write_text(text)
    script = LIVE.format(
        python=sys.executable, config=config, arp=ARP.hex(), dhcp=dhcp(b"annas-phone").hex()
    )

    done = subprocess.run(
        ["unshare", "-Urn", "bash", "-mc", script],
        cwd=ROOT, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("ethernet-*.csv")
    with file.open(newline="") as rows:
        said = [json.loads(row["extra"]) for row in csv.DictReader(rows)]
    found = [keys for keys in said if keys["src"] == SRC]
    assert {keys.get("ip") for keys in found} == {"192.168.1.5", None}
    assert {keys.get("hostname") for keys in found} == {"annas-phone", None}
