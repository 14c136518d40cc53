"""Builds the docs site into a folder: `python -m docs.site FOLDER`.

A broken link, a missing page or anchor, a page that is not in nav.yaml, anything that Sphinx warns
of: all of them are shown, and the exit code is 1.
"""

import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import build_main

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def build(folder: str) -> int:
    """Build all pages anew; gives 0, or 1 with what is wrong on standard error."""
    with tempfile.TemporaryDirectory() as trees:
        strict = ["--fail-on-warning", "--quiet", "--fresh-env", "--doctree-dir", trees]
        return build_main([*strict, "--conf-dir", str(HERE), str(ROOT), folder])


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else "site"
    code = build(folder)
    if code == 0:
        print(f"open {Path(folder).resolve()}/index.html")
    sys.exit(code)
