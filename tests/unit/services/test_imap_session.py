"""Commands and their replies, one by one (RFC 3501 section 6 and extensions)."""

import base64
from pathlib import Path

import pytest

from services.mailbox.imap.greeting import greet
from services.mailbox.imap.session import COMMANDS
from tests.unit.services.imap_client import NOW, Client, House, message


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Return a server with three messages."""
    house = House(tmp_path)
    for number in range(1, 4):
        house.inbox.append(message(f"number {number}"), [], NOW + number)
    return house


@pytest.fixture
def client(house: House) -> Client:
    """Return a client that has selected its INBOX."""
    return Client(house).enter()


# Who may do what


def test_the_greeting_tells_what_can_be_done(house: House) -> None:
    """Many clients ask no further."""
    greeting = greet(Client(house).connection)

    assert greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 ")
    assert greeting.endswith(b"mail.example.org ready\r\n")


def test_without_tls_nobody_may_say_a_password(tmp_path: Path) -> None:
    """RFC 3501 section 11.1; and clients are told before they try."""
    client = Client(House(tmp_path, is_clear_allowed=False), can_encrypt=True)

    able, login, plain = (
        client.do("CAPABILITY")[0],
        client.do("LOGIN alice secret"),
        client.do("AUTHENTICATE PLAIN"),
    )

    assert {"LOGINDISABLED", "STARTTLS"} <= set(able.split())
    assert "AUTH=" not in able
    assert login == plain == ["NO [PRIVACYREQUIRED] first start TLS"]


def test_by_tls_a_password_is_taken(tmp_path: Path) -> None:
    """And TLS is not offered twice."""
    house = House(tmp_path, is_clear_allowed=False)
    client = Client(house, can_encrypt=True, is_encrypted=True)

    able = client.do("CAPABILITY")[0].split()

    assert "AUTH=SCRAM-SHA-256" in able
    assert not {"STARTTLS", "LOGINDISABLED"} & set(able)
    assert client.do("STARTTLS")[-1].startswith("BAD")
    assert client.do("LOGIN alice secret")[-1].startswith("OK [CAPABILITY ")


def test_a_wrong_password_costs_time_and_at_last_the_connection(house: House) -> None:
    """Guessing must not be quick."""
    client = Client(house)

    answers = [client.do("LOGIN alice wrong") for _ in range(4)]

    assert answers[0] == ["NO [AUTHENTICATIONFAILED] wrong name or password"]
    assert answers[-1][0] == "* BYE Too many tries"
    assert client.paused == 8
    assert client.session.is_over
    assert house.logged == ["login failed"] * 4


def encode(text: bytes) -> str:
    """Write text as SASL carries it."""
    return base64.b64encode(text).decode()


def test_plain_is_taken_at_once_or_when_asked_for(house: House) -> None:
    """SASL-IR spares a round trip (RFC 4959)."""
    response = encode(b"\0alice\0secret")
    one, other = Client(house), Client(house)

    at_once = one.do(f"AUTHENTICATE PLAIN {response}")
    asked = other.do("AUTHENTICATE PLAIN")
    answered = other.say(f"{response}\r\n".encode())

    assert at_once[-1].startswith("OK [CAPABILITY ")
    assert asked == ["+ "]
    assert answered.startswith(b"t1 OK [CAPABILITY ")


def test_login_asks_for_name_and_password(house: House) -> None:
    """The mechanism is old, and mail programs still use it."""
    client = Client(house)
    client.do("AUTHENTICATE LOGIN")

    second = client.say(f"{encode(b'alice')}\r\n".encode())

    assert second == f"+ {encode(b'Password:')}\r\n".encode()
    assert b"t1 OK" in client.say(f"{encode(b'secret')}\r\n".encode())


def test_an_exchange_can_be_given_up(house: House) -> None:
    """RFC 3501 section 6.2.2: a lone star; then commands count again."""
    client = Client(house)
    client.do("AUTHENTICATE PLAIN")

    assert client.say(b"*\r\n") == b"t1 BAD the client has given up\r\n"
    assert client.do("NOOP") == ["OK NOOP completed"]


def test_an_unknown_mechanism_is_refused(house: House) -> None:
    """The next one may be known."""
    assert Client(house).do("AUTHENTICATE CRAM-MD5") == [
        "NO [CANNOT] the mechanism is not known"
    ]


@pytest.mark.parametrize("name", sorted({*COMMANDS, "IDLE"} - {"LOGIN", "STARTTLS"}))
def test_strangers_learn_nothing(house: House, name: str) -> None:
    """Only a few commands are for those who have not said who they are."""
    arguments = {
        "APPEND": " x {1+}\r\nx",
        "COPY": " 1 x",
        "ENABLE": " x",
        "FETCH": " 1 FLAGS",
        "ID": " NIL",
        "LIST": ' "" *',
        "LSUB": ' "" *',
        "MOVE": " 1 x",
        "RENAME": " x y",
        "SEARCH": " ALL",
        "SETQUOTA": ' "" ()',
        "SORT": " (DATE) UTF-8 ALL",
        "STATUS": " x (MESSAGES)",
        "STORE": " 1 FLAGS ()",
        "THREAD": " REFERENCES UTF-8 ALL",
    }
    plain = {"CAPABILITY", "CHECK", "CLOSE", "EXPUNGE", "IDLE", "LOGOUT", "NAMESPACE"}
    more = arguments.get(name, "" if name in plain | {"NOOP", "UNSELECT"} else " x")

    answer = Client(house).do(f"{name}{more}")[-1]

    is_for_all = name in ("CAPABILITY", "ID", "LOGOUT", "NOOP")
    assert answer.startswith("OK" if is_for_all else "BAD not when not authenticated")


def test_too_many_errors_end_it(house: House) -> None:
    """Whoever speaks another protocol is not to be answered for ever."""
    client = Client(house)

    answer = client.say(b"GET / HTTP/1.1\r\n" * 20)

    assert answer.count(b"BAD") == 10
    assert answer.endswith(b"* BYE Too much is wrong\r\n")


# Mailboxes as a whole


def test_selecting_tells_what_a_client_needs(client: Client) -> None:
    """RFC 3501 section 6.3.1 lists it."""
    answer = client.do("SELECT INBOX")

    assert "* 3 EXISTS" in answer
    assert "* FLAGS (\\Answered \\Deleted \\Draft \\Flagged \\Seen)" in answer
    assert any(line.startswith("* OK [UIDVALIDITY 1000]") for line in answer)
    assert any(line.startswith("* OK [UIDNEXT 4]") for line in answer)
    assert any(line.startswith("* OK [HIGHESTMODSEQ 4]") for line in answer)
    assert any(line.startswith("* OK [UNSEEN 1]") for line in answer)
    assert answer[-1] == "OK [READ-WRITE] SELECT completed"


def test_what_is_examined_cannot_be_changed(client: Client) -> None:
    """EXAMINE looks, and nothing else."""
    client.do("EXAMINE INBOX")

    assert client.do("STORE 1 +FLAGS (\\Seen)")[-1].startswith("NO")
    assert client.do("EXPUNGE")[-1].startswith("NO")
    assert client.do("UID MOVE 1 INBOX")[-1].startswith("NO")
    client.do("FETCH 1 BODY[]")
    assert client.do("FETCH 1 FLAGS")[0] == "* 1 FETCH (FLAGS ())"


def test_a_failed_select_leaves_nothing_selected(client: Client) -> None:
    """RFC 3501 section 6.3.1: the mailbox before is closed first."""
    assert client.do("SELECT nowhere")[-1].startswith("NO [NONEXISTENT]")

    assert client.do("FETCH 1 FLAGS")[-1] == "BAD not when authenticated"


def test_mailboxes_are_made_renamed_and_removed(client: Client) -> None:
    """With all levels above them, and all below."""
    client.do("CREATE a/b/c/")
    made = client.do('LIST "" *')[:-1]
    client.do("RENAME a/b x/y")
    renamed = client.do('LIST "" *')[:-1]
    client.do("DELETE x/y")
    removed = client.do('LIST "" x/%')[:-1]

    assert [line.split()[-1] for line in made] == ["INBOX", "a", "a/b", "a/b/c"]
    assert [line.split()[-1] for line in renamed] == ["INBOX", "a", "x", "x/y", "x/y/c"]
    assert removed == ['* LIST (\\Noselect \\HasChildren) "/" x/y']


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("CREATE INBOX", "NO [ALREADYEXISTS]"),
        ("CREATE inbox", "NO [ALREADYEXISTS]"),
        ("CREATE a//b", "NO [CANNOT]"),
        ("CREATE ../x", "NO [CANNOT]"),
        ("CREATE a/./b", "NO [CANNOT]"),
        ('CREATE "a*"', "NO [CANNOT]"),
        ("CREATE &AAA-", "NO [CANNOT]"),
        ("CREATE &broken", "NO [CANNOT]"),
        ("DELETE INBOX", "NO [CANNOT]"),
        ("DELETE nowhere", "NO [NONEXISTENT]"),
        ("RENAME nowhere x", "NO [NONEXISTENT]"),
        ("STATUS nowhere (MESSAGES)", "NO [NONEXISTENT]"),
        ("COPY 1 nowhere", "NO [TRYCREATE]"),
        ("APPEND nowhere {1+}\r\nx", "NO [TRYCREATE]"),
        ("CREATE x (USE (\\Sent))", "NO [USEATTR]"),
        ("STORE 1 +FLAGS (\\Nonsense)", "BAD"),
        ("STORE 4 +FLAGS (\\Seen)", "BAD"),
        ("SEARCH CHARSET KOI8-R ALL", "NO [BADCHARSET"),
        ("SEARCH SUBJECT {1+}\r\n\xff", "NO [BADCHARSET"),
        ("GETQUOTA nowhere", "NO [NONEXISTENT]"),
        ('SETQUOTA "" (STORAGE 5)', "NO [NOPERM]"),
        ("FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)", "BAD"),
        ("SELECT INBOX (QRESYNC (1 1))", "BAD"),
        ("MOVE 1 INBOX", "NO [CANNOT]"),
    ],
)
def test_refusals_say_why(client: Client, command: str, answer: str) -> None:
    """Clients act on the code (RFC 5530)."""
    assert client.do(command)[-1].startswith(answer)


def test_renaming_the_inbox_moves_its_messages(client: Client) -> None:
    """RFC 3501 section 6.3.5: INBOX itself stays."""
    client.do("RENAME INBOX old")

    assert client.do("STATUS old (MESSAGES)")[0] == "* STATUS old (MESSAGES 3)"
    assert client.do("STATUS INBOX (MESSAGES)")[0] == "* STATUS INBOX (MESSAGES 0)"


def test_names_with_other_letters_are_written_in_seven_bits(client: Client) -> None:
    """Modified UTF-7, as old clients read it; UTF-8 for who has enabled IMAP4rev2."""
    client.do('CREATE "Entw&APw-rfe & more"')
    client.do("CREATE Entw&APw-rfe")

    seven = client.do('LIST "" Entw*')[0]
    client.do("ENABLE IMAP4rev2")
    eight = client.do('LIST "" Entw*')[0]

    assert seven.endswith('"/" Entw&APw-rfe')
    assert eight.encode("latin-1").decode().endswith('"/" "Entw\u00fcrfe"')


def test_special_mailboxes_are_known_by_their_names(client: Client) -> None:
    """Each client would otherwise make its own (RFC 6154)."""
    client.do("CREATE Sent (USE (\\Sent))")
    client.do("CREATE Trash")

    answer = client.do('LIST (SPECIAL-USE) "" * RETURN (SPECIAL-USE)')

    assert answer[:-1] == [
        '* LIST (\\HasNoChildren \\Sent) "/" Sent',
        '* LIST (\\HasNoChildren \\Trash) "/" Trash',
    ]


def test_subscriptions_are_listed(client: Client) -> None:
    """RFC 5258: also those of mailboxes that are gone, and those below."""
    for name in ("a/b", "gone"):
        client.do(f"SUBSCRIBE {name}")
    client.do("CREATE a/b")

    assert client.do('LIST (SUBSCRIBED) "" *')[:-1] == [
        '* LIST (\\HasNoChildren \\Subscribed) "/" a/b',
        '* LIST (\\NonExistent \\HasNoChildren \\Subscribed) "/" gone',
    ]
    assert client.do('LIST (SUBSCRIBED RECURSIVEMATCH) "" %')[:-1] == [
        '* LIST (\\HasChildren) "/" a ("CHILDINFO" ("SUBSCRIBED"))',
        '* LIST (\\NonExistent \\HasNoChildren \\Subscribed) "/" gone',
    ]
    assert client.do('LSUB "" %')[:-1] == [
        '* LSUB (\\Noselect) "/" a',
        '* LSUB () "/" gone',
    ]
    client.do("UNSUBSCRIBE gone")
    assert client.do('LSUB "" *')[:-1] == ['* LSUB () "/" a/b']


def test_list_can_tell_the_status_of_each(client: Client) -> None:
    """One round trip instead of one a mailbox (RFC 5819)."""
    answer = client.do('LIST "" (INBOX x) RETURN (STATUS (MESSAGES UIDNEXT SIZE))')

    assert answer[1] == "* STATUS INBOX (MESSAGES 3 UIDNEXT 4 SIZE 249)"


def test_quotas_are_told(house: House, client: Client) -> None:
    """In units of 1024 octets (RFC 9208)."""
    house.mailboxes.limit = 2048

    assert client.do("GETQUOTAROOT INBOX")[:-1] == [
        '* QUOTAROOT INBOX ""',
        '* QUOTA "" (STORAGE 1 2)',
    ]
    assert client.do("APPEND INBOX {3000+}\r\n" + "x" * 3000)[-1].startswith(
        "NO [OVERQUOTA]"
    )


# Messages


def test_a_body_is_fetched_and_seen(client: Client) -> None:
    """BODY sets a flag, BODY.PEEK does not (RFC 3501 section 6.4.5)."""
    peek = client.do("FETCH 1 BODY.PEEK[TEXT]")
    fetch = client.do("FETCH 1 BODY[TEXT]")

    assert peek == ["* 1 FETCH (BODY[TEXT] {10}", "Good day", ")", "OK FETCH completed"]
    assert fetch[2] == " FLAGS (\\Recent \\Seen))"


@pytest.mark.parametrize(
    ("item", "answer"),
    [
        ("UID", "UID 2"),
        ("RFC822.SIZE", "RFC822.SIZE 83"),
        ("INTERNALDATE", 'INTERNALDATE "14-Nov-2023 22:13:22 +0000"'),
        ("MODSEQ", "MODSEQ (3)"),
        ("BODY.PEEK[]<0.7>", "BODY[]<0> {7}\r\nSubject"),
        ("BODY.PEEK[]<81.7>", "BODY[]<81> {2}\r\n\r\n"),
        ("BODY.PEEK[]<900.7>", "BODY[]<900> {0}\r\n"),
        ("BODY.PEEK[7]", "BODY[7] NIL"),
        ("RFC822.TEXT", "RFC822.TEXT {10}\r\nGood day\r\n FLAGS (\\Recent \\Seen)"),
        ("BINARY.PEEK[1]", "BINARY[1] ~{10}\r\nGood day\r\n"),
        ("BINARY.SIZE[1]", "BINARY.SIZE[1] 10"),
    ],
)
def test_items_are_told(client: Client, item: str, answer: str) -> None:
    """Each is named in the reply as it was asked for."""
    assert client.do(f"FETCH 2 ({item})")[:-1] == (
        f"* 2 FETCH ({answer})".split("\r\n")
    )


def test_a_part_that_cannot_be_decoded_fails_the_fetch(
    house: House, client: Client
) -> None:
    """RFC 3516 section 4.3."""
    house.inbox.append(message(Content_Transfer_Encoding="x-strange"), [], NOW)
    client.do("NOOP")

    assert client.do("FETCH 4 BINARY.PEEK[1]")[-1].startswith("NO [UNKNOWN-CTE]")


def test_flags_are_set_added_and_removed(client: Client) -> None:
    """And told, unless the client wants silence."""
    assert client.do("STORE 1:2 +FLAGS (\\flagged $Work)")[2:4] == [
        "* 1 FETCH (FLAGS ($Work \\Flagged \\Recent))",
        "* 2 FETCH (FLAGS ($Work \\Flagged \\Recent))",
    ]
    assert client.do("STORE 1 -FLAGS.SILENT $Work") == ["OK STORE completed"]
    assert client.do("UID STORE 1 FLAGS ()")[0] == "* 1 FETCH (UID 1 FLAGS (\\Recent))"


def test_a_new_keyword_is_announced(client: Client) -> None:
    """RFC 3501 section 7.2.6: before a message is shown with it."""
    answer = client.do("STORE 1 +FLAGS ($New)")

    assert answer[0] == "* FLAGS ($New \\Answered \\Deleted \\Draft \\Flagged \\Seen)"
    assert "[PERMANENTFLAGS ($New \\*" in answer[1]


def test_what_others_have_changed_is_not_overwritten(
    house: House, client: Client
) -> None:
    """UNCHANGEDSINCE (RFC 7162 section 3.1.3): only what the client has seen."""
    client.do("FETCH 1:* MODSEQ")
    house.inbox.change_flags([2], "+", ["\\Flagged"])

    answer = client.do("STORE 1:3 (UNCHANGEDSINCE 4) +FLAGS.SILENT (\\Seen)")

    assert answer[-1] == "OK [MODIFIED 2] STORE completed"
    assert [line for line in answer if "MODSEQ" in line] == [
        "* 1 FETCH (MODSEQ (6))",
        "* 3 FETCH (MODSEQ (6))",
        "* 2 FETCH (FLAGS (\\Flagged \\Recent) MODSEQ (5))",
    ]


def test_what_has_changed_since_is_fetched(house: House, client: Client) -> None:
    """A client that comes back asks for no more (RFC 7162 section 3.1.4)."""
    house.inbox.change_flags([2], "+", ["\\Flagged"])

    assert client.do("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 4)")[0] == (
        "* 2 FETCH (UID 2 FLAGS (\\Flagged \\Recent) MODSEQ (5))"
    )


def test_a_client_that_comes_back_is_told_what_it_missed(
    house: House, client: Client
) -> None:
    """QRESYNC (RFC 7162 section 3.2.5): in the reply to SELECT."""
    client.do("ENABLE QRESYNC")
    house.inbox.expunge([1])
    house.inbox.change_flags([3], "+", ["\\Seen"])

    answer = client.do("SELECT INBOX (QRESYNC (1000 4 1:3))")

    assert "* VANISHED (EARLIER) 1" in answer
    assert "* 2 FETCH (UID 3 FLAGS (\\Seen) MODSEQ (6))" in answer


def test_expunged_messages_are_told_from_the_last_to_the_first(client: Client) -> None:
    """So that no number means something else than the client thinks."""
    client.do("STORE 1,3 +FLAGS.SILENT (\\Deleted)")

    assert client.do("EXPUNGE") == [
        "* 3 EXPUNGE",
        "* 1 EXPUNGE",
        "OK EXPUNGE completed",
    ]


def test_only_some_can_be_expunged(client: Client) -> None:
    """Another client may have marked others (RFC 4315)."""
    client.do("STORE 1:3 +FLAGS.SILENT (\\Deleted)")

    assert client.do("UID EXPUNGE 2:9")[:-1] == ["* 3 EXPUNGE", "* 2 EXPUNGE"]


def test_closing_expunges_without_a_word(house: House, client: Client) -> None:
    """RFC 3501 section 6.4.2; UNSELECT does not (RFC 3691)."""
    client.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
    client.do("UNSELECT")
    left = house.inbox.uids()
    client.do("SELECT INBOX")

    assert client.do("CLOSE") == ["OK CLOSE completed"]
    assert (left, house.inbox.uids()) == ([1, 2, 3], [2, 3])


def test_copies_tell_their_new_uids(client: Client) -> None:
    """So a client need not search for what it has just made (RFC 4315)."""
    client.do("CREATE other")

    assert client.do("UID COPY 2:9 other") == [
        "OK [COPYUID 1001 2:3 1:2] COPY completed"
    ]
    assert client.do("UID COPY 77 other") == ["OK COPY completed"]


def test_a_move_is_told_before_what_it_removes(client: Client) -> None:
    """RFC 6851 section 4.3."""
    client.do("CREATE other")

    assert client.do("MOVE 1:2 other") == [
        "* OK [COPYUID 1001 1:2 1:2] Moved",
        "* 2 EXPUNGE",
        "* 1 EXPUNGE",
        "OK MOVE completed",
    ]


def test_a_message_is_added(client: Client) -> None:
    """With its flags and date (RFC 3501 section 6.3.11)."""
    answer = client.do(
        'APPEND INBOX (\\Seen $x) "17-Jul-1996 02:44:25 -0700" {5+}\r\nhello'
    )
    fetch = client.do("UID FETCH 4 (FLAGS INTERNALDATE BODY.PEEK[])")

    assert answer[-1] == "OK [APPENDUID 1000 4] APPEND completed"
    assert "* 4 EXISTS" in answer
    assert fetch[0] == (
        "* 4 FETCH (UID 4 FLAGS ($x \\Recent \\Seen) "
        'INTERNALDATE "17-Jul-1996 09:44:25 +0000" BODY[] {5}'
    )


def test_a_large_message_is_added_and_fetched_in_pieces(
    house: House, client: Client
) -> None:
    """It is held in memory neither on its way in nor on its way out."""
    big = "x" * 69_998 + "\r\n"

    client.do(f"APPEND INBOX {{{len(big)}+}}\r\n{big}")
    fetched = client.say(b"f FETCH 4 BODY.PEEK[]<10.69000>\r\n")

    assert len(house.sinks) == 1
    assert fetched.startswith(b"* 4 FETCH (BODY[]<10> {69000}\r\nxxx")
    assert len(fetched) > 69_000


def test_a_message_that_is_refused_is_thrown_away(house: House, client: Client) -> None:
    """Its file must not stay."""
    client.do("APPEND nowhere {70000+}\r\n" + "x" * 70_000)
    client.do("APPEND INBOX (wrong {70000+}\r\n" + "x" * 70_000)

    assert [sink.is_closed for sink in house.sinks] == [True, True]


def test_enable_tells_what_it_has_enabled(client: Client) -> None:
    """RFC 5161: what is not known is passed over."""
    assert client.do("ENABLE nonsense condstore")[0] == "* ENABLED CONDSTORE"


def test_a_client_says_what_it_is(house: House, client: Client) -> None:
    """It helps whoever reads the log (RFC 2971)."""
    assert client.do('ID ("name" "mutt" "x" NIL)')[0] == '* ID ("name" "Netarium")'
    assert house.logged[-1] == "client"


def test_idle_ends_with_done(client: Client) -> None:
    """RFC 2177; anything else is an error, and ends it, too."""
    assert client.do("IDLE") == ["+ Waiting"]
    assert client.say(b"DONE\r\n") == b"t3 OK IDLE completed\r\n"
    client.do("IDLE")
    assert client.say(b"x NOOP\r\n") == b"t4 BAD expected DONE\r\n"


def test_logout_says_good_bye(client: Client) -> None:
    """RFC 3501 section 6.1.3 wants BYE before OK; what follows is not read."""
    assert client.say(b"a LOGOUT\r\nb NOOP\r\n") == (
        b"* BYE Good bye\r\na OK LOGOUT completed\r\n"
    )
