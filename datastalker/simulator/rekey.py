"""A new group key, every so often, from an access point to each of its stations in turn.

One encrypted EAPOL frame there and one back (IEEE 802.11-2020, 12.7.7). All are of one length, and
those of stations that joined in the same way bear the same sequence number: only the receiver's
address tells such transmissions apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from datastalker.simulator.air import Life
from datastalker.simulator.radios import AccessPoint
from datastalker.simulator.stations import Station

_TID, _DOWN_BYTES, _UP_BYTES = 6, 147, 107


def group_rekey(ap: AccessPoint, stations: Sequence[Station], every_us: int) -> Life:
    while True:
        yield every_us
        for station in stations:
            if station.connected and station.home is ap:
                ap.air.deliver(ap, station, ap.data_to(station, _DOWN_BYTES, _TID))
                ap.air.deliver(station, ap, station.data_to(ap, _UP_BYTES, _TID))
