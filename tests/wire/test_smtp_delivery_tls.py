"""Mail on its way out is encrypted: where it can be, and where it has to be."""

import ssl
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.lab.conftest import eventually
from tests.wire.test_smtp_delivery import TEXT, Post, status_of
from tests.wire.test_tls import write_files


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    """Provide a site that can send, and another that offers STARTTLS."""
    made = Post(tmp_path)
    (tmp_path / "sink").mkdir()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*write_files(tmp_path / "sink"))
    made.sink.tls = context
    made.sink.offers += ("STARTTLS",)
    yield made
    made.close()


def digest(folder: Path) -> str:
    """Return the digest of the other site's public key."""
    certificate, _ = write_files_of(folder)
    read = x509.load_pem_x509_certificate(certificate.read_bytes())
    key = read.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return sha256(key).hexdigest()


def write_files_of(folder: Path) -> tuple[Path, Path]:
    """Return the other site's certificate and key."""
    first, second = sorted((folder / "sink").iterdir())
    has_certificate = b"CERTIFICATE" in first.read_bytes()
    return (first, second) if has_certificate else (second, first)


def promise(post: Post, data: str) -> None:
    """Let the other site's zone, which is signed, have a TLSA record."""
    post.names.is_secure = True
    name = f"_{post.sink.port}._tcp.mx.bookshop.com"
    post.names.records[name, "TLSA"] = [data]


def test_what_can_be_encrypted_is(post: Post) -> None:
    """Nobody knows the certificate, and yet fewer can read (RFC 7435)."""
    post.send("bob@bookshop.com")

    eventually(lambda: post.sink.messages)
    assert post.sink.encrypted == 1
    assert [one[:4] for one in post.sink.commands[:3]] == ["EHLO", "STAR", "EHLO"]


@pytest.mark.parametrize(
    "said",
    ["454 not now", "hang up", "220 go\r\n250 what was never sent by TLS", "220 go"],
    ids=["refused", "hung up", "injected", "no TLS"],
)
def test_where_it_cannot_be_encrypted_it_goes_in_clear(post: Post, said: str) -> None:
    """Mail that does not arrive is of less use than mail that others could read."""
    post.sink.rule = lambda line: said if line == "STARTTLS" else None

    post.send("bob@bookshop.com")

    eventually(lambda: post.sink.messages)
    assert post.sink.encrypted == 0


def test_a_key_that_the_zone_vouches_for_is_taken(post: Post, tmp_path: Path) -> None:
    """DANE: no authority is needed (RFC 7672)."""
    promise(post, f"3 1 1 {digest(tmp_path)}")

    post.send("bob@bookshop.com")

    eventually(lambda: post.sink.messages)
    assert post.sink.encrypted == 1


def test_another_key_than_the_zone_vouches_for_gets_no_mail(post: Post) -> None:
    """It could be anybody's; the mail waits for the right one."""
    promise(post, f"3 1 1 {'00' * 32}")

    post.send("bob@bookshop.com")

    eventually(lambda: "4.7.5" in "".join(post.order("queue", "list")))
    assert not post.sink.messages


def test_where_tls_was_promised_nothing_goes_in_clear(post: Post) -> None:
    """Somebody on the way could have taken the offer out (RFC 7672 section 2.2)."""
    promise(post, f"3 1 1 {'00' * 32}")
    post.sink.offers = ("PIPELINING",)

    post.send("bob@bookshop.com")

    eventually(lambda: "4.7.4" in "".join(post.order("queue", "list")))
    assert not post.sink.messages


def test_records_that_cannot_be_had_stop_mail_for_now(post: Post) -> None:
    """An attacker would let just this answer get lost (RFC 7672 section 2.1.2)."""
    post.names.is_secure = True
    post.names.failing.add(f"_{post.sink.port}._tcp.mx.bookshop.com")

    post.send("bob@bookshop.com")

    eventually(lambda: "4.7.5" in "".join(post.order("queue", "list")))
    assert not post.sink.messages


def test_who_requires_tls_gets_it_or_the_mail_back(post: Post, tmp_path: Path) -> None:
    """The sender would rather know than have it read by others (RFC 8689)."""
    promise(post, f"3 1 1 {digest(tmp_path)}")
    for offers in (("REQUIRETLS", "STARTTLS"), ("STARTTLS",)):
        post.sink.offers = offers
        with post.server.connect() as client:
            client.starttls(context=ssl._create_unverified_context())
            client.ehlo()
            client.mail("alice@campus.edu", ["REQUIRETLS"])
            client.rcpt("bob@bookshop.com")
            client.data(TEXT)
        eventually(lambda: "QUIT" in post.sink.commands)
        post.sink.commands.remove("QUIT")

    assert "Status: 5.7.30" in status_of(post.notice())
    assert len(post.sink.messages) == 1
