"""Follow the chain of those who passed a message on: ARC (RFC 8617)."""

from typing import NamedTuple

from services.smtp.checks.dkim.canonical import write_field
from services.smtp.checks.dkim.key import Key, is_signed
from services.smtp.checks.dkim.signature import (
    HashBody,
    Signature,
    check_times,
    drop_octets,
    read_kind,
    read_names,
    read_signature,
)
from services.smtp.checks.dkim.tags import parse_tags, read_base64
from services.smtp.checks.dkim.verification import Run, fetch_key, judge_with_key
from services.smtp.checks.header import Content, Field
from services.smtp.checks.question import Ask

RESULTS = b"arc-authentication-results"
MESSAGE = b"arc-message-signature"
SEAL = b"arc-seal"
NAMES = (RESULTS, MESSAGE, SEAL)  # in the order in which they are signed, 5.1.1
MOST_SETS = 50  # section 4.2.1


class Chain(NamedTuple):
    """What became of a chain: none, pass, fail or temperror, and why.

    ``sealer`` is the domain that passed the message on last, ``results`` what it had
    found.
    """

    result: str
    reason: str = ""
    sealer: str = ""
    results: str = ""


class Seal(NamedTuple):
    """What the seal of one set says."""

    field: Field
    kind: str
    question: str
    domain: str
    octets: bytes
    chain: str


Set = tuple[Field, Field, Field]


async def validate(
    content: Content, ask: Ask, run: Run, now: int, look: HashBody
) -> Chain:
    """Validate the chain of a message (section 5.2)."""
    try:
        sets = read_sets(content)
        if not sets:
            return Chain("none")
        seals = [parse_seal(one[2], at) for at, one in enumerate(sets, start=1)]
        signature = parse_message_signature(sets[-1][1], now)
    except ValueError as error:
        return Chain("fail", str(error))
    sealer, results = seals[-1].domain, _write_results(sets[-1][0])
    result, reason = await judge_with_key(signature, content, ask, run, look)
    if result == "pass":
        result, reason = await _check_seals(sets, seals, ask, run)
    if result not in ("pass", "temperror"):
        result = "fail"
    return Chain(result, reason, sealer, results)


def read_sets(content: Content) -> list[Set]:
    """Sort the fields into sets, or raise `ValueError` where one is not whole."""
    found: dict[tuple[int, bytes], Field] = {}
    for field in content.fields:
        if field.name not in NAMES:
            continue
        key = read_instance(field), field.name
        if key in found:
            raise ValueError(f"a field is twice in set {key[0]}")
        found[key] = field
    count = max((number for number, _ in found), default=0)
    if len(found) != count * len(NAMES):
        raise ValueError("a set is not whole")
    return [
        (found[at, RESULTS], found[at, MESSAGE], found[at, SEAL])
        for at in range(1, count + 1)
    ]


def read_instance(field: Field) -> int:
    """Read the number of the set that a field belongs to (section 4.2.1)."""
    for part in field.value.decode("utf-8", "replace").split(";", 20):
        name, mark, value = part.partition("=")
        number = value.strip()
        if mark and name.strip() == "i":
            if not (number.isascii() and number.isdigit() and len(number) <= 2):
                break
            if 1 <= int(number) <= MOST_SETS:
                return int(number)
            break
    raise ValueError("a field belongs to no set")


def parse_seal(field: Field, number: int) -> Seal:
    """Read an ARC-Seal field, or raise `ValueError` (section 4.1.3)."""
    tags = parse_tags(field.value.decode("utf-8", "replace"))
    if "h" in tags:
        raise ValueError(f"seal {number} has an h=")
    wanted = "none" if number == 1 else "pass"
    if tags.get("cv", "").lower() != wanted:
        raise ValueError(f"seal {number} says that the chain was broken")
    domain, selector = read_names(tags)
    octets = read_base64(tags.get("b", ""))
    question = f"{selector}._domainkey.{domain}"
    return Seal(field, read_kind(tags), question, domain, octets, wanted)


def parse_message_signature(field: Field, now: int) -> Signature:
    """Read an ARC-Message-Signature field, or raise `ValueError` (section 4.1.2)."""
    tags = parse_tags(field.value.decode("utf-8", "replace"))
    signature = read_signature(field, tags)
    if SEAL in signature.headers:
        raise ValueError("a message signature signs seals")
    check_times(tags, now)
    return signature._replace(identity=f"@{signature.domain}")


async def _check_seals(
    sets: list[Set], seals: list[Seal], ask: Ask, run: Run
) -> tuple[str, str]:
    for number in range(len(sets), 0, -1):
        seal = seals[number - 1]
        try:
            key = await fetch_key(seal.question, ask)
        except ValueError as error:
            return "fail", f"seal {number}: {error}"
        if key is None:
            return "temperror", f"the key of seal {number} cannot be looked up now"
        if not await run(is_sealed, seal, key, sets[:number]):
            return "fail", f"seal {number} does not hold"
    return "pass", ""


def is_sealed(seal: Seal, key: Key, sets: list[Set]) -> bool:
    """Tell whether a seal holds for its set and those before (section 5.1.1)."""
    try:
        return key.kind == seal.kind and is_signed(key, seal.octets, write_sets(sets))
    except ValueError:
        return False


def write_sets(sets: list[Set]) -> bytes:
    """Write what the seal of the last set is made over."""
    *before, last = [field for one in sets for field in one]
    parts = [write_field(field, True) for field in before]
    return b"".join([*parts, write_field(drop_octets(last), True)[:-2]])


def _write_results(field: Field) -> str:
    return field.text.partition(";")[2].strip()
