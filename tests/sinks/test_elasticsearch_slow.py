"""What the sink `elasticsearch` says of a server that is there and doesn't answer in time."""

from __future__ import annotations

import socket

import pytest

from datastalker.errors import RetryLater
from datastalker.testing import build, frame
from sinks.elasticsearch import Elasticsearch


def test_a_server_that_is_busy_is_not_called_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:  # the kernel takes what comes
        url = f"http://127.0.0.1:{busy.getsockname()[1]}"
        options = {"hosts": [url], "timeout_seconds": 1}
        sink = build([{"elasticsearch": options}]).entries[0].component
        assert isinstance(sink, Elasticsearch)
        with pytest.raises(RetryLater) as raised:
            sink.write([frame(1, id="a")])
        sink.close()

    said = str(raised.value)
    assert f"{url} takes requests and did not answer within 1 s: it is busy, or hangs; " in said
    assert "timeout_seconds" in said
    assert "can't be reached" not in said
