"""How a station joins a network: authentication, association, and the 4-way handshake."""

from __future__ import annotations

from collections.abc import Iterator

from datastalker.simulator import elements as ie
from datastalker.simulator import management
from datastalker.simulator.air import Life
from datastalker.simulator.frames import FROM_DS, TO_DS, data, eapol_key
from datastalker.simulator.radios import AccessPoint, Device


def join(station: Device, ap: AccessPoint, akm: int, more: bytes) -> Life:
    """`more`: the elements of its association request that show what the station can do."""
    secure, again = ap.bss.security != "OPEN", ap.has_met(station.address)
    yield from _authenticate(station, ap, secure and akm == ie.SAE)
    extra = more + (ie.owe_dh(station.rng.randbytes(32)) if akm == ie.OWE else b"")
    request = management.association_request(
        ap.bss, station.address, station.seq(), akm if secure else None, extra,
        ap.address if again else None,
    )  # fmt: skip
    station.air.deliver(station, ap, request)
    response = management.association_response(
        ap.bss, station.address, ap.seq(), ap.aid(station.address),
        "REASSOC_RESP" if again else "ASSOC_RESP",
    )  # fmt: skip
    station.air.deliver(ap, station, response)
    if secure:
        yield from _handshake(station, ap, akm)


def _authenticate(station: Device, ap: AccessPoint, sae: bool) -> Life:
    algorithm = management.SAE if sae else management.OPEN_SYSTEM
    for number, (transaction, body) in enumerate(_authentication_bodies(station, sae)):
        sender, receiver = ((station, ap), (ap, station))[number % 2]
        frame = management.authentication(
            receiver.address, sender.address, ap.address, sender.seq(), transaction,
            algorithm, body=body,
        )  # fmt: skip
        station.air.deliver(sender, receiver, frame)
        yield station.rng.randrange(2_000, 20_000)


def _authentication_bodies(station: Device, sae: bool) -> Iterator[tuple[int, bytes]]:
    """Transaction number and what follows the fixed fields; the station and the AP take turns."""
    rng = station.rng
    if not sae:
        yield from ((1, b""), (2, b""))
        return
    for _ in range(2):
        yield 1, management.sae_commit(rng.randbytes(32), rng.randbytes(64))
    for _ in range(2):
        yield 2, management.sae_confirm(rng.randbytes(32))


def _handshake(station: Device, ap: AccessPoint, akm: int) -> Life:
    rng, version = station.rng, 2 if akm == ie.PSK else 0
    ap_nonce, station_nonce = rng.randbytes(32), rng.randbytes(32)
    own_rsn = ie.rsn((akm,), "none" if akm == ie.PSK else "capable")
    for message, replay, nonce, key_data in (
        (1, 1, ap_nonce, b""),
        (2, 1, station_nonce, own_rsn),
        (3, 2, ap_nonce, rng.randbytes(56)),
        (4, 2, b"", b""),
    ):
        down = message in (1, 3)
        sender, receiver = (ap, station) if down else (station, ap)
        seq = sender.seq(receiver.address, 6)
        body = eapol_key(message, version, replay, nonce, rng.randbytes(16), key_data)
        frame = data(
            receiver.address, sender.address, ap.address, seq, body,
            flags=FROM_DS if down else TO_DS, tid=6,
        )  # fmt: skip
        station.air.deliver(sender, receiver, frame)
        yield rng.randrange(2_000, 15_000)
