"""How the docs site is built from the pages that lie in the repository, as they are: `make docs`.

The source folder is the checkout, so a link means the same on the site and where the pages lie. The
start page is README.md; nav.yaml, beside this file, says the order of the others.
"""

from pathlib import Path
from typing import Any

import yaml
from pygments.lexers.special import TextLexer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

project = "DataStalker"
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "datastalker/data/README.md"]
# What else the checkout holds isn't even looked into: environments, stores, captures.
exclude_patterns = [
    *(folder.name for folder in ROOT.iterdir() if folder.is_dir()),
    "datastalker/[!d]*",
    "docs/site",
]
exclude_patterns = [name for name in exclude_patterns if name not in ("docs", "datastalker")]

extensions = ["myst_parser"]
myst_heading_anchors = 4
highlight_language = "text"
nitpicky = True
smartquotes = False

html_theme = "furo"
html_title = "DataStalker"
html_theme_options = {"top_of_page_buttons": []}
html_additional_pages = {"index": "start.html"}
templates_path = [str(HERE)]
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_use_index = False


def _navigation(app: Any, page: str, source: list[str]) -> None:
    """Puts the table of contents behind the start page: README.md itself stays free of it."""
    if page != root_doc:
        return
    for part in yaml.safe_load((HERE / "nav.yaml").read_text(encoding="utf-8")):
        for title, pages in part.items():
            entries = "\n".join(pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{entries}\n```\n"


def setup(app: Any) -> None:
    app.add_lexer("mermaid", TextLexer)  # drawn where the pages lie; here its text is shown
    app.connect("source-read", _navigation)
