"""Where webhooks may go: to public addresses by https, and into networks that the operator allows.

    target = resolve("https://example.org/hook", allowed=())     # raises WebhookAddressError
    target.address                                                # connect to this one and no other

A name is looked up at registration, so that a mistake is told at once, and again for each attempt: the connection
goes to an address that was checked, and not to what the name says a moment later.
"""

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.errors import WebhookAddressError

MAX_URL_CHARACTERS = 2_048
PORTS = {"http": 80, "https": 443}
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: the last four bytes are an IPv4 address. A network's own prefix, such as 64:ff9b:1::/48, may hold it
elsewhere: that one is for the operator to allow."""
UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that the open network was ever given. What lies elsewhere is local, obsolete, or an IPv4 address in one
of several disguises, which some router may take off."""
SPECIAL: tuple["Network", ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # the IETF's protocols, and a cloud's metadata
        "192.88.99.0/24",  # relays to 6to4
        "2001::/23",  # the IETF's protocols: Teredo, ORCHID, ...
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: any IPv4 address
        "3fff::/20",  # documentation
    )
)
"""Beyond what every Python that runs this knows not to be global (IANA's registries of special-purpose addresses)."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Target:
    scheme: str
    host: str
    port: int
    path: str
    """With the query."""
    address: str


def resolve(url: str, allowed: Sequence[Network]) -> Target:
    """Raises WebhookAddressError where `url` is no plain http(s) URL, or leads, by any address, where it must not.

    Plain http only into `allowed` networks: elsewhere anybody on the way could read the message.
    """
    scheme, host, port, path = _parts(url)
    found = _addresses(host, port)
    for address in found:
        inside = any(address in network for network in allowed)
        if not inside and not _is_public(address):
            raise WebhookAddressError(
                f"{host} is {address}, which is not a public address: an operator can allow its network in "
                "EARWITNESS_WEBHOOK_NETWORKS"
            )
        if not inside and scheme == "http":
            raise WebhookAddressError("a webhook to a public address must use https")
    return Target(scheme, host, port, path, str(found[0]))


def _parts(url: str) -> tuple[str, str, int, str]:
    if len(url) > MAX_URL_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
        raise WebhookAddressError(f"a webhook's URL has at most {MAX_URL_CHARACTERS} visible ASCII characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise WebhookAddressError("the URL of the webhook is malformed") from error
    if parts.scheme not in PORTS or not host:
        raise WebhookAddressError("the URL of a webhook begins with https:// and a host")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise WebhookAddressError("the URL of a webhook has no user name, no password and no fragment")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, host, port or PORTS[parts.scheme], path


def _addresses(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise WebhookAddressError(f"{host} can't be resolved") from error
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def _is_public(address: Address) -> bool:
    """Whether it is one of the open network; of one that stands for an IPv4 address, whether that is."""
    if isinstance(address, ipaddress.IPv6Address):
        held = ipaddress.IPv4Address(address.packed[-4:]) if address in NAT64 else address.ipv4_mapped
        if held is not None:
            return _is_public(held)
        if address not in UNICAST:
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in SPECIAL)
