"""Jars from Maven, downloaded once for all checkouts of a user.

What a server needs lies in ~/.cache/datastalker/stack/NAME-HASH, hashed from what was asked for:
another version is another folder. A folder is complete, since it is renamed into place at the end.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from infra.local.errors import StackError

# Later versions read the parents of an archive's pom even where the archive alone is wanted; not
# every mirror has those of the registry.
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:2.8"
_COLOUR = re.compile("\x1b\\[[0-9;]*m")
_UNTRUSTED = (
    "Java does not trust the certificate it was shown: where a proxy opens TLS, add that proxy's "
    "certificate to Java's (keytool -importcert -cacerts -file …)."
)
_REMEDY = "Is the network there? To use a mirror, name it in ~/.m2/settings.xml"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One artifact of Maven Central."""

    group: str
    name: str
    version: str
    type: str = "jar"
    classifier: str = ""

    def __str__(self) -> str:
        return ":".join([self.group, self.name, self.version, self.type, self.classifier]).strip(
            ":"
        )

    def xml(self) -> str:
        """As a dependency of a pom."""
        return (
            f"<dependency><groupId>{self.group}</groupId><artifactId>{self.name}</artifactId>"
            f"<version>{self.version}</version></dependency>"
        )


def cache_directory() -> Path:
    """Where downloads are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "datastalker", "stack")


def fetch(
    name: str,
    artifacts: Sequence[Artifact],
    say: Callable[[str], None],
    finish: Callable[[Path], None] = lambda folder: None,
    recipe: bytes = b"",
    alone: bool = False,
) -> Path:
    """A folder with the artifacts and what they depend on in lib/, after `finish(folder)`.

    `recipe` stands for what `finish` does: with another one, it is done again. `alone` takes one
    artifact without what it depends on, and without its pom.
    """
    pom = _POM.format("".join(artifact.xml() for artifact in artifacts))
    asked = f"{pom} {alone} {' '.join(map(str, artifacts))}"
    wanted = hashlib.sha256(asked.encode() + recipe).hexdigest()[:16]
    folder = cache_directory() / f"{name}-{wanted}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as undo:
        lock = os.open(folder.parent, os.O_RDONLY)
        undo.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)  # Maven's own cache does not take two writers
        if folder.is_dir():
            return folder
        for left_over in folder.parent.glob("unfinished-*"):  # by who was killed
            shutil.rmtree(left_over, ignore_errors=True)
        say(f"downloads {artifacts[0]} from Maven (once)")
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder.parent))
        undo.callback(shutil.rmtree, unfinished, ignore_errors=True)
        (unfinished / "pom.xml").write_text(pom)
        _copy(unfinished, artifacts[0] if alone else None)
        finish(unfinished)
        unfinished.rename(folder)
    return folder


def _copy(folder: Path, alone: Artifact | None) -> None:
    command = ["mvn", "-q", "-B", "-Dstyle.color=never", f"-DoutputDirectory={folder / 'lib'}"]
    if alone:
        command += [f"{_PLUGIN}:copy", f"-Dartifact={alone}"]
    else:
        command += ["-f", str(folder / "pom.xml")]
        command += [f"{_PLUGIN}:copy-dependencies", "-DincludeScope=runtime"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1800
        )
    except OSError as error:
        raise StackError(f"mvn can't be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise StackError(f"Maven's download did not end in 30 minutes: {_REMEDY}") from None
    if done.returncode or not any((folder / "lib").glob("*")):
        lines = _COLOUR.sub("", done.stdout).splitlines()
        errors = [line for line in lines if line.startswith("[ERROR] ") and line[8:].strip()]
        untrusted = [_UNTRUSTED] if "PKIX" in done.stdout else []
        raise StackError("\n".join(["Maven could not download:", *errors[:1], *untrusted, _REMEDY]))


_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>stack</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>{}</dependencies>
</project>
"""
