"""`ethernet`: who speaks to whom on an ordinary interface, without what they say. A plug-in."""

import socket
import time
import uuid

from datastalker.errors import InputError
from datastalker.options import option
from datastalker.pipeline import Message, Pipeline, SourceStage


@Pipeline.register_stage("ethernet")
class Ethernet(SourceStage):
    """Gives a message of type `ethernet` for each frame; needs the right CAP_NET_RAW.

    ARP adds `arp` and `ip`, DHCP requests add `hostname`: both are what the sender claims.
    """

    interface: str = option(help="such as eth0")
    live = True

    def run(self):
        session, number = uuid.uuid4().hex[:12], 0
        try:
            link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # all kinds
            link.bind((self.interface, 0))
            link.settimeout(0.2)
        except OSError as error:
            raise InputError(f"ethernet: can't listen on '{self.interface}': {error}") from error
        with link:
            while True:
                try:
                    data = link.recv(65536)
                except TimeoutError:
                    yield []  # nothing now: the runner may stop us
                    continue
                except OSError as error:
                    raise InputError(f"ethernet: '{self.interface}' has failed: {error}") from error
                number += 1
                message = parse(data)
                if message is None:
                    self.stats.incr("ethernet/dropped/malformed")
                    yield []
                    continue
                message |= {"id": f"{session}-{number}", "timestamp": time.time_ns() // 1000}
                message |= {"sensor": self.sensor_name, "interface": self.interface}
                yield [message]


def parse(data):
    """What a frame says of itself; None: too short to be one. Never raises, whatever it is given."""
    if len(data) < 14:
        return None
    source, kind, body = data[6:12].hex(":"), int.from_bytes(data[12:14]), data[14:]
    message = Message(type="ethernet", key=source, src=source, dst=data[:6].hex(":"))
    if kind == 0x8100 and len(body) >= 4:
        message["vlan"] = int.from_bytes(body[:2]) & 0xFFF
        kind, body = int.from_bytes(body[2:4]), body[4:]
    message |= {"ethertype": kind, "length": len(data)}
    if kind == 0x0806 and len(body) >= 28 and body[:6] == b"\0\1\x08\0\6\4":
        message["arp"] = {1: "request", 2: "reply"}.get(int.from_bytes(body[6:8]), "other")
        message["ip"] = socket.inet_ntoa(body[14:18])
    elif kind == 0x0800 and len(body) >= 20 and body[9] == 17 and not body[6] & 0x1F | body[7]:
        name = _host_name(body[4 * (body[0] & 15) :])
        if name:
            message["hostname"] = name
    return message


def _host_name(udp):
    """Option 12 of a DHCP request (RFC 2132), or None."""
    if udp[:4] != b"\0\x44\0\x43" or udp[244:248] != b"\x63\x82\x53\x63":
        return None
    at = 248
    while at + 1 < len(udp) and udp[at] != 255:
        if udp[at] == 0:  # padding
            at += 1
            continue
        value = udp[at + 2 : at + 2 + udp[at + 1]]
        if udp[at] == 12 and len(value) == udp[at + 1]:
            return value.decode("utf-8", "replace")
        at += 2 + udp[at + 1]
    return None
