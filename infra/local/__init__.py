"""A real stack on a bare machine: Kafka, Elasticsearch, a schema registry, without Docker; and
monitor interfaces without Wi-Fi cards.

    stack = Stack(Path("somewhere"))
    stack.kafka.start().bootstrap_servers

`python -m infra.local start|stop|status` is the same for people. Python's standard library only.
"""

from infra.local.elasticsearch import Elasticsearch
from infra.local.errors import StackError
from infra.local.kafka import Kafka
from infra.local.radio import Radio, Uplink
from infra.local.registry import Registry
from infra.local.stack import Stack

__all__ = ["Elasticsearch", "Kafka", "Radio", "Registry", "Stack", "StackError", "Uplink"]
