"""Where in a topic something begins or ends, as a person writes it."""

from datetime import UTC, datetime

import pytest

from datastalker.position import parse_position, show_time

NOW = datetime(2026, 3, 2, 17, 30, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("now", "2026-03-02 17:30:00"),
        ("-90m", "2026-03-02 16:00:00"),
        ("-1.5h", "2026-03-02 16:00:00"),
        ("-7d", "2026-02-23 17:30:00"),
        ("yesterday", "2026-03-01 00:00:00"),
        ("today", "2026-03-02 00:00:00"),
        ("yesterday 8:15", "2026-03-01 08:15:00"),
        ("2026-03-02", "2026-03-02 00:00:00"),
        ("2026-03-02T17:00:05", "2026-03-02 17:00:05"),
        ("2026-03-02 17:00+01:00", "2026-03-02 16:00:00"),
        ("2026-03-02T17:00Z", "2026-03-02 17:00:00"),
    ],
)
def test_a_time_is_read_as_it_is_meant(text, shown):
    assert show_time(parse_position(text, NOW).time) == shown


def test_an_offset_is_for_every_partition_or_for_those_that_are_named():
    assert parse_position("1200").offset == 1200
    assert parse_position("0:5,3:7").offsets == {0: 5, 3: 7}


@pytest.mark.parametrize("text", ["", "tomorrow", "-2x", "2026-13-01", "1:2,", "-1e9h", "²"])
def test_anything_else_is_refused_with_the_forms_that_there_are(text):
    with pytest.raises(ValueError, match="is neither a time such as -2h"):
        parse_position(text, NOW)
