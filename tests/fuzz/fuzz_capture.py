"""Coverage-guided fuzzing of the parser and of the file readers:

    python tests/fuzz/fuzz_capture.py                    # until ^C, starting from the corpus
    python tests/fuzz/fuzz_capture.py -max_total_time=300 --keep   # and keep what it found

The corpus is one file of hex lines, made from synthetic frames; a test replays it. --keep writes
inputs that reached something new back into it. Needs the package atheris.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]
CORPUS = HERE / "corpus.hex"


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=["capture_agent"]):
        import invariants
    import seeds

    keep = "--keep" in sys.argv
    arguments = [argument for argument in sys.argv if argument != "--keep"]
    folder = Path(tempfile.mkdtemp(prefix="corpus-"))
    inputs = (
        {bytes.fromhex(line) for line in CORPUS.read_text().split()} if CORPUS.exists() else set()
    )
    for index, link_type in enumerate(invariants.LINK_TYPES):
        for header in seeds.headers()[link_type]:
            for frame in seeds.frames()[:: 1 if link_type == 105 else 9]:
                inputs.add(bytes([index + 8 * (len(inputs) % 16)]) + header + frame)
    inputs |= {bytes([0x80 | piece]) + raw for raw in seeds.files() for piece in (0, 7)}
    for number, raw in enumerate(sorted(inputs)):
        (folder / f"seed-{number:05}").write_bytes(raw)
    print(f"{len(inputs)} seeds in {folder}; --keep: {keep}")
    atheris.Setup([*arguments, str(folder), "-max_len=1024"], invariants.check_input)
    atheris.Fuzz()


def merge(folder: str) -> None:
    """Make the corpus of the inputs in a folder that together reach everything: the smallest."""
    files = sorted(Path(folder).iterdir(), key=lambda path: (path.stat().st_size, path.name))
    CORPUS.write_text("".join(path.read_bytes().hex() + "\n" for path in files))
    print(f"{len(files)} inputs in {CORPUS}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--merge"]:
        merge(sys.argv[2])
    else:
        main()
