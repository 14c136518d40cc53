"""Runs a module under a unit's system call filter, address families and memory rule.

    python confined.py UNIT [WORDS] -m MODULE...

No other program is started: the interpreter may lie where the service's user can't start it.

systemd makes such filters of a unit with libseccomp, and so does this, without systemd.
"""

import ctypes
import runpy
import subprocess
import sys
from pathlib import Path

ALLOW, EPERM = 0x7FFF0000, 0x00050001
EQUAL, MASKED = 4, 7
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_PACKET": 17}
WRITE, EXEC = 2, 4


class Compare(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def calls(group: str) -> set[str]:
    """The system calls of a group, those of the groups in it included."""
    if not group.startswith("@"):
        return {group}
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    ).stdout
    words = [line.strip() for line in said.splitlines()[1:]]
    return set().union(*(calls(word) for word in words if word and not word.startswith("#")))


def confine(unit: Path) -> None:
    lines = [line.partition("=") for line in unit.read_text().splitlines()]
    allowed: set[str] = set()
    for value in (value for name, _, value in lines if name == "SystemCallFilter"):
        found = set().union(*(calls(word) for word in value.removeprefix("~").split()))
        allowed = allowed - found if value.startswith("~") else allowed | found
    families = next(value for name, _, value in lines if name == "RestrictAddressFamilies").split()
    conditions = {
        "socket": [Compare(0, EQUAL, FAMILIES[family], 0) for family in families],
        "mmap": [Compare(2, MASKED, WRITE | EXEC, has) for has in (0, WRITE, EXEC)],
        "mprotect": [Compare(2, MASKED, EXEC, 0)],
        "pkey_mprotect": [Compare(2, MASKED, EXEC, 0)],
    }
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(EPERM)))
    for call in sorted(allowed):
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:  # of another architecture
            continue
        for rule in conditions.get(call, [None]):
            given = (0, None) if rule is None else (1, ctypes.byref(rule))
            done = library.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, *given)
            assert done == 0, (call, done)
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    at = sys.argv.index("-m") + 1
    sys.argv = sys.argv[at:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
