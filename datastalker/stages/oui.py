"""`oui`: who made the device, from its address."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from datastalker.errors import InputError
from datastalker.message import KNOWN_KEYS, Field, Message
from datastalker.options import option
from datastalker.oui import LOCAL_DIGITS, Registry
from datastalker.pipeline import Pipeline, Stage
from datastalker.stats import Stats

_MEMO = 8192
"""Addresses whose answer is kept. A flood of made-up ones empties the memo; it never grows."""


@Pipeline.register_stage("oui")
class Oui(Stage):
    """Sets `ta_oui`, the vendor of `ta`, and `ta_randomized`, whether the address is made up.

    For each of `fields` that a message holds. The vendor is absent where the IEEE's registries
    have none. A randomized (locally administered) address has a vendor only where it lies in a
    block that is registered for such addresses (a CID). Every message passes.
    """

    fields: list[str] = option(
        ["ta"], "keys that hold an address, such as ta or bssid", fields=True
    )
    suffix: str = option("_oui", "the vendor of `ta` becomes the key `ta` with this behind it")
    registry: str | None = option(
        None, "registry file to use; null: the newer of your own (stalk oui update) and the shipped"
    )

    @classmethod
    def check_config(cls, config: dict[str, Any]) -> Iterable[tuple[str, str]]:
        if not config["fields"]:
            yield "fields", "option 'fields' is empty: name a key that holds an address, such as ta"
        for name in config["fields"]:
            for key in (name + config["suffix"], name + "_randomized"):
                if key in KNOWN_KEYS or key in config["fields"]:
                    yield "suffix", f"'{name}' would set '{key}', which means something else"
        if config["suffix"] == "_randomized":
            yield "suffix", "option 'suffix' must not be '_randomized': that key is set already"
        try:
            _registry(config["registry"])
        except InputError as error:
            yield ("registry" if config["registry"] else ""), str(error)

    def __init__(self, stats: Stats, **options: Any) -> None:
        self._lookup = _registry(self.registry).lookup
        self._keys = [(name, name + self.suffix, name + "_randomized") for name in self.fields]
        self._memo: dict[str, str] = {}

    def handle(self, message: Message) -> Message:
        for field, oui, randomized in self._keys:
            address = message.get(field)
            if address:
                vendor = self._memo.get(address)
                if vendor is None:
                    vendor = self._look_up(address)
                if vendor:
                    message[oui] = vendor
                message[randomized] = address[1:2] in LOCAL_DIGITS  # is_randomized, without a call
        return message

    def adds(self) -> list[Field]:
        return [
            field
            for name, oui, randomized in self._keys
            for field in (
                Field(oui, "text", f"vendor of {name}"),
                Field(randomized, "boolean", f"{name} is locally administered"),
            )
        ]

    def _look_up(self, address: str) -> str:
        if len(self._memo) >= _MEMO:
            self._memo.clear()
        vendor = self._memo[address] = self._lookup(address) or ""
        return vendor


def _registry(path: str | None) -> Registry:
    return Registry.load(Path(path).expanduser() if path else None)
