"""`stalk kibana install`, beside a server that answers as Kibana does."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from datastalker.cli import main
from infra.local import Elasticsearch
from sinks.kibana import read, shipped

Make = Callable[..., Any]
Install = Callable[..., tuple[int, str, str]]

BASIC = "Basic ZWxhc3RpYzpvcGVuLXNlc2FtZQ=="
KEY = "ApiKey a2V5OnNlY3JldA=="
COUNT = len(read(shipped()))


@pytest.fixture
def install(capsys: pytest.CaptureFixture[str]) -> Install:
    """Runs the command; gives its exit code, and what it wrote to standard output and error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            main(["kibana", "install", *arguments])
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        written = capsys.readouterr()
        return code, written.out, written.err

    return run


def test_installing_twice_leaves_what_installing_once_did(
    kibana_server: Make, install: Install
) -> None:
    server = kibana_server()
    code, said, _ = install("--url", server.url)
    assert (code, said.count(" made"), len(server.objects)) == (0, COUNT, COUNT)
    before = dict(server.objects)

    code, said, _ = install("--url", server.url)
    assert (code, said.count(" replaced"), server.objects) == (0, COUNT, before)
    assert f"{COUNT} objects are in {server.url}, space default, Kibana 8.19.21" in said


def test_what_is_there_is_kept_and_named_without_overwrite(
    kibana_server: Make, install: Install
) -> None:
    server = kibana_server()
    install("--url", server.url)
    mine = server.objects["default", "dashboard", "datastalker-overview"] = {"mine": True}
    del server.objects["default", "lens", "datastalker-alerts-cut"]

    code, _, said = install("--url", server.url, "--no-overwrite")
    assert code == 1
    assert "dashboard datastalker-overview: it is there already; leave --no-overwrite out" in said
    assert f"stalk: kibana: {COUNT - 1} objects were refused; {server.url}" in said
    assert server.objects["default", "dashboard", "datastalker-overview"] is mine
    assert ("default", "lens", "datastalker-alerts-cut") not in server.objects  # all or nothing


def test_another_space_is_another_place(kibana_server: Make, install: Install) -> None:
    server = kibana_server()
    code, said, _ = install("--url", server.url, "--space", "lab")
    assert (code, {space for space, _, _ in server.objects}) == (0, {"lab"})
    assert f"{server.url}, space lab" in said


def test_a_space_that_is_not_there_is_an_error_and_nothing_is_imported(
    kibana_server: Make, install: Install
) -> None:
    server = kibana_server()
    code, _, said = install("--url", server.url, "--space", "attic")
    assert (code, server.objects) == (1, {})
    assert "has no space 'attic'; make it (Stack Management, Spaces)" in said


@pytest.mark.parametrize(
    ("trouble", "value", "sentence"),
    [
        (
            "unknown_types",
            {"lens"},
            "lens datastalker-overview-kinds: this Kibana knows no objects",
        ),
        ("full", True, "dashboard datastalker-alerts: disk is full (507)"),
    ],
)
def test_what_kibana_refuses_is_said_object_by_object(
    kibana_server: Make, install: Install, trouble: str, value: Any, sentence: str
) -> None:
    server = kibana_server()
    setattr(server, trouble, value)
    code, _, said = install("--url", server.url)
    assert code == 1
    assert sentence in said


