"""A command that is not carried out, and what the client is told."""


class Refusal(Exception):  # noqa: N818  it is no error of ours
    """Ends a command with NO or BAD, a code in brackets (RFC 5530) and a text."""

    def __init__(self, status: str, text: str, code: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.code = code

    def write(self, tag: bytes) -> bytes:
        """Write the reply to the command with that tag."""
        code = f"[{self.code}] " if self.code else ""
        line = f"{self.status} {code}{self.text}"
        return tag + b" " + line.encode("ascii", "backslashreplace") + b"\r\n"
