"""What there is to do until the topics are as the configuration wants them, and to do it.

changes = compare(broker, topic_plans(config))
apply(broker, changes)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Literal

from datastalker import topic_keys
from datastalker.broker import Broker, Topic
from datastalker.errors import BrokerError
from datastalker.topics import TopicPlan

Act = Literal["none", "make", "note key", "change settings", "add partitions", "refuse"]

_SECONDS = 10.0
"""How long until a broker shows what it has been told."""


@dataclass(frozen=True)
class Change:
    """One thing to do with a topic. `about`: what that means, or why it can't be done and what can."""

    plan: TopicPlan
    act: Act
    there: str
    wanted: str
    todo: str
    about: str = ""
    moves_keys: bool = False


def compare(
    broker: Broker, plans: Sequence[TopicPlan], read_by_workers: frozenset[str] = frozenset()
) -> list[Change]:
    """What is there beside what is wanted; topics that are right have one change, `none`."""
    wanted = list(plans)
    if any(plan.frames for plan in wanted):
        wanted.append(topic_keys.plan(broker.kafka))
    there = broker.describe((plan.name for plan in wanted), settings=True)
    keys = broker.keys(there.values())
    changes: list[Change] = []
    for plan in wanted:
        topic = there.get(plan.name)
        if topic is None:
            changes.append(_missing(plan, broker))
        else:
            found = list(_differences(plan, topic, keys.get(plan.name), broker, read_by_workers))
            now = _in_words(plan, topic)
            changes += found or [Change(plan, "none", now, now, "nothing")]
    return changes


def apply(broker: Broker, changes: Iterable[Change]) -> None:
    """Do it, in the order given, and note the keys of topics of frames last.

    What was done when an error ends it stays; to apply again does the rest.
    """
    unnoted = []
    for change in changes:
        plan = change.plan
        if change.act == "make":
            broker.create(plan)
        elif change.act == "change settings":
            broker.alter(plan.name, plan.config())
        elif change.act == "add partitions":
            broker.grow(plan.name, plan.partitions)
        if plan.frames and change.act in ("make", "note key"):
            unnoted.append(plan)
    if unnoted:
        there = _await(broker, [*unnoted, topic_keys.plan(broker.kafka)])
        broker.note_keys({there[plan.name]: plan.key for plan in unnoted})


def verify(broker: Broker, plans: Sequence[TopicPlan], seconds: float = _SECONDS) -> list[Change]:
    """What is left to do, once the broker shows what it was told; nothing, if all went well."""
    until = monotonic() + seconds
    while True:
        left = [change for change in compare(broker, plans) if change.act != "none"]
        if not left or monotonic() > until:
            return left
        sleep(0.1)


def _await(broker: Broker, plans: Iterable[TopicPlan]) -> dict[str, Topic]:
    """Topics that were just made, once the broker shows them."""
    names = {plan.name for plan in plans}
    until = monotonic() + _SECONDS
    while len(there := broker.describe(names)) < len(names):
        if monotonic() > until:
            missing = ", ".join(sorted(names - set(there)))
            text = f"{broker.file}: the broker made {missing} and does not show it; apply again"
            raise BrokerError(text, retriable=True)
        sleep(0.1)
    return there


def _missing(plan: TopicPlan, broker: Broker) -> Change:
    if plan.replication > broker.brokers:
        return Change(
            plan,
            "refuse",
            "missing",
            _in_words(plan),
            "can't be made",
            f"replication: {plan.replication} copies need as many brokers, and there "
            f"{_number(broker.brokers, 'is one', 'are {}')}; write replication: {broker.brokers} "
            "under 'kafka:', or start more",
        )
    return Change(plan, "make", "missing", _in_words(plan), "make it")


