"""Where in a topic something begins or ends, as a person writes it."""

from datetime import UTC, datetime

import pytest

from datastalker.position import is_before, parse_position, show_time

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


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (
            "03:10",
            "write 'today 03:10' or 'yesterday 03:10', or partition 3 from offset 10 as 3:10",
        ),
        ("00:30", "or partition 0 from offset 30 as 0:30"),
        ("10:05", "or partition 10 from offset 5 as 10:005"),
        ("23:59:30", "write 'today 23:59:30' or 'yesterday 23:59:30'"),
    ],
)
def test_what_may_be_a_time_of_day_is_not_taken_for_a_partition(text, remedy):
    with pytest.raises(ValueError, match=f"^'{text}' looks like a time of day: .*{remedy}$"):
        parse_position(text, NOW)


def test_a_partition_and_an_offset_that_are_no_time_of_day_are_taken_for_what_they_are():
    assert parse_position("3:10").offsets == {3: 10}
    assert parse_position("10:005").offsets == {10: 5}
    assert parse_position("24:10").offsets == {24: 10}
    assert parse_position("03:10,04:20").offsets == {3: 10, 4: 20}


@pytest.mark.parametrize(
    ("begin", "end"),
    [("-1h", "-2h"), ("today", "yesterday"), ("1", "0"), ("0:4,1:4", "1:3"), ("end", "beginning")],
)
def test_a_range_that_ends_before_it_begins_is_known(begin, end):
    first, second = parse_position(begin, NOW), parse_position(end, NOW)
    assert is_before(second, first)
    assert not is_before(first, second)


@pytest.mark.parametrize(
    ("begin", "end"), [("-1h", "0"), ("5", "now"), ("1", "1"), ("now", "now"), ("0:4", "1:3")]
)
def test_of_others_only_the_broker_knows(begin, end):
    assert not is_before(parse_position(end, NOW), parse_position(begin, NOW + 1))
