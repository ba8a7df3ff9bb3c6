"""The JSON Schema of lab files, so that editors complete and check while one types."""

from typing import Any

from orchestrator.load import keys

SECTIONS = {"site": keys.SITE, "user": keys.USER, "host": keys.HOST, "zone": keys.ZONE}
REQUIRED = {"site": ["domain"], "user": ["password"], "host": ["run"]}


def lab_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12), made of the loader's own tables."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Netarium lab",
        "description": "One file that means an internet.",
        **_section(keys.LAB, ["version", "name", "sites"]),
        "$defs": {
            name: _section(table, REQUIRED.get(name, []))
            for name, table in SECTIONS.items()
        },
    }


def _section(table: keys.Keys, required: list[str]) -> dict[str, Any]:
    return {
        "type": "object" if required else ["object", "null"],
        "properties": {key: dict(value) for key, value in table.items()},
        "patternProperties": {"^x-": True},
        "additionalProperties": False,
        "required": required,
    }