def _differences(
    plan: TopicPlan, topic: Topic, key: str | None, broker: Broker, read_by_workers: frozenset[str]
) -> Iterable[Change]:
    ours = plan.name == topic_keys.NAME  # whoever made it first has said how many
    if topic.partitions > plan.partitions and not ours:
        yield _fewer(plan, topic, broker)
    if topic.partitions < plan.partitions:
        moves = "dead_letter" not in plan.types and "state" not in plan.types
        yield Change(
            plan,
            "add partitions",
            _partitions(topic.partitions),
            _partitions(plan.partitions),
            f"add {_partitions(plan.partitions - topic.partitions)}",
            _moved(plan, plan.name in read_by_workers) if moves else "",
            moves,
        )
    if topic.replication != plan.replication and not ours:
        yield Change(
            plan,
            "refuse",
            f"replication {topic.replication}",
            f"replication {plan.replication}",
            "can't be changed here",
            f"write replication: {topic.replication} for it under 'topics:', or move its copies with "
            "Kafka's own kafka-reassign-partitions.sh",
        )
    wrong = {k: v for k, v in plan.config().items() if topic.settings.get(k) != v}
    if wrong:
        yield Change(
            plan,
            "change settings",
            _settings(topic.settings, wrong),
            _settings(plan.config(), wrong),
            "change it",
            _lost(plan, topic.settings),
        )
    if plan.frames and key is None:
        yield Change(
            plan,
            "note key",
            "key not noted",
            f"key {plan.key}",
            f"note key {plan.key}",
            ""
            if topic.partitions == 1
            else "it was not made by `stalk topics apply`, so nobody "
            f"knows by which field it was partitioned; from now on it counts as '{plan.key}'",
        )
    elif plan.frames and key != plan.key:
        yield Change(
            plan,
            "refuse",
            f"key {key}",
            f"key {plan.key}",
            "can't be changed",
            f"its frames lie in partitions by '{key}', and would be mixed with those by '{plan.key}'; "
            f"write key: {key}, or give the topic another name, or {_delete(plan, broker)}",
        )


def _fewer(plan: TopicPlan, topic: Topic, broker: Broker) -> Change:
    if "state" in plan.types:
        remedy = (
            "it must have as many as what the worker reads: give that "
            f"{_partitions(topic.partitions)}, or stop the workers and {_delete(plan, broker)}; "
            "they start with an empty state"
        )
    else:
        remedy = (
            f"Kafka can't take partitions away; write partitions: {topic.partitions} for it under "
            f"'topics:', or give the topic another name, or {_delete(plan, broker)}"
        )
    return Change(
        plan,
        "refuse",
        _partitions(topic.partitions),
        _partitions(plan.partitions),
        "can't be made fewer",
        remedy,
    )


def _delete(plan: TopicPlan, broker: Broker) -> str:
    at = broker.kafka["bootstrap_servers"]
    return (
        f"delete it with all it holds (kafka-topics.sh --bootstrap-server {at} --delete --topic "
        f"{plan.name}) and apply again"
    )


def _moved(plan: TopicPlan, read_by_workers: bool) -> str:
    key = f"'{plan.key}'" if plan.frames else "the key"
    text = f"most values of {key} go to another partition than before. "
    if read_by_workers:
        text += (
            "What workers know of them stays with the old one: for a while copies pass dedupe, and "
            "presence says NEW again, and ABSENT of what it no longer hears. Stop the agents, let "
            "workers and sinks finish what waits, and stop them"
        )
    elif plan.compact:
        text += (
            "The last message of a moved key stays in the old partition beside the newer one in the "
            "new. Stop what reads and writes it"
        )
    else:
        text += (
            "Messages of one key from before and after are not in order. Stop what reads and writes "
            "it"
        )
    return f"{text}; apply with --allow-repartition; start all again"


def _lost(plan: TopicPlan, there: dict[str, str]) -> str:
    if plan.compact:
        compacted = "compact" in there.get("cleanup.policy", "")
        return "" if compacted else "of each key the broker then keeps the last message alone"
    before, after = int(there.get("retention.ms", -1)), plan.retention_ms
    shorter = before < 0 or after < before
    return f"the broker then removes what is older than {_hours(after)}" if shorter else ""


def _in_words(plan: TopicPlan, topic: Topic | None = None) -> str:
    parts = [
        _partitions(topic.partitions if topic else plan.partitions),
        *([f"{plan.replication} copies"] if plan.replication > 1 else []),
        "compacted" if plan.compact else _hours(plan.retention_ms),
        *([f"key {plan.key}"] if plan.frames else []),
    ]
    return ", ".join(parts)


def _settings(values: dict[str, str], names: Iterable[str]) -> str:
    words = []
    for name in names:
        value = values.get(name, "unset")
        if name == "cleanup.policy":
            words.append({"compact": "compacted", "delete": "not compacted"}.get(value, value))
        elif name == "retention.ms" and value.lstrip("-").isdigit():
            words.append(f"kept {_hours(int(value))}")
        else:
            words.append(f"{name} {value}")
    return ", ".join(words)


def _hours(milliseconds: int) -> str:
    return "for ever" if milliseconds < 0 else f"{milliseconds / 3_600_000:g} h"


def _partitions(count: int) -> str:
    return _number(count, "1 partition", "{} partitions")


def _number(count: int, one: str, many: str) -> str:
    return one if count == 1 else many.format(count)
