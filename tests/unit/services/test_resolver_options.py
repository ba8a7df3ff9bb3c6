"""The options of EDNS: what a client asks for it gets, and nothing else."""

from ipaddress import ip_network
from typing import Any

import dns.message
import pytest
from dns.edns import GenericOption, OptionType
from dns.message import Message
from dns.rcode import Rcode
from hypothesis import given
from hypothesis import strategies as st

from services.common.cookies import Cookies
from services.resolver.access import Access
from services.resolver.cache import Failure
from services.resolver.options import BLOCK, LONGEST_TEXT, Answerer, show_error
from services.resolver.query import Via
from services.resolver.session import Session
from services.resolver.steps import Result
from services.resolver.table import Table
from tests.unit.services.internet import make_set

CLIENT = "198.18.5.101"
FOUND = Result(Rcode.NOERROR, (make_set("www.com.", 60, "A", "192.0.2.80"),))


def exchange(options: list[tuple[OptionType, bytes]], via: Via = Via.UDP) -> bytes:
    """Ask with some options."""
    answerer = Answerer("resolver.isp.net", 10, Cookies(bytes(16)), lambda: 1e9)
    session = Session(
        "resolver.isp.net",
        Access([ip_network("198.18.0.0/18")]),
        lambda *_, **__: FOUND,
        Table(100_000, lambda: 0.0, lambda *_: None),
        options=answerer,
    )
    query = dns.message.make_query(
        "www.com", "A", use_edns=0, options=[GenericOption(*one) for one in options]
    )
    reply = session.receive(query.to_wire(), CLIENT, via)
    assert isinstance(reply, bytes)
    return reply


def read(wire: bytes) -> Message:
    """Read a reply."""
    return dns.message.from_wire(wire)


def option(reply: bytes, code: OptionType) -> Any:
    """Pick one option of a reply in wire form, or None."""
    found = [one for one in read(reply).options if one.otype == code]
    return found[0].to_wire() if found else None


def test_nothing_is_told_unasked() -> None:
    """A plain question gets a plain reply."""
    assert read(exchange([])).options == ()


def test_nsid_names_the_server() -> None:
    """RFC 5001: who has several behind one address wants to know which it was."""
    reply = exchange([(OptionType.NSID, b"")])

    assert option(reply, OptionType.NSID) == b"resolver.isp.net"


def test_a_cookie_is_answered_with_a_servers() -> None:
    """RFC 7873 section 5.2.3: eight octets of the client's, sixteen of ours."""
    first = option(exchange([(OptionType.COOKIE, b"12345678")]), OptionType.COOKIE)
    second = option(exchange([(OptionType.COOKIE, first)]), OptionType.COOKIE)

    assert len(first) == 24
    assert first.startswith(b"12345678")
    assert second == first


@pytest.mark.parametrize("length", [0, 7, 9, 15, 41])
def test_a_cookie_of_a_wrong_length_is_malformed(length: int) -> None:
    """RFC 7873 section 5.2.2."""
    reply = exchange([(OptionType.COOKIE, bytes(length))])

    assert read(reply).rcode() == Rcode.FORMERR


@pytest.mark.parametrize(
    ("via", "value"),
    [(Via.UDP, None), (Via.TCP, b"\0\x64"), (Via.TLS, b"\0\x64")],
)
def test_a_connection_says_how_long_it_may_rest(via: Via, value: bytes | None) -> None:
    """RFC 7828: in tenths of a second, and never by UDP."""
    code = OptionType(11)

    assert option(exchange([(code, b"")], via), code) == value


@given(st.integers(0, 300), st.booleans())
def test_padding_hides_the_size(length: int, has_nsid: bool) -> None:
    """RFC 8467 section 4.1: all replies are of few sizes."""
    options = [(OptionType.PADDING, bytes(length))]
    options += [(OptionType.NSID, b"")] * has_nsid

    reply = exchange(options, Via.TLS)

    assert len(reply) % BLOCK == 0
    assert str(read(reply).answer[0]) == "www.com. 60 IN A 192.0.2.80"


@pytest.mark.parametrize("via", [Via.UDP, Via.TCP])
def test_nothing_is_padded_in_the_clear(via: Via) -> None:
    """Everybody can read it there."""
    assert len(exchange([(OptionType.PADDING, bytes(9))], via)) < 60


def test_who_does_not_pad_is_not_padded() -> None:
    """RFC 7830 section 4: it may not understand it."""
    assert len(exchange([], Via.TLS)) < 60


def test_the_reason_of_a_failure_is_bounded() -> None:
    """It may hold names that others have chosen."""
    option = show_error(Failure(22, "no use of " + 1000 * "\u2713"))

    assert LONGEST_TEXT - 3 < len(option) - 6 <= LONGEST_TEXT
    assert option[:2] + option[4:6] == b"\0\x0f\0\x16"
    assert option[6:].decode().startswith("no use of \u2713")
