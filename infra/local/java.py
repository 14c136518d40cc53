"""Java and Maven: found, or installed through apt where that is allowed, or asked for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from infra.local.errors import StackError

OLDEST = 17
JVMS = Path("/usr/lib/jvm")  # where Debian puts them
REMEDY = (
    f"the stack needs a Java development kit, {OLDEST} or newer, and Maven. On Debian or Ubuntu:\n"
    "  sudo apt-get install --no-install-recommends openjdk-17-jdk-headless maven\n"
    "  (default-jdk-headless where there is no 17). "
    "Elsewhere: install both, and set JAVA_HOME if java is not on the PATH."
)

_JDKS = "openjdk-17-jdk-headless", "default-jdk-headless"
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


def find_java() -> tuple[Path | None, list[str]]:
    """A JDK's java that is new enough, and what was wrong with those that are not."""
    wrong = []
    for java in _candidates():
        version = java_version(java)
        if version is None:
            wrong.append(f"{java} does not run")
        elif version < OLDEST:
            wrong.append(f"{java} is Java {version}")
        elif not java.with_name("javac").exists():
            wrong.append(f"{java} is a runtime without javac")
        else:
            return java, []
    return None, wrong


def java_version(java: Path) -> int | None:
    """The major version that `java -version` says, None if it says none."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(done.stderr + done.stdout)
    return int(found[1]) if found and done.returncode == 0 else None


def need_java(say: Callable[[str], None], install: bool = True) -> Path:
    """The java to use, with javac beside it and mvn on the PATH; installs what is missing."""
    java, wrong = find_java()
    if java and shutil.which("mvn"):
        return java
    missing = [*([] if java else ["java"]), *([] if shutil.which("mvn") else ["mvn"])]
    found = f" ({'; '.join(wrong)})" if wrong else ""
    apt = _apt() if install else None
    if apt is None:
        raise StackError(f"{' and '.join(missing)} not found{found}: {REMEDY}")
    _install(apt, missing, say)
    java, wrong = find_java()
    if java is None or not shutil.which("mvn"):
        raise StackError(f"installed, and still not found ({'; '.join(wrong)}): {REMEDY}")
    return java


def _candidates() -> Iterable[Path]:
    home, on_path = os.environ.get("JAVA_HOME"), shutil.which("java")
    if home:
        yield Path(home, "bin", "java")
    if on_path:
        yield Path(on_path).resolve()
    yield from sorted(JVMS.glob("*/bin/java"))


def _apt() -> list[str] | None:
    """How apt-get may be called here, None where it may not."""
    if not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return ["apt-get"]
    sudo = ["sudo", "-n"]
    if shutil.which("sudo") and not subprocess.run([*sudo, "true"], capture_output=True).returncode:
        return [*sudo, "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    return None


def _install(apt: list[str], missing: list[str], say: Callable[[str], None]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*apt, "-qq", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    say("reads Debian's lists of packages (apt-get update)")
    run("update")
    packages = ["maven"] if "mvn" in missing else []
    if "java" in missing:
        known = [jdk for jdk in _JDKS if not run("install", "--simulate", jdk).returncode]
        packages.append(known[0] if known else _JDKS[0])
    say(f"installs the Debian packages {' and '.join(packages)}")
    done = run("install", "-y", "--no-install-recommends", *packages)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise StackError(f"apt-get could not install them ({' '.join(last)}): {REMEDY}")
