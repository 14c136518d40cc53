"""Who and what is in the scene: access points, people's comings and goings, and their devices.

Times are minutes of an hour; a scene of another length is the same story told faster or slower.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from datastalker.simulator import elements as ie
from datastalker.simulator.air import Position
from datastalker.simulator.people import NEIGHBOUR, ROOMS
from datastalker.simulator.stations import Habits

CHANNEL = 6
FOR_EVER = 90.0
STAYS: dict[str, tuple[tuple[float, float], ...]] = {
    "anna": ((0, 12), (35, FOR_EVER)),
    "ben": ((5, 40),),
    "cleo": ((0, 26), (44, FOR_EVER)),
    "dora": ((20, 35),),
}
"""Minutes at which people come and go. Ben leaves for good; Dora is the visitor."""


@dataclass(frozen=True)
class ApRow:
    label: str
    vendor: str
    ssid: bytes
    place: Position
    security: str
    hidden: bool = False
    phys: tuple[str, ...] = ("ht",)
    wps: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class StationRow:
    """`vendor` is an OUI, or nothing for an address of its own making; a `room`: it stays there."""

    label: str
    kind: str
    person: str
    vendor: str
    network: str
    habits: Habits
    knows: tuple[bytes, ...] = ()
    room: str = ""


ACCESS_POINTS = (
    ApRow("ap-living", "50:c7:bf", b"Maple House", ROOMS["living room"], "WPA2/WPA3",
          phys=("ht", "he")),
    ApRow("ap-study", "24:a4:3c", b"maple-study", ROOMS["study"], "WPA3", hidden=True,
          phys=("ht", "vht")),
    ApRow("ap-guest", "24:a4:3c", b"Maple Guest", ROOMS["kitchen"], "OPEN"),
    ApRow("ap-neighbour", "3c:a6:2f", "Café No. 5".encode(), NEIGHBOUR, "WPA2", wps={
        "wps_state": b"\x02", "wps_manufacturer": b"AVM", "wps_model_name": b"FRITZ!Box",
        "wps_model_number": b"7590", "wps_device_name": b"attic box"}),
)  # fmt: skip

_APPLE = ie.vendor(bytes.fromhex("0017f2"), 10, bytes.fromhex("00010400000000"))
_EPIGRAM = ie.vendor(bytes.fromhex("00904c"), 4, bytes.fromhex("0817"))
_HT, _EXTENDED = ie.ht_capabilities(), ie.extended_capabilities()

_PHONE = Habits(probe_elements=_HT + _EXTENDED + _APPLE)
_SAE_PHONE = Habits(akm=ie.SAE, probe_elements=_HT + _EXTENDED + ie.he_capabilities())
_SHY_PHONE = Habits(pause_seconds=(8.0, 20.0), keeps_address_seconds=(240.0, 480.0),
                    probe_elements=_EXTENDED + _HT)  # fmt: skip
_PLUG = Habits(pause_seconds=(25.0, 35.0), up=(1, 1), down=(1, 1), fragments=True)


def _laptop(akm: int, probe_elements: bytes) -> Habits:
    return Habits(pause_seconds=(10.0, 40.0), up=(2, 12), down=(4, 28), sizes=(60, 700),
                  sleeps=False, bursts=True, says_goodbye=True, akm=akm,
                  probe_elements=probe_elements)  # fmt: skip


STATIONS = (
    StationRow("phone-anna", "phone", "anna", "", "ap-living", _PHONE, (b"Maple House",)),
    StationRow("phone-ben", "phone", "ben", "8c:f5:a3", "ap-living", _SAE_PHONE, (b"Maple House",)),
    StationRow("phone-cleo", "phone", "cleo", "", "", _SHY_PHONE),
    StationRow("phone-dora", "phone", "dora", "", "ap-guest", _PHONE, (b"Airport WiFi",)),
    StationRow("laptop-anna", "laptop", "anna", "3c:a9:f4", "ap-living",
               _laptop(ie.PSK, _HT + _EPIGRAM), (b"Maple House",), room="bedroom"),
    StationRow("laptop-ben", "laptop", "ben", "3c:a9:f4", "ap-study",
               _laptop(ie.SAE, _HT + ie.vht_capabilities()), (b"maple-study",)),
    StationRow("plug", "thing", "", "24:0a:c4", "ap-living", _PLUG, room="garage"),
)  # fmt: skip
"""Phones are carried and stay on; a laptop that is carried is shut on the way."""
