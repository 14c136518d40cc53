"""The other end of a tap: asks the pages of processes what can be tapped, and reads what comes."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from datastalker.errors import InputError
from datastalker.message import Message
from datastalker.tapping import COUNTS

_SECONDS = 5.0
_SILENT_SECONDS = 15.0  # it says something each second

Counts = Mapping[str, int]


class NobodyListensError(InputError):
    """The address is that of a machine which is there, and no process has the port."""


@dataclass(frozen=True)
class Tapped:
    """A process whose messages can be looked at. `stages`: by name, where (in, out)."""

    url: str
    stages: dict[str, list[str]]


def page_url(text: str) -> str:
    """The URL of a page as somebody typed it, such as `localhost:6060`."""
    return (text if "://" in text else f"http://{text}").rstrip("/")


def open_url(url: str, seconds: float) -> Any:
    """What is served there. A proxy of the environment is not asked for this machine's own pages:
    it would look for them on its own."""
    host = urlsplit(url).hostname or ""
    own = host == "localhost" or host.startswith("127.") or host == "::1"
    proxies = urllib.request.ProxyHandler({} if own else None)
    return urllib.request.build_opener(proxies).open(url, timeout=seconds)


def ask(url: str) -> Tapped:
    """What can be tapped there. Raises InputError where nobody answers, or not so."""
    try:
        with open_url(f"{url}/taps", _SECONDS) as answer:
            stages = json.load(answer)
    except urllib.error.HTTPError as error:
        raise _refused(url, error) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise no_answer(url, error) from None
    if not isinstance(stages, dict) or not all(isinstance(at, list) for at in stages.values()):
        raise no_answer(url)
    return Tapped(url, stages)


def no_answer(url: str, error: Exception | None = None) -> InputError:
    """What to raise where there is no answer, or (no `error`) none of ours."""
    if isinstance(error, http.client.InvalidURL):
        return InputError(f"{url} is no address: {error}; write http://HOST:PORT")
    if isinstance(error, urllib.error.HTTPError):
        error.close()
    why = getattr(error, "reason", error)
    if isinstance(why, ConnectionRefusedError):
        return NobodyListensError(
            f"nothing listens at {url}: a process has to be running, with this as its http_port"
        )
    if isinstance(why, OSError):
        return InputError(f"{url} can't be reached: {why.strerror or why}")
    return InputError(f"what listens at {url} is no process of DataStalker: look for another port")


def read(
    url: str, stage: str, at: str | None, when: Mapping[str, Any]
) -> Iterator[Message | Counts]:
    """The messages that pass, and, each second, the counts of the process; for ever.

    `when`: as far as the process may look at it. Raises InputError where it ends or refuses.
    """
    query = {"stage": stage, "at": at or "", "filter": json.dumps(for_process(when) or "")}
    query = {name: text for name, text in query.items() if text not in ("", '""')}
    try:
        with open_url(f"{url}/tap?{urlencode(query)}", _SILENT_SECONDS) as answer:
            for line in answer:
                said = json.loads(line)
                if isinstance(said, dict):
                    yield Message(said)
                elif isinstance(said, list) and said[:1] == [COUNTS]:
                    yield said[1]
    except urllib.error.HTTPError as error:
        raise _refused(url, error) from None
    except TimeoutError:
        raise InputError(f"{url} has said nothing for {_SILENT_SECONDS:.0f} s") from None
    except (OSError, ValueError, http.client.HTTPException):
        pass
    raise InputError(f"the process at {url} has ended")


def for_process(when: Mapping[str, Any]) -> dict[str, Any]:
    """A condition without its regular expressions: the process runs none, they are for us."""
    found = {}
    for field, wanted in when.items():
        if isinstance(wanted, Mapping):
            wanted = {name: value for name, value in wanted.items() if name != "matches"}
            if not wanted:
                continue
        found[field] = wanted
    return found


def _refused(url: str, error: urllib.error.HTTPError) -> InputError:
    if error.code == 404:  # ours know the path
        return no_answer(url, error)
    with error:
        said = error.read(500).decode("utf-8", "replace").strip()
    return InputError(f"{url}: {said or error.reason}")
