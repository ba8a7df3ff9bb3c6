"""The first and the last words to a client, with few imports.

Many connections never say anything, such as the probe of the server itself; the session
with all that it needs is loaded for the first client that does.
"""

from services.common.sasl import MECHANISMS
from services.mailbox.imap.connection import Connection, Stage

ALWAYS = "IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ENABLE ID IDLE"
INSIDE = (
    "NAMESPACE UNSELECT CHILDREN UIDPLUS MOVE SPECIAL-USE CREATE-SPECIAL-USE "
    "LIST-EXTENDED LIST-STATUS STATUS=SIZE QUOTA QUOTA=RES-STORAGE CONDSTORE QRESYNC "
    "ESEARCH SEARCHRES WITHIN BINARY SORT SORT=DISPLAY THREAD=ORDEREDSUBJECT "
    "THREAD=REFERENCES"
)


def greet(connection: Connection) -> bytes:
    """Return the first line (RFC 3501 section 7.1)."""
    able, name = write_capabilities(connection), connection.world.name
    return f"* OK [CAPABILITY {able}] {name} ready\r\n".encode("ascii")


def say_bye(connection: Connection, reason: str) -> bytes:
    """End the conversation from our side; return what to say, once."""
    if connection.stage is Stage.GONE:
        return b""
    connection.deselect()
    connection.stage = Stage.GONE
    return f"* BYE {reason}\r\n".encode("ascii", "replace")


def write_capabilities(connection: Connection) -> str:
    """Return what the server can do for this client now."""
    if connection.stage is not Stage.STRANGER:
        return f"{ALWAYS} {INSIDE}"
    words = [ALWAYS]
    if connection.can_encrypt and not connection.is_encrypted:
        words.append("STARTTLS")
    if may_log_in(connection):
        words += [f"AUTH={name}" for name in MECHANISMS]
    else:
        words.append("LOGINDISABLED")
    return " ".join(words)


def may_log_in(connection: Connection) -> bool:
    """Tell whether a password may be said on this connection."""
    return connection.is_encrypted or connection.world.is_clear_allowed
