"""What `stalk doctor` looks at for a capture agent: its source, rights, clock, spool."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from capture_agent import doctor_clock, doctor_source
from capture_agent.spool_files import paths
from capture_agent.spooling import spool_directory
from datastalker import doctor_page, pages
from datastalker.config import Config
from datastalker.finding import Check, Finding, failed, folder, ok, size, warning
from datastalker.segments import Segment


def checks(config: Config, segment: Segment) -> list[Check]:
    """What an agent needs that runs the first segment. Of a run without topics: no spool."""
    if segment.role not in ("capture", "all"):
        return []
    source = segment.steps[0]
    found = doctor_source.checks(source)
    about = "agent" if segment.role == "capture" else "run"
    found += doctor_page.checks(about, pages.of_agent(config))
    found.append(Check("clock", doctor_clock.own, "set the clock"))
    if segment.role == "all":
        return found
    remedy = "see kafka: bootstrap_servers"
    found.append(Check("clock and broker", partial(doctor_clock.broker, config), remedy, 25))
    look = partial(_spool, config, source.options.get("user"), getattr(source.cls, "live", False))
    found.append(Check("spool", look, "is the disk of agent: spool_directory still there?"))
    return found


def _spool(config: Config, user: str | None, live: bool) -> Iterator[Finding]:
    directory = spool_directory(config)
    if directory is None:
        found = "there is none"
        if live:
            cause = (
                f"while the broker is away {config.agent['queue_mb']:g} MiB of memory take what "
            )
            cause += "is heard; the rest is dropped, and all of it when the agent ends"
            remedy = "give it a folder, agent: {spool_directory: /var/lib/datastalker/spool}"
            yield warning("spool", found, cause, remedy)
        else:
            yield ok("spool", f"{found}: a capture file waits while the broker is away")
        return
    used = _used(directory) / 1048576
    wants = max(0.0, config.agent["spool_mb"] - used)
    yield from folder("spool", directory, "agent: spool_directory, spool_mb", wants)
    if user is not None and os.geteuid() == 0 and not _writable_for(user, directory):
        text = f"wifi_sniffer: user: {user}, whom the agent becomes, has no right there"
        remedy = f"mkdir -p '{directory}' && chown {user} '{directory}'"
        yield failed("spool", f"{directory} can't be written by {user}", text, remedy)
    if used:
        yield ok("spool", f"{size(used)} of earlier runs wait in {directory}: stalk spool check")
    yield from _others(directory, user)
    if os.path.exists(directory / "damaged"):
        cause = "an agent could not read its header: a damaged disk, or a crash"
        remedy = f"see to the disk; then remove {directory / 'damaged'}"
        yield warning("spool", "a segment was set aside as 'damaged'", cause, remedy)


def _others(directory: Path, user: str | None) -> Iterator[Finding]:
    """Segments that whoever the agent is can't read: root has run one here, perhaps."""
    owner = _uid(user) if os.geteuid() == 0 else None
    found = 0
    for path in paths(directory):
        try:
            found += not os.access(path, os.R_OK) or owner not in (None, path.stat().st_uid)
        except OSError:  # the agent was just done with it
            continue
    if found:
        who = user or "the user of the agent"
        cause = f"{who} has not written them: an agent of somebody else, of root, did"
        text = f"{found} segments in {directory} can't be read, so nobody sends them"
        yield failed("spool", text, cause, f"chown -R {user or 'USER'} '{directory}'")


def _uid(user: str | None) -> int | None:
    try:
        return None if user is None else pwd.getpwnam(user).pw_uid
    except KeyError:
        return None  # said elsewhere


def _used(directory: Path) -> int:
    total = 0
    for path in paths(directory):
        try:
            total += path.stat().st_size
        except OSError:  # the agent was just done with it
            continue
    return total


def _writable_for(user: str, directory: Path) -> bool:
    """Asked as that user: whether it, or the nearest folder above it that is there, is writable."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return True  # said elsewhere
    there = directory
    while not os.path.exists(there) and there != there.parent:
        there = there.parent
    asked = subprocess.run(
        ["test", "-w", str(there), "-a", "-x", str(there)],
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=os.getgrouplist(user, entry.pw_gid),
        timeout=5,
        check=False,
    )
    return asked.returncode == 0
