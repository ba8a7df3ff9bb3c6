"""DNS cookies, against the examples of the RFCs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.cookies import AHEAD, LIFETIME, Cookies, siphash

SECRET = bytes.fromhex("e5e973e5a6b2a43f48e7dc849e37bfcf")
CLIENT = bytes.fromhex("2464c4abcf10c957")
NOW = 1_559_731_985


@pytest.mark.parametrize(
    ("size", "digest"),
    [
        (0, "310e0edd47db6f72"),
        (1, "fd67dc93c539f874"),
        (7, "37d1018bf50002ab"),
        (8, "6224939a79f5f593"),
        (15, "e545be4961ca29a1"),
        (63, "724506eb4c328a95"),
    ],
)
def test_the_hash_is_that_of_its_authors(size: int, digest: str) -> None:
    """The test vectors of SipHash's reference implementation."""
    assert siphash(bytes(range(16)), bytes(range(size))).hex() == digest


def test_a_new_cookie_is_that_of_the_rfc() -> None:
    """RFC 9018 A.1: other makes of servers with this secret give the same."""
    found = Cookies(SECRET).check(CLIENT, "198.51.100.100", NOW)

    assert found is not None
    assert found.reply.hex() == "2464c4abcf10c957010000005cf79f111f8130c3eee29480"
    assert not found.is_valid


def test_an_old_cookie_is_renewed_as_in_the_rfc() -> None:
    """RFC 9018 A.2: still good, but past its half hour."""
    old = bytes.fromhex("2464c4abcf10c957010000005cf79f111f8130c3eee29480")

    found = Cookies(SECRET).check(old, "198.51.100.100", 1_559_734_385)

    assert found is not None
    assert found.is_valid
    assert found.reply.hex() == "2464c4abcf10c957010000005cf7a871d4a564a1442aca77"


def test_ipv6_addresses_count_whole() -> None:
    """RFC 9018 A.4: a good cookie, and what a server with a later secret gives."""
    option = bytes.fromhex("22681ab97d52c298010000005cf7c57926556bd0934c72f8")
    secrets = ("dd3bdf9344b678b185a6f5cb60fca715", "445536bcd2513298075a5d379663c962")
    address, now = "2001:db8:220:1:59de:d0f4:8769:82b8", 1_559_741_961

    old, new = (Cookies(bytes.fromhex(s)).check(option, address, now) for s in secrets)

    assert old is not None
    assert old.is_valid
    assert new is not None
    assert new.reply.hex() == "22681ab97d52c298010000005cf7c609a6bb79d16625507a"


@pytest.mark.parametrize(
    ("after", "is_valid"),
    [
        (0, True),
        (LIFETIME, True),
        (LIFETIME + 1, False),
        (-AHEAD, True),
        (-AHEAD - 1, False),
    ],
)
def test_a_cookie_holds_for_an_hour(after: int, is_valid: bool) -> None:
    """RFC 9018 4.3: and clocks of several servers may differ a little."""
    cookies = Cookies(SECRET)
    given_ = cookies.check(CLIENT, "::1", NOW)
    assert given_ is not None

    found = cookies.check(given_.reply, "::1", NOW + after)

    assert found is not None
    assert found.is_valid == is_valid


def test_the_time_may_pass_its_end() -> None:
    """RFC 1982: in 2106 the 32 bits begin anew."""
    cookies = Cookies(SECRET)
    given_ = cookies.check(CLIENT, "::1", 0xFFFFFFFF)
    assert given_ is not None

    found = cookies.check(given_.reply, "::1", 0x100000005)

    assert found is not None
    assert found.is_valid


def test_a_cookie_is_of_one_address() -> None:
    """That is what it proves."""
    cookies = Cookies(SECRET)
    given_ = cookies.check(CLIENT, "192.0.2.1", NOW)
    assert given_ is not None

    found = cookies.check(given_.reply, "192.0.2.2", NOW)

    assert found is not None
    assert not found.is_valid


@given(st.binary(max_size=50))
def test_any_octets_are_taken(option: bytes) -> None:
    """A wrong length is an error, wrong content a new cookie."""
    found = Cookies(SECRET).check(option, "192.0.2.1", NOW)

    assert (found is None) == (len(option) != 8 and not 16 <= len(option) <= 40)
    assert found is None or (len(found.reply) == 24 and not found.is_valid)


def test_a_secret_has_its_size() -> None:
    """A short one from the settings is refused at the start."""
    with pytest.raises(ValueError, match="16 octets, not 3"):
        Cookies(b"abc")
