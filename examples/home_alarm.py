"""`home_alarm`: arms itself when nobody is home, and tells who comes then.

It stands below `presence` and goes by its events, and by time: it arms a while after the last of
the residents has gone, or where none was heard since it started; a device that is strange and near
while it is armed is an alarm. All it knows is in its state, so over Kafka it knows it after a crash
too; a run in one process begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from datastalker.address import Address
from datastalker.options import option
from datastalker.pipeline import Message, Pipeline, Stage


@Pipeline.register_stage("home_alarm")
class HomeAlarm(Stage):
    """Raises alerts: `armed`, `disarmed`, and `intruder`. Everything passes."""

    residents: list[Address] = option(help="addresses of the phones of those who live here")
    arm_after_seconds: float = option(60, "arm so long after the last has gone", minimum=0)
    empty_after_seconds: float = option(
        600, "or so long after the start, where none was heard", minimum=0
    )
    near_dbm: float = option(-65, "a stranger counts when heard as loud as this", maximum=0)

    emits: ClassVar[tuple[str, ...]] = ("alert",)

    @classmethod
    def check_config(cls, config: dict[str, Any]) -> Iterable[tuple[str, str]]:
        if not config["residents"]:
            yield "residents", "nobody would ever disarm it; list the addresses of their phones"

    def handle(self, message: Message) -> Message | list[Message]:
        if message.type != "presence":
            return message
        key, event, time = message["key"], message["event"], message["timestamp"]
        if key not in self.residents:
            near = (message["signal_max_dbm"] or -100) >= self.near_dbm
            if near and event == "NEW" and "armed" in self.state:
                return [message, _alert("intruder", time, device=key)]
            return message
        home = set(self.state.get("home", []))
        alerts = []
        if event == "ABSENT":
            home.discard(key)
            if not home:
                self._arm_at(time + int(self.arm_after_seconds * 1e6))
        else:
            home.add(key)
            self.state.pop("arming")
            if self.state.pop("armed"):
                alerts.append(_alert("disarmed", time, device=key))
        self.state["home"] = sorted(home)
        return [message, *alerts]

    def tick(self, now: int) -> Iterable[Message]:
        if "home" not in self.state:  # it has just started, and knows of nobody
            self.state["home"] = []
            self._arm_at(now + int(self.empty_after_seconds * 1e6))
        for key, due, expires in self.state.expired(now):
            if key == "arming" and expires <= now:
                self.state["armed"] = True
                yield _alert("armed", due)

    def _arm_at(self, due: int) -> None:
        self.state.set("arming", due, expires=due)


_TEXTS = {
    "armed": "nobody is home",
    "disarmed": "somebody came home",
    "intruder": "nobody is home, and a stranger is near",
}


def _alert(alert: str, time: int, **keys: str) -> Message:
    values = {"alert": alert, "text": _TEXTS[alert], **keys}
    return Message(type="alert", id=f"home-{alert}-{time}", key="home", timestamp=time, **values)
