"""The docs site: whole, strict, and without the net. The pictures of terminals: as the code is now."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.screenshots import IMAGES, take, text_of

ROOT = Path(__file__).resolve().parents[2]


def build(root, folder):
    """Build the site of a checkout; gives exit code and what was said."""
    command = [sys.executable, str(root / "docs/site/__main__.py"), str(folder)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    code, said = build(ROOT, folder)
    assert code == 0, said
    return folder


def test_every_page_is_built_and_can_be_searched(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    searched = json.loads(index[index.index("{") : index.rindex("}") + 1])["docnames"]
    wanted = {f"docs/{page.stem}" for page in (ROOT / "docs").glob("*.md")} | {
        "README",
        "CHANGELOG",
    }

    assert wanted - set(searched) == set()
    assert [page for page in wanted if not (site / f"{page}.html").exists()] == []
    assert "url=README.html" in (site / "index.html").read_text(encoding="utf-8")


def test_a_word_is_found_on_the_page_that_is_about_it(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    found = json.loads(index[index.index("{") : index.rindex("}") + 1])
    page = (site / "search.html").read_text(encoding="utf-8")

    def pages(stem):
        numbers = [found[part].get(stem, []) for part in ("terms", "titleterms")]
        listed = [n for some in numbers for n in (some if isinstance(some, list) else [some])]
        return {found["docnames"][number] for number in listed}

    assert "docs/kibana" in pages("dashboard")
    assert "docs/replay" in pages("resum")
    assert {"docs/tap", "docs/commands"} <= pages("tap")
    for script in re.findall(r'<script src="([^"?]+)', page):
        assert (site / script).exists(), script
    assert "searchindex.js" in page


def test_a_reader_without_a_network_sees_all_of_it(site):
    fetched = re.compile(
        r"""(?:\ssrc=["']?|<link[^>]*\shref=["']?|url\(["']?|@import\s+["']?)((?:https?:)?//[^"')\s>]+)"""
    )
    from_the_net = {
        (path.name, address)
        for path in [*site.rglob("*.html"), *site.rglob("*.css"), *site.rglob("*.svg")]
        for address in fetched.findall(path.read_text(encoding="utf-8"))
    }

    assert from_the_net == set()


def test_what_leads_nowhere_fails_the_build(tmp_path):
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "docs/site", root / "docs/site")
    (root / "docs/site/nav.yaml").write_text("- Start: [docs/here, docs/gone]\n")
    (root / "README.md").write_text("# Start\n\n[a page](docs/nowhere.md)\n")
    (root / "docs/here.md").write_text("# Here\n\n[a place](#no-such-place), ![](no.svg)\n")
    (root / "docs/alone.md").write_text("# Alone\n")

    code, said = build(root, tmp_path / "site")

    assert code == 1
    for wrong in ("docs/nowhere.md", "no-such-place", "docs/no.svg", "docs/gone"):
        assert wrong in said
    assert re.search(r"alone.md.*isn't included in any toctree", said)


@pytest.mark.parametrize("name", ["check", "report"])
def test_a_picture_shows_what_the_command_says_now(name):
    assert text_of(take(name)) == drawn(name), "run `make screenshots`"


def test_the_picture_of_topics_plan_shows_what_it_says_now(own_kafka):
    said = text_of(take("topics-plan", own_kafka().bootstrap_servers))

    assert said == drawn("topics-plan"), "run `make screenshots`"


def test_the_picture_of_doctor_shows_what_it_looks_at_now():
    """What it finds is this machine's."""
    looked_at = re.compile(r"^(?:ok|warning|failed) +([^:]+):", re.M)
    now, then = (
        looked_at.findall("\n".join(t)) for t in (text_of(take("doctor")), drawn("doctor"))
    )

    assert len(now) > 5
    assert now == then, "run `make screenshots`"


def drawn(name):
    return text_of((IMAGES / f"{name}.svg").read_text(encoding="utf-8"))
