"""Coverage-guided fuzzing of the parser and of the file readers. Needs the package atheris.

    python tests/fuzz/fuzz_capture.py FOLDER -max_total_time=300   # what it finds goes to FOLDER
    python tests/fuzz/fuzz_capture.py --keep FOLDER    # few that go all the ways: the corpus

A FOLDER that is empty is filled with synthetic frames and the corpus. The corpus is one file of
hex lines; a test replays it. No input comes from a real capture.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]
CORPUS = HERE / "corpus.hex"


def main(arguments: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["capture_agent"]):
        import invariants
    folder = Path(next(argument for argument in arguments if not argument.startswith("-")))
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        fill(folder, invariants.LINK_TYPES)
    atheris.Setup([sys.argv[0], *arguments, "-max_len=1024"], invariants.check_input)
    atheris.Fuzz()


def fill(folder: Path, link_types: tuple[int, ...]) -> None:
    import seeds

    inputs = (
        {bytes.fromhex(line) for line in CORPUS.read_text().split()} if CORPUS.exists() else set()
    )
    for index, link_type in enumerate(link_types):
        for header in seeds.headers()[link_type]:
            for frame in seeds.frames()[:: 1 if link_type == 105 else 9]:
                inputs.add(bytes([index + 8 * (len(inputs) % 16)]) + header + frame)
    inputs |= {bytes([0x80 | piece]) + raw for raw in seeds.files() for piece in (0, 7)}
    for number, raw in enumerate(sorted(inputs)):
        (folder / f"seed-{number:05}").write_bytes(raw)


def keep(folder: Path) -> None:
    """Write the corpus: of all inputs, the smallest first, those that go a way not gone before."""
    import invariants

    ways: set[tuple[str, int, int]] = set()
    last = {"line": 0}

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if "capture_agent" not in frame.f_code.co_filename:
            return None
        if event == "line":
            ways.add((frame.f_code.co_name, last["line"], frame.f_lineno))
        last["line"] = frame.f_lineno
        return trace

    found = sorted(
        {path.read_bytes() for path in folder.iterdir()}, key=lambda raw: (len(raw), raw)
    )
    kept = []
    for raw in found:
        before = len(ways)
        sys.settrace(trace)
        try:
            invariants.check_input(raw)
        finally:
            sys.settrace(None)
        if len(ways) > before:
            kept.append(raw)
    CORPUS.write_text("".join(raw.hex() + "\n" for raw in kept if raw))
    print(f"{len(kept)} of {len(found)} inputs in {CORPUS}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--keep":
        keep(Path(sys.argv[2]))
    else:
        main(sys.argv[1:])
