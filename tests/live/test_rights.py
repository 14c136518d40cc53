"""Rights: CAP_NET_RAW is enough, and it is given away as soon as the sockets are open."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Make = Callable[..., Any]
NOBODY = pwd.getpwnam("nobody")
_FILES = 0b1111  # CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER


def _as_nobody(*capabilities: str) -> tuple[str, ...]:
    """Runs what follows as `nobody` with these capabilities and no others."""
    kept = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    user = (f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups")
    return (
        "setpriv",
        *user,
        f"--bounding-set={kept}",
        f"--inh-caps={kept}",
        f"--ambient-caps={kept}",
    )


def _readable(path: Path) -> None:
    """pytest's folders are root's alone."""
    for folder in [path, *path.parents]:
        if folder.stat().st_mode & 0o055 != 0o055:
            folder.chmod(folder.stat().st_mode | 0o055)


@pytest.fixture
def sniffer_as(make_radio: Make, make_sniffer: Make) -> Make:
    def make(*command: str, **options: Any) -> Any:
        radio = make_radio()
        sniffer = make_sniffer(radio.name, **options)
        _readable(sniffer.folder)
        sniffer.command = command
        return radio, sniffer

    return make


def test_with_net_raw_alone_it_hears_and_then_has_no_capability(
    sniffer_as: Make, make_sniffer: Make
) -> None:
    radio, sniffer = sniffer_as(*_as_nobody("net_raw"), bpf="type mgt")
    sniffer.start()
    frame = make_sniffer.radiotap(make_sniffer.beacon())
    radio.send([frame])
    sniffer.heard(1)

    found = sniffer.capabilities()

    assert found["Uid"] == {str(NOBODY.pw_uid)}
    for name in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert {int(mask, 16) for mask in found[name]} == {0}, name
    assert found["NoNewPrivs"] == {"1"}


def test_without_any_capability_left_it_hears_an_interface_that_comes_anew(
    sniffer_as: Make, make_sniffer: Make
) -> None:
    radio, sniffer = sniffer_as(*_as_nobody("net_raw"), bpf="type mgt")
    sniffer.start()

    radio.remove()
    sniffer.said("there is no interface of that name")
    radio.link_type = 801
    radio.create()
    sniffer.said("listening (bare 802.11")
    radio.send([make_sniffer.ack(), make_sniffer.beacon()])

    assert [frame["kind"] for frame in sniffer.heard(1)] == ["BEACON"]
    sniffer.stop()


def test_without_net_raw_it_says_what_it_needs(sniffer_as: Make) -> None:
    _, sniffer = sniffer_as(*_as_nobody())
    sniffer.start(waits=True)

    assert sniffer.process.wait(60) == 1
    assert "to hear frames this process needs CAP_NET_RAW" in sniffer.log
    assert "Traceback" not in sniffer.log


def test_root_becomes_who_it_is_told_to_and_keeps_nothing(
    sniffer_as: Make, make_sniffer: Make
) -> None:
    radio, sniffer = sniffer_as(user="nobody")
    sniffer.start()
    radio.send([make_sniffer.radiotap(make_sniffer.beacon())])
    sniffer.heard(1)

    found = sniffer.capabilities()

    assert found["Uid"] == {str(NOBODY.pw_uid)}
    assert {int(mask, 16) for mask in found["CapPrm"]} == {0}
    groups = Path(f"/proc/{sniffer.process.pid}/status").read_text().partition("Groups:")[2]
    assert "0" not in groups.partition("\n")[0].split()


def test_root_that_stays_root_keeps_what_files_need_and_no_more(sniffer_as: Make) -> None:
    _, sniffer = sniffer_as()
    sniffer.start()

    found = sniffer.capabilities()

    assert {int(mask, 16) for mask in found["CapPrm"] | found["CapEff"]} == {_FILES}


def test_a_sink_that_starts_a_thread_keeps_no_right_for_it(
    make_radio: Make, make_sniffer: Make, tmp_path: Path
) -> None:
    (tmp_path / "threaded.py").write_text(
        "import threading, time\n"
        "from datastalker.pipeline import Pipeline, Sink\n"
        "@Pipeline.register_stage('threaded')\n"
        "class Threaded(Sink):\n"
        "    'Starts a thread.'\n"
        "    def open(self):\n"
        "        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
        "    def write(self, batch): pass\n"
    )
    sniffer = make_sniffer(
        make_radio().name, ["threaded"], {"plugins": [str(tmp_path / "threaded.py")]}
    )
    sniffer.start()
    threads = Path(f"/proc/{sniffer.process.pid}/task")
    make_sniffer.until(lambda: len(list(threads.iterdir())) > 1)

    found = sniffer.capabilities()

    assert {int(mask, 16) for mask in found["CapPrm"] | found["CapEff"]} == {_FILES}


def test_a_user_that_is_not_there_is_an_error(sniffer_as: Make) -> None:
    _, sniffer = sniffer_as(user="nosuchuser")
    sniffer.start(waits=True)

    assert sniffer.process.wait(60) == 1
    assert "user: there is no user 'nosuchuser' here" in sniffer.log


def test_only_root_can_become_somebody_else(sniffer_as: Make) -> None:
    _, sniffer = sniffer_as(*_as_nobody("net_raw"), user="root")
    sniffer.start(waits=True)

    assert sniffer.process.wait(60) == 1
    assert "user: only root can become 'root'" in sniffer.log


def test_these_tests_run_as_root() -> None:
    assert os.geteuid() == 0, f"{sys.executable} must run as root: interfaces are made here"
