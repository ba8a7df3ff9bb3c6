"""Addresses as they stand in commands and headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.smtp.address import (
    NOBODY,
    Address,
    is_hello,
    parse_mailbox,
    parse_parameters,
    parse_path,
)


@pytest.mark.parametrize(
    ("text", "address", "rest"),
    [
        ("<a@b>", Address("a", "b"), ""),
        ("<a.b+c@d.example> X=1", Address("a.b+c", "d.example"), " X=1"),
        ("<>", NOBODY, ""),
        ("  <a@b>", Address("a", "b"), ""),
        ('<"a b"@c>', Address('"a b"', "c"), ""),
        ('<"a"@c>', Address("a", "c"), ""),
        ('<"a\\"b"@c>', Address('"a\\"b"', "c"), ""),
        ('<"a>"@c>', Address('"a>"', "c"), ""),
        ('<"a@x"@c>', Address('"a@x"', "c"), ""),
        ("<@x,@y.z:a@b>", Address("a", "b"), ""),
        ("<a@[192.0.2.1]>", Address("a", "[192.0.2.1]"), ""),
        ("<a@my_host.example>", Address("a", "my_host.example"), ""),
        (
            "<j\u00f6rg@b\u00fccher.example>",
            Address("j\u00f6rg", "b\u00fccher.example"),
            "",
        ),
    ],
)
def test_a_path_is_read(text: str, address: Address, rest: str) -> None:
    """RFC 5321 4.1.2; quotes that are not needed make no other address."""
    assert parse_path(text, is_sender=True) == (address, rest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a@b",
        "<a@b",
        "<a>",
        "<@b>",
        "<a@>",
        "<a@@b>",
        "<.a@b>",
        "<a.@b>",
        "<a..b@c>",
        "<a b@c>",
        "<a@b..c>",
        "<a@-b>",
        "<a@b.>",
        '<"a@b>',
        '<"a"b@c>',
        "<a@[1.2.3]>",
        "<a@[IPv6:1.2.3.4]>",
        "<a@[fd00::1]>",
        f"<{'a' * 65}@b>",
        f"<a@{'b' * 256}>",
        f"<{'a' * 60}@{'b' * 200}>",
        "<a@b\r\nRCPT>",
        "<Postmaster>",
        "<@x:>",
    ],
)
def test_what_is_no_path_is_refused(text: str) -> None:
    """Else it could mean one thing here and another elsewhere."""
    with pytest.raises(ValueError, match=r"address|brackets"):
        parse_path(text, is_sender=True)


def test_the_postmaster_has_an_address_everywhere() -> None:
    """RFC 5321 4.5.1: without a domain, in any case of letters."""
    assert parse_path("<PostMaster>", is_sender=False)[0].local == "postmaster"


@given(st.text(max_size=40) | st.from_regex(r"<[a\"@.\\<>\[\]:]{0,12}>"))
def test_no_text_does_harm(text: str) -> None:
    """Whatever it is, it is an address, or is refused."""
    for is_sender in (True, False):
        try:
            address, _ = parse_path(text, is_sender=is_sender)
        except ValueError:
            continue
        assert not set(str(address)) & set("\r\n\0")


def test_an_address_is_written_as_it_is_read() -> None:
    """The next server has to read it, too."""
    assert str(parse_mailbox('"a b"@c.example')) == '"a b"@c.example'
    assert str(NOBODY) == ""


@pytest.mark.parametrize("text", ["", "a", "<a@b>", "a@b "])
def test_a_mailbox_is_the_whole_text(text: str) -> None:
    """Nothing before or behind it."""
    with pytest.raises(ValueError, match="no address"):
        parse_mailbox(text)


def test_parameters_are_read() -> None:
    """Capitals or not makes no difference in a key."""
    assert parse_parameters(" size=1  BODY=8BITMIME SMTPUTF8") == {
        "SIZE": "1",
        "BODY": "8BITMIME",
        "SMTPUTF8": "",
    }


@pytest.mark.parametrize("text", ["A=", "=1", "A=1=2", "A A", "-A", "A=\x01"])
def test_parameters_have_a_form(text: str) -> None:
    """RFC 5321 4.1.2."""
    with pytest.raises(ValueError, match=r"parameter|twice"):
        parse_parameters(text)


@pytest.mark.parametrize(
    ("text", "is_name"),
    [
        ("bookshop.com", True),
        ("alice-pc", True),
        ("bookshop.com.", True),
        ("[192.0.2.1]", True),
        ("[IPv6:fd00::1]", True),
        ("my_pc", True),
        ("", False),
        ("a b", False),
        ("a(b)", False),
        ("a\r\nb", False),
        ("b\u00fccher.example", False),
        ("a" * 300, False),
    ],
)
def test_a_client_has_a_name(text: str, is_name: bool) -> None:
    """What stands in our trace line must not break it."""
    assert is_hello(text) is is_name
