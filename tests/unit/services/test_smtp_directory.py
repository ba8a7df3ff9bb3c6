"""Who gets mail: users, aliases, lists; and into which envelopes they come."""

import pytest

from services.common.accounts import Account
from services.smtp.address import NOBODY, Address
from services.smtp.directory import Directory, Mailing, check_lists
from services.smtp.sorting import Needs, find_needs, name_recipient, sort
from services.smtp.transaction import (
    MailOptions,
    RcptOptions,
    Recipient,
    Transaction,
)
from tests.unit.services.mail import ALICE, BOB, CAROL, DIRECTORY, LISTS, USERS


@pytest.mark.parametrize(
    ("local", "found"),
    [
        ("alice", ALICE),
        ("ALICE", ALICE),
        ("al", ALICE),
        ("al+x", ALICE),
        ("alice+x+y", ALICE),
        ("postmaster", CAROL),
        ("PostMaster", CAROL),
        ("staff-owner", CAROL),
        ("friends-request", CAROL),
        ("nothing-owner", None),
        ("mallory", None),
        ("+alice", None),
        ("empty", None),
        ("", None),
    ],
)
def test_a_name_leads_to_somebody_or_nobody(local: str, found: Account | None) -> None:
    """Lists without members are nobody: their mail would be lost without a word."""
    assert DIRECTORY.find(local) == found


def test_lists_are_followed_to_their_ends() -> None:
    """Each address once, and no list for ever."""
    found = DIRECTORY.find("Staff")

    assert found == Mailing(
        "staff",
        "staff-owner@campus.edu",
        (
            "alice@campus.edu",
            "carol+work@campus.edu",
            "bob@campus.edu",
            "dave@bookshop.com",
        ),
    )


def test_many_lists_within_lists_end_soon() -> None:
    """Each is followed once, however many ways lead to it."""
    lists = {f"l{n}": tuple(f"l{m}" for m in range(40) if m != n) for n in range(40)}
    directory = Directory("x.example", USERS, {**lists, "l0": ("l1", "bob")})

    found = directory.find("l5")

    assert isinstance(found, Mailing)
    assert found.members == ("bob@x.example",)


def test_somebody_reads_what_is_for_the_postmaster() -> None:
    """RFC 5321 4.5.1: the first user, where nobody is named."""
    assert Directory("x.example", [BOB], {}).find("postmaster") == BOB
    assert Directory("x.example", [], {}).find("postmaster") is None


@pytest.mark.parametrize(
    ("domain", "is_ours"),
    [
        ("campus.edu", True),
        ("CAMPUS.edu", True),
        ("campus.edu.", True),
        ("", True),
        ("[198.18.4.25]", True),
        ("[198.18.4.26]", False),
        ("[IPv6:fd00::1]", False),
        ("mx.campus.edu", False),
        ("edu", False),
    ],
)
def test_one_domain_is_ours(domain: str, is_ours: bool) -> None:
    """And our own address as a literal (RFC 5321 4.1.3)."""
    assert DIRECTORY.is_ours(domain) is is_ours


@pytest.mark.parametrize(
    ("lists", "why"),
    [
        ({"staff": ("mallory",)}, "staff: there is no user 'mallory'"),
        ({"staff": ("a@",)}, "that is no address"),
    ],
)
def test_lists_name_people_there_are(
    lists: dict[str, tuple[str, ...]], why: str
) -> None:
    """A mistake in the settings is told at the start."""
    check_lists(USERS, LISTS)
    with pytest.raises(ValueError, match=why):
        check_lists(USERS, lists)


STRANGER = Address("x", "y.example")


def transact(*names: str, sender: Address = STRANGER) -> Transaction:
    """Make what a client has said."""
    transaction = Transaction(sender, MailOptions(is_utf8=True, envid="E", ret="HDRS"))
    for name in names:
        local, _, domain = name.partition("@")
        address = Address(local, domain)
        options = RcptOptions(orcpt=f"rfc822;{name}")
        is_local = DIRECTORY.is_ours(domain)
        transaction.recipients[address] = Recipient(address, is_local, options)
    return transaction


def test_aliases_lead_to_one_mailbox() -> None:
    """However it is called, once; a tag is kept for the mailbox to sort by."""
    names = ("al@campus.edu", "Alice@campus.edu", "al+x@campus.edu", "a@b.example")

    ((envelope, header),) = sort(transact(*names), DIRECTORY, Needs())

    assert header == b""
    assert [one.address for one in envelope.recipients] == [
        "alice@campus.edu",
        "alice+x@campus.edu",
        "a@b.example",
    ]
    assert [one.is_local for one in envelope.recipients] == [True, True, False]
    assert envelope.recipients[0].orcpt == "rfc822;al@campus.edu"
    assert (envelope.sender, envelope.envid, envelope.ret, envelope.is_utf8) == (
        "x@y.example",
        "E",
        "HDRS",
        False,
    )


def test_members_of_several_lists_get_one_copy() -> None:
    """Of a message to both, and to some of them by name."""
    transaction = transact("staff@campus.edu", "friends@campus.edu", "bob@campus.edu")

    direct, staff = sort(transaction, DIRECTORY, Needs(True, True))

    assert [one.address for one in direct.envelope.recipients] == ["bob@campus.edu"]
    assert staff.envelope.sender == "staff-owner@campus.edu"
    assert [one.address for one in staff.envelope.recipients] == [
        "alice@campus.edu",
        "carol+work@campus.edu",
        "dave@bookshop.com",
    ]
    assert staff.envelope.envid is None
    assert (staff.envelope.is_8bit, staff.envelope.is_utf8) == (True, True)
    assert staff.header.count(b"\r\n") == 3


def test_a_notice_to_a_list_brings_no_notice() -> None:
    """RFC 5321 4.5.5: mail from nobody is answered by nobody."""
    ((envelope, _),) = sort(
        transact("staff@campus.edu", sender=NOBODY), DIRECTORY, Needs()
    )

    assert envelope.sender == ""


def test_one_recipient_is_named_in_the_trace() -> None:
    """Several would learn of one another (RFC 5321 7.2)."""
    one, two = transact("al@campus.edu"), transact("al@campus.edu", "bob@campus.edu")

    assert name_recipient(one, "campus.edu") == "al@campus.edu"
    assert name_recipient(two, "campus.edu") is None
    assert name_recipient(transact("postmaster"), "campus.edu") == (
        "postmaster@campus.edu"
    )


@pytest.mark.parametrize(
    ("content", "needs"),
    [
        (b"Subject: x\r\n\r\ny\r\n", Needs()),
        ("Subject: x\r\n\r\n\u00f6\r\n".encode(), Needs(is_8bit=True)),
        ("Subject: \u00f6\r\n\r\ny\r\n".encode(), Needs(is_8bit=True, is_utf8=True)),
    ],
    ids=["ASCII", "8 bit", "UTF-8"],
)
def test_a_message_asks_only_for_what_it_needs(content: bytes, needs: Needs) -> None:
    """Else servers that could take it would have to refuse it."""
    assert find_needs(content) == needs


def test_addresses_beyond_ascii_are_a_need() -> None:
    """RFC 6531 3.1: whatever the message itself is like."""
    transaction = transact("bob@campus.edu", "j\u00f6rg@b.example")

    ((envelope, _),) = sort(transaction, DIRECTORY, Needs())

    assert envelope.is_utf8