def test_what_an_object_refers_to_and_is_not_there_is_named(
    kibana_server: Make, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = kibana_server()
    less = [each for each in read(shipped()) if each["id"] != "datastalker-view-alert"]
    monkeypatch.setattr("sinks.kibana.read", lambda *_: less)
    code, _, said = install("--url", server.url)
    assert (code, server.objects) == (1, {})
    wanted = "it refers to what is not there: index-pattern datastalker-view-alert"
    assert f"lens datastalker-alerts-count: {wanted}" in said


def test_one_that_is_not_ready_yet_is_waited_for(kibana_server: Make, install: Install) -> None:
    server = kibana_server()
    server.starting = 1
    code, _, said = install("--url", server.url)
    assert (code, len(server.objects)) == (0, COUNT)
    assert f"waits for {server.url}, which is not ready yet" in said


def test_one_that_never_gets_ready_is_an_error(kibana_server: Make, install: Install) -> None:
    server = kibana_server()
    server.starting = 1000
    code, _, said = install("--url", server.url, "--wait", "0")
    assert code == 1
    assert "is not ready after 0 s (Kibana server is not ready yet)" in said


def test_one_that_is_too_old_is_an_error(kibana_server: Make, install: Install) -> None:
    server = kibana_server()
    server.version = "8.8.2"
    code, _, said = install("--url", server.url)
    assert (code, server.objects) == (1, {})
    assert "is of version 8.8.2, and the dashboards need 8.9 or later" in said


@pytest.mark.parametrize("version", ["8.9.0", "8.19.21", "9.2.1", ""])
def test_8_9_and_later_are_taken(kibana_server: Make, install: Install, version: str) -> None:
    server = kibana_server()
    server.version = version  # "": one that keeps it to itself
    assert install("--url", server.url)[0] == 0


@pytest.mark.parametrize(
    "who", [["--username", "elastic", "--password", "open-sesame"], ["--api-key", KEY.split()[1]]]
)
def test_who_has_a_password_or_a_key_is_let_in(
    kibana_server: Make, install: Install, who: list[str]
) -> None:
    server = kibana_server()
    server.allowed = {BASIC, KEY}
    assert install("--url", server.url, *who)[0] == 0


@pytest.mark.parametrize(
    ("who", "remedy"),
    [
        ([], "give username and password, or api_key"),
        (["--username", "elastic", "--password", "not-this"], "correct username and password"),
    ],
)
def test_who_has_not_is_told_so_and_no_password_is_shown(
    kibana_server: Make, install: Install, who: list[str], remedy: str
) -> None:
    server = kibana_server()
    server.allowed = {BASIC}
    code, _, said = install("--url", server.url, *who)
    assert code == 1
    assert f"lets nobody in without a right password (401): {remedy}" in said
    assert "not-this" not in said


def test_a_user_without_the_right_is_told_which(kibana_server: Make, install: Install) -> None:
    server = kibana_server()
    server.may_write = False
    code, _, said = install("--url", server.url)
    assert code == 1
    assert "refuses the dashboards (403): that user needs the right to Saved Objects" in said


def test_a_base_path_belongs_to_the_url(kibana_server: Make, install: Install) -> None:
    server = kibana_server(base="/kibana")
    assert install("--url", f"{server.url}/")[0] == 0
    code, _, said = install("--url", server.url.removesuffix("/kibana"))
    assert code == 1
    assert "has no such page (404): it is no Kibana, or it has a base path" in said


def test_the_address_of_elasticsearch_is_known_for_what_it_is_not(
    elasticsearch: Elasticsearch, install: Install
) -> None:
    code, _, said = install("--url", elasticsearch.url)
    assert code == 1
    assert "has no such page (405): it is no Kibana" in said
    assert "5601" in said


def test_a_page_that_sends_us_on_is_not_followed(kibana_server: Make, install: Install) -> None:
    server = kibana_server()
    server.answer = lambda *_: (302, "")
    code, _, said = install("--url", server.url)
    assert code == 1
    assert "sends us on to '/login?next=%2F'; give the URL at which Kibana itself answers" in said


def test_what_is_no_kibana_is_said(kibana_server: Make, install: Install) -> None:
    server = kibana_server()
    server.answer = lambda *_: (200, "<h1>It works!\x1b[2J</h1>")
    code, _, said = install("--url", server.url)
    assert (code, "\x1b" in said) == (1, False)
    assert "what answers is no Kibana; correct the URL" in said


def test_nobody_there_is_said(install: Install) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    code, _, said = install("--url", f"http://127.0.0.1:{port}", "--wait", "0")
    assert code == 1
    assert "can't be reached; correct the URL or start Kibana" in said


def test_one_that_does_not_listen_yet_is_waited_for(kibana_server: Make, install: Install) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    servers: list[Any] = []
    later = Timer(1.5, lambda: servers.append(kibana_server(port=port)))
    later.start()
    code, _, said = install("--url", f"http://127.0.0.1:{port}")
    later.join()
    assert (code, len(servers[0].objects)) == (0, COUNT)
    assert said.count(f"waits for http://127.0.0.1:{port}, where nothing listens yet") == 1


def test_over_tls_with_the_certificate_of_who_signed(
    kibana_server: Make, install: Install, certificate: Path
) -> None:
    server = kibana_server(tls=certificate)
    ca = str(certificate.with_name("ca.pem"))
    assert install("--url", server.url, "--ca", ca)[0] == 0


def test_a_certificate_of_nobody_known_is_refused_before_a_password_is_sent(
    kibana_server: Make, install: Install, certificate: Path
) -> None:
    server = kibana_server(tls=certificate)
    code, _, said = install("--url", server.url, "--username", "elastic", "--password", "x")
    assert (code, server.asked) == (1, [])
    assert "its certificate can't be trusted; give the file" in said


def test_http_where_tls_is_spoken_and_the_other_way_round(
    kibana_server: Make, install: Install, certificate: Path
) -> None:
    secure, plain = kibana_server(tls=certificate), kibana_server()
    code, _, said = install("--url", secure.url.replace("https", "http"))
    assert (code, "does it speak https://?" in said) == (1, True), said
    code, _, said = install("--url", plain.url.replace("http", "https"))
    assert (code, "does it speak plain http://?" in said) == (1, True), said


def test_the_configuration_says_where_and_as_whom(
    kibana_server: Make, install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = kibana_server()
    server.allowed = {BASIC}
    monkeypatch.setenv("PASSWORD_OF_KIBANA", "open-sesame")
    config = tmp_path / "config.yaml"
    config.write_text(
        f"kibana: {{url: '{server.url}', space: lab, username: elastic,\n"
        "  password: '${PASSWORD_OF_KIBANA}'}\n"
        "pipeline: [{pcap: {path: '-'}}, {elasticsearch: {index: wifi-2}}]\n"
    )
    assert install("-c", str(config))[0] == 0
    view = server.objects["lab", "index-pattern", "datastalker-view-frame"]
    assert view["attributes"]["title"] == "wifi-2-frame*"

    code, _, said = install("-c", str(config), "--api-key", "other")  # goes before it
    assert (code, "correct username and password, or api_key" in said) == (1, True)


def test_a_mistake_in_the_configuration_is_shown_where_it_is(
    install: Install, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "kibana: {url: localhost, username: elastic, spaces: lab}\npipeline: [{pcap: {path: '-'}}]\n"
    )
    code, _, said = install("-c", str(config))
    assert code == 2
    assert "must begin with http:// or https://, as in http://localhost:5601" in said
    assert "did you mean 'space'?" in said
    assert "give username and password, or neither" in said


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--url", "http://"),
        ("--url", "http://[::1"),
        ("--url", "http://localhost:port"),
        ("--index", 'my"index'),
        ("--index", "Mine"),
        ("--space", "My Space"),
    ],
)
def test_what_can_be_no_address_or_name_is_refused_at_once(
    kibana_server: Make, install: Install, option: str, value: str
) -> None:
    server = kibana_server()

    code, _, said = install("--url", server.url, option, value)

    assert (code, server.objects) == (2, {})
    assert f"Invalid value for {option}: " in said
