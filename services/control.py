"""``python -m services.control WORDS...``: tell the service in this node something.

Prints what it answers.  Exits with 0, with 1 if the command failed or no service
listens, with 2 if there is no such command.  ``--socket NAME`` reaches one that listens
under another name.
"""

import json
import socket
import sys

ADDRESS = "netarium"
SECONDS = 120.0  # without a word are too many
FAILED = 1


def main(arguments: list[str]) -> int:
    """Carry one command to the service; return the exit code."""
    address = ADDRESS
    if arguments[:1] == ["--socket"]:
        address, arguments = arguments[1], arguments[2:]
    words = arguments or ["help"]
    try:
        return ask(f"\0{address}", words)
    except OSError as error:
        sys.stderr.write(f"the service cannot be told anything: {error.strerror}\n")
        return FAILED


def ask(address: str, words: list[str]) -> int:
    """Send the words, print the answer line by line, return its code."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(SECONDS)
        sock.connect(address)
        sock.sendall(json.dumps(words).encode() + b"\n")
        for line in sock.makefile("r", encoding="utf-8"):
            said = json.loads(line)
            if "code" in said:
                return int(said["code"])
            _tell(said)
    sys.stderr.write("the service hung up\n")
    return FAILED


def _tell(said: dict[str, str]) -> None:
    if "error" in said:
        sys.stderr.write(f"{said['error']}\n")
    else:
        sys.stdout.write(f"{said.get('line', '')}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
