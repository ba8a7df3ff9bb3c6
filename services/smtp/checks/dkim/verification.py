"""Check all signatures of a message (RFC 6376 section 6)."""

from collections.abc import Awaitable, Callable
from typing import Any

from services.smtp.checks.dkim.key import Key, parse_key
from services.smtp.checks.dkim.signature import (
    HashBody,
    Judgement,
    Signature,
    judge,
    parse_signature,
)
from services.smtp.checks.header import Content, Field
from services.smtp.checks.question import Ask, read_texts

MOST_SIGNATURES = 8  # of one message; section 6.1 leaves it to us

Run = Callable[..., Awaitable[Any]]


async def verify(
    content: Content, ask: Ask, run: Run, now: int, look: HashBody
) -> list[Judgement]:
    """Judge each signature; ``run`` calls a function that takes its time."""
    fields = content.find(b"dkim-signature")[:MOST_SIGNATURES]
    return [await _verify_one(one, content, ask, run, now, look) for one in fields]


async def _verify_one(
    field: Field, content: Content, ask: Ask, run: Run, now: int, look: HashBody
) -> Judgement:
    try:
        signature = parse_signature(field, now)
    except ValueError as error:
        return Judgement("permerror", str(error))
    result, reason = await judge_with_key(signature, content, ask, run, look)
    return Judgement(
        result,
        reason,
        signature.domain,
        signature.selector,
        signature.identity,
        signature.tags["a"].lower(),
        "".join(signature.tags["b"].split())[:8],
    )


async def judge_with_key(
    signature: Signature, content: Content, ask: Ask, run: Run, look: HashBody
) -> tuple[str, str]:
    """Fetch the key of a signature and check it."""
    try:
        key = await fetch_key(signature.question, ask)
    except ValueError as error:
        return "permerror", str(error)
    if key is None:
        return "temperror", "the key cannot be looked up now"
    judged: tuple[str, str] = await run(judge, signature, key, content, look)
    return judged


async def fetch_key(name: str, ask: Ask) -> Key | None:
    """Look a key up; None if it cannot be now.  Raises `ValueError` if there is none.

    Of several records, which there should not be, one that is a key counts.
    """
    found = await ask(name, "TXT")
    if found.is_failed:
        return None
    texts = read_texts(found)
    if not texts:
        raise ValueError("there is no such key")
    keys = [text for text in texts if "p=" in text.replace(" ", "")]
    return parse_key((keys or texts)[0])
