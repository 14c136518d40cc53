"""The Confluent wire format: a zero byte, the schema's id in a registry as four, then the record.

Schemas are registered under `TOPIC-value` (the TopicName strategy) when a writer starts; a reader
asks for an id once. Any registry with Confluent's API will do: Confluent's own, Apicurio, Karapace.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import schemas
from datastalker import extras
from datastalker.errors import RegistryError, WireError
from datastalker.registry_settings import SchemaRegistrySettings
from datastalker.wire.framing import Framing, SingleObject, Writer

TIMEOUT_SECONDS = 10
"""How long one request may take."""

__all__ = ["Confluent", "SchemaRegistrySettings", "framing_of"]


class Confluent(Framing):
    """Writes and reads the Confluent format; reads what was written without a registry too."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """`settings`: those of SchemaRegistrySettings, by name. Raises RegistryError."""
        try:
            from confluent_kafka.schema_registry import SchemaRegistryClient
        except ImportError as error:
            raise RegistryError(
                f"a schema registry needs more packages ({error}): {extras.install('registry')}",
                retriable=False,
            ) from error
        self.url = settings["url"]
        configuration: dict[str, Any] = {"url": self.url, "timeout": TIMEOUT_SECONDS}
        configuration |= {"max.retries": 2, "retries.wait.ms": 200, "retries.max.wait.ms": 1000}
        if settings.get("username") is not None:
            user = f"{settings['username']}:{settings.get('password') or ''}"
            configuration["basic.auth.user.info"] = user
        if settings.get("ca") is not None:
            configuration["ssl.ca.location"] = settings["ca"]
        try:
            self._client = SchemaRegistryClient(configuration)
        except Exception as error:
            text = f"schema_registry: {error}"
            raise RegistryError(text, retriable=False) from error
        self._single_object = SingleObject()
        self._prefixes: dict[tuple[str, str], bytes] = {}
        self._writers: dict[bytes, Writer] = {}

    def prefix(self, name: str, topic: str) -> bytes:
        """Registers the current schema for the topic, the first time. Raises RegistryError."""
        known = self._prefixes.get((name, topic))
        if known is None:
            from confluent_kafka.schema_registry import Schema

            subject = f"{topic}-value"
            try:
                number = self._client.register_schema(subject, Schema(schemas.text(name), "AVRO"))
            except Exception as error:
                raise self._error(error, f"schema '{name}' as {subject}") from error
            known = self._prefixes[name, topic] = b"\0" + number.to_bytes(4, "big")
        return known

    def subjects(self) -> list[str]:
        """What it has schemas for. Raises RegistryError."""
        try:
            return list(self._client.get_subjects())
        except Exception as error:
            raise self._error(error, "to list its subjects") from error

    def look(self, name: str, topic: str) -> Literal["registered", "new", "incompatible"]:
        """Whether it has the current schema for the topic, or would take it. Registers nothing.
        Raises RegistryError."""
        from confluent_kafka.schema_registry import Schema

        subject, schema = f"{topic}-value", Schema(schemas.text(name), "AVRO")
        if subject not in self.subjects():
            return "new"
        try:
            self._client.lookup_schema(subject, schema)
            return "registered"
        except Exception as error:
            if getattr(error, "http_status_code", None) != 404:
                raise self._error(error, f"to look {subject} up") from error
        try:
            fits = self._client.test_compatibility(subject, schema)
        except Exception as error:
            raise self._error(error, f"to compare schema '{name}' with {subject}") from error
        return "new" if fits else "incompatible"

    def writer(self, data: bytes) -> tuple[Writer, int]:
        head = data[:5]
        known = self._writers.get(head)
        if known is None:
            if len(head) < 5 or head[0]:
                return self._single_object.writer(data)
            known = self._writers[head] = self._ask(int.from_bytes(head[1:], "big"))
        return known, 5

    def close(self) -> None:
        self._client.close()

    def _ask(self, number: int) -> Writer:
        try:
            schema = self._client.get_schema(number)
        except Exception as error:
            if getattr(error, "http_status_code", None) == 404:
                raise WireError(
                    f"it was written with schema id {number}, which the registry at {self.url} "
                    "doesn't have: is it the registry of who wrote it?"
                ) from error
            raise self._error(error, f"schema id {number}") from error
        if schema.schema_type != "AVRO" or schema.references:
            raise WireError(f"schema id {number} is no Avro schema of ours: {schema.schema_type}")
        try:
            return Writer(json.loads(schema.schema_str or ""))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise WireError(f"schema id {number} is no Avro schema: {error!r}") from error

    def _error(self, error: Exception, what: str) -> RegistryError:
        """What went wrong with the registry, and whether it may pass."""
        status = getattr(error, "http_status_code", None)
        at = f"the schema registry at {self.url}"
        if status is None:
            return RegistryError(
                f"{at} can't be reached ({error}); is it up, and schema_registry.url right?",
                retriable=True,
            )
        if status in (401, 403):
            text = f"{at} refuses username and password ({error})"
        elif status == 409:
            text = f"{at} refuses {what}, as its versions before are not compatible: {error}"
        else:
            text = f"{at} refuses {what}: {error}"
        return RegistryError(text, retriable=status == 429 or status >= 500)


def framing_of(settings: Mapping[str, Any] | None) -> Framing:
    """The framing that `schema_registry:` asks for; None: no registry."""
    return SingleObject() if settings is None else Confluent(settings)
