"""When a worker is in trouble, and what its log leaves out."""

from __future__ import annotations

import logging
from time import sleep

from processors.logs import Seldom
from processors.status import LEAVING, RUNNING, Status

SHORT, LONG = 0.2, 60.0


def running(*, stall: float = SHORT, leave: float = LONG) -> Status:
    status = Status(stall, LONG, leave)
    status.enter(RUNNING)
    return status


def pass_time(status: Status) -> None:
    """Longer than may be, with an event loop that lives."""
    sleep(2 * SHORT)
    status.enter(status.phase)
    status.beat += 2 * SHORT
    status.answered += 2 * SHORT


def test_work_that_comes_after_a_quiet_night_is_no_stall() -> None:
    status = running()
    pass_time(status)

    status.measured("home-1", {("frames", 0): 1})
    status.take("home-1")

    assert status.trouble() == ""
    pass_time(status)
    assert status.trouble().startswith("home-1: nothing was finished for 0 s, and 1 wait")


def test_a_segment_that_is_stuck_is_no_better_for_another_that_goes_on() -> None:
    status = running()
    status.take("home-1")
    pass_time(status)
    status.take("home-2")
    status.finished("home-2", repeated=False, dead=False)
    status.leave("home-2")

    assert status.trouble().startswith("home-1: nothing was finished")
    assert not status.ready


def test_a_segment_may_wait_while_the_messages_of_another_are_taken() -> None:
    status = running()
    status.measured("home-2", {("between", 0): 9})
    pass_time(status)
    status.take("home-1")
    status.finished("home-1", repeated=False, dead=False)

    assert status.trouble() == ""


def test_a_broker_that_does_not_answer_makes_a_worker_unready_and_does_not_end_it() -> None:
    status = running()
    sleep(2 * SHORT)
    status.beat += 2 * SHORT

    assert not status.ready
    assert status.health.phase == "the broker has not answered for 0 s"
    assert status.trouble() == ""
    status.measured("home-1", {})
    assert status.ready


def test_what_is_in_hand_at_the_end_is_not_waited_for_without_an_end() -> None:
    status = running(leave=SHORT)
    status.take("home-1")
    status.enter(LEAVING)
    assert status.trouble() == ""
    sleep(2 * SHORT)

    assert "can't finish what is in hand" in status.trouble()


def test_what_a_library_says_over_and_over_is_said_once_in_a_while() -> None:
    seldom = Seldom(SHORT)

    def say(name: str, text: str, *args: object) -> logging.LogRecord | None:
        record = logging.LogRecord(name, logging.ERROR, "x.py", 1, text, args, None)
        return record if seldom.filter(record) else None

    said = [say("aiokafka", "no connection to node %d", n) for n in range(5)]
    assert [record is not None for record in said] == [True, False, False, False, False]
    assert say("aiokafka", "another thing") is not None
    ours = [say("datastalker.worker", "a dead letter %d", n) for n in range(2)]
    assert None not in ours
    sleep(2 * SHORT)
    later = say("aiokafka", "no connection to node %d", 7)
    assert later is not None
    assert later.getMessage() == "no connection to node 7 (4 more of these since the last)"
