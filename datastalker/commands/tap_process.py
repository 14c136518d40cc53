"""`stalk tap STAGE`: which process runs the stage and answers; if none does, why, and what to do."""

from __future__ import annotations

from datastalker import pages
from datastalker.config import Config
from datastalker.errors import InputError
from datastalker.options import suggest
from datastalker.pages import Where
from datastalker.tapped import NobodyListensError, Tapped, ask, page_url
from datastalker.tapping import SOURCE

_PORTS = {"agent": 6065, "workers": 6066, "sinks": 6067}
"""To propose: those of docs/metrics.md."""


def find(config: Config | None, url: str | None, name: str, topics: list[str]) -> Tapped:
    """The process that has a stage of this name. Raises InputError."""
    if config is None:
        assert url is not None
        one = ask(page_url(url))
        if name not in one.stages:
            raise InputError(f"{one.url} has no stage '{name}'{suggest(name, one.stages)}")
        return one
    asked = _ask_all(config)
    answering = [said for said in asked.values() if isinstance(said, Tapped)]
    found = [tapped for tapped in answering if name in tapped.stages]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(tapped.url for tapped in found)
        raise InputError(f"several processes have '{name}': choose with --url, of {several}")
    stages = [SOURCE, *(step.label for step in config.steps if step.topics is None)]
    if name not in stages:
        others = (stage for tapped in answering for stage in tapped.stages)
        known = dict.fromkeys([*stages, *topics, *others])
        raise InputError(f"{config.file}: no stage or topic '{name}'{suggest(name, known)}")
    places = pages.all_of(config) if name == SOURCE else pages.of_stage(config, name)
    reasons = [_why_not(config, place, asked.get(place.url)) for place in places]
    raise InputError(_text(f"'{name}' can't be tapped now", reasons))


def running(config: Config | None, url: str | None) -> tuple[list[Tapped], list[str]]:
    """The processes that answer, and why the others don't. Raises InputError where `url` is silent."""
    if config is None:
        assert url is not None
        return [ask(page_url(url))], []
    asked = _ask_all(config)
    silent = [
        _why_not(config, place, asked.get(place.url))
        for place in pages.all_of(config)
        if not isinstance(asked.get(place.url), Tapped)
    ]
    return [said for said in asked.values() if isinstance(said, Tapped)], silent


def _text(what: str, reasons: list[str]) -> str:
    return f"{what}: {reasons[0]}" if len(reasons) == 1 else "\n  ".join([f"{what}:", *reasons])


def _ask_all(config: Config) -> dict[str, Tapped | InputError]:
    """By the URL: what each process with a port says."""
    asked: dict[str, Tapped | InputError] = {}
    for place in pages.all_of(config):
        if place.port:
            try:
                asked[place.url] = ask(place.url)
            except InputError as error:
                asked[place.url] = error
    return asked


def _why_not(config: Config, place: Where, said: Tapped | InputError | None) -> str:
    """Why a process shows no stage, and what to do."""
    setting = place.setting
    if place.port is None:
        port = f"http_port: {_PORTS[setting]}"
        line = (
            f"`{port}` under `{setting}:` in {config.file}"
            if config.settings[setting]
            else f"the line `{setting}: {{{port}}}` to {config.file}, beside `pipeline:`"
        )
        return f"`{place.runs}` has no port to be asked at: add {line}, and start it again"
    if place.port == 0:
        return (
            f"`{place.runs}` takes any port that is free ({setting}: http_port: 0), and its log says "
            "which: name it with --url http://127.0.0.1:PORT"
        )
    if isinstance(said, NobodyListensError):
        return f"nothing listens at {place.url}: `{place.runs}` has to be running"
    if isinstance(said, InputError):
        return str(said)
    return (
        f"the process at {place.url} has no such stage now: it was started with another "
        "configuration, or is a worker that has no partitions yet"
    )
