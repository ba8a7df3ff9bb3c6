import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from orchestrator.errors import LabFileError
from orchestrator.load import keys, load_lab
from orchestrator.schema import lab_schema
from tests.unit.test_load import BASE, with_hosts, with_site, with_top, with_www

ROOT = Path(__file__).parents[2]
LABS = [ROOT / "lab.yaml", *sorted((ROOT / "labs").glob("*.yaml"))]
SECTIONS = {
    "lab": keys.LAB,
    "site": keys.SITE,
    "user": keys.USER,
    "host": keys.HOST,
    "zone": keys.ZONE,
}
# A small lab for each section, with room for one more key there.
PLACES = {
    "lab": with_top("{}"),
    "site": with_site("{}"),
    "user": BASE.replace("      bob: {password: builder}", "      bob:\n        {}"),
    "host": BASE.replace("      www: {run: http}", "      www:\n        {}"),
    "zone": with_top("zones:", "  edu:", "    {}"),
}


class Loader(yaml.SafeLoader):
    """Takes scalars as the core schema of YAML 1.2 does, like an editor's own."""

    yaml_implicit_resolvers: Any = {}  # noqa: RUF012 (so it is in the class above)


for tag, pattern in {
    "null": "~|null|Null|NULL|",
    "bool": "true|True|TRUE|false|False|FALSE",
    "int": "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
    "merge": "<<",
}.items():
    Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), None
    )


def complaints(text: str) -> list[str]:
    """Validate a lab; return where it is wrong and why."""
    validator = Draft202012Validator(lab_schema())
    return [
        f"{error.json_path}: {error.message}"
        for error in validator.iter_errors(yaml.load(text, Loader))
    ]


def test_the_schema_in_docs_is_what_the_loader_knows() -> None:
    """`make schema` writes it; a forgotten one would blame what is right."""
    written = (ROOT / "docs" / "lab.schema.json").read_text()

    assert written == json.dumps(lab_schema(), indent=2) + "\n"


def test_the_schema_is_a_schema() -> None:
    """Editors are silent about a schema that they cannot read."""
    Draft202012Validator.check_schema(lab_schema())

    assert lab_schema()["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


@pytest.mark.parametrize("path", LABS, ids=lambda path: str(path.name))
def test_every_lab_of_this_repository_is_valid(path: Path) -> None:
    """What the loader takes, an editor must not underline."""
    assert complaints(path.read_text()) == []


RIGHT = {
    "base": BASE,
    "x-keys": with_site("x-note: [1]", "router: {x-note: 1}") + "x-top: {a: b}\n",
    "empty-sections": with_site("router:", "lists:") + "zones: {edu: }\n",
    "one-or-several": with_www("alias: web, caps: [KILL], publish: 80"),
    "publish": with_www("publish: ['0.0.0.0:80:80', 443]"),
    "numbers": with_www("memory: 10000000, cpus: 0.5, env: {A: 1, B: true, C: 1.5}"),
    "settings": with_www("settings: {a: [1, {b: null}], c: no}"),
    "no-is-a-country": BASE.replace("campus.edu]", "campus.edu, no]"),
    "merge": "x-a: &a {run: http}\n" + with_hosts("two: {<<: *a, alias: a}"),
    "zones": with_top("zones:", "  campus.edu.: {records: ['x A 192.0.2.1']}"),
    "signing": with_top(
        "zones:",
        "  edu: {signed: true, algorithm: ed25519, denial: nsec, update: false}",
    ),
    "broken": with_top("zones: {edu: {broken: bogus-ds}}"),
    "container": with_hosts("two: {run: container, image: a, command: [sh, -c, ls]}"),
    "files": with_www("files: {/srv/www: .}"),
    "slot-and-pool": with_site("slot: 9") + "pool: 198.18.0.0/16\n",
}


@pytest.mark.parametrize("text", RIGHT.values(), ids=list(RIGHT))
def test_what_the_loader_takes_is_valid(tmp_path: Path, text: str) -> None:
    """The two must agree, or people learn to overlook what the editor says."""
    path = tmp_path / "lab.yaml"
    path.write_text(text)

    assert load_lab(path)
    assert complaints(text) == []


WRONG = {
    "no-lab": "- a\n",
    "no-version": BASE.replace("version: 1\n", ""),
    "another-version": BASE.replace("version: 1", "version: 2"),
    "no-name": BASE.replace("name: test\n", ""),
    "no-sites": "version: 1\nname: a\n",
    "unknown-top": with_top("nmae: a"),
    "unknown-site": with_site("domian: a"),
    "unknown-host": with_www("rum: a"),
    "unknown-user": BASE.replace("{password: builder}", "{password: a, nmae: b}"),
    "unknown-zone": with_top("zones: {edu: {recrods: []}}"),
    "unknown-router": with_site("router: {asn: 1}"),
    "unknown-algorithm": with_top("zones: {edu: {algorithm: rsa}}"),
    "signed-word": with_top("zones: {edu: {signed: maybe}}"),
    "broken-word": with_top("zones: {edu: {broken: down}}"),
    "no-domain": BASE.replace("    domain: campus.edu\n", ""),
    "no-run": with_hosts("two: {}"),
    "no-host": with_hosts("two:"),
    "no-password": BASE.replace("{password: builder}", "{name: Bob}"),
    "unknown-run": BASE.replace("run: http", "run: htpp"),
    "host-upper": with_hosts("WWW: {run: http}"),
    "domain-upper": BASE.replace("domain: campus.edu", "domain: Campus.edu"),
    "zone-space": BASE.replace("campus.edu]", "campus.edu, a b]"),
    "alias-dot": with_www("alias: [a.b]"),
    "user-upper": BASE.replace("      bob:", "      Bob:"),
    "slot-zero": with_site("slot: 0"),
    "cpus-word": with_www("cpus: two"),
    "sites-a-list": "version: 1\nname: a\nsites: [a]\n",
    "settings-a-list": with_www("settings: [a]"),
    "target-relative": with_www("files: {www: .}"),
    "variable": with_www("env: {A-B: c}"),
}


@pytest.mark.parametrize("text", WRONG.values(), ids=list(WRONG))
def test_what_is_invalid_the_loader_refuses(tmp_path: Path, text: str) -> None:
    """An editor shows the usual mistakes while one types."""
    path = tmp_path / "lab.yaml"
    path.write_text(text)

    assert complaints(text)
    with pytest.raises(LabFileError):
        load_lab(path)


@pytest.mark.parametrize("name", SECTIONS)
def test_the_loader_takes_the_keys_that_the_schema_names(
    tmp_path: Path, name: str
) -> None:
    """A key is added in one table, and both know it."""
    path = tmp_path / "lab.yaml"
    schema = lab_schema()
    section = schema if name == "lab" else schema["$defs"][name]

    for key in [*section["properties"], "qqqqq"]:
        path.write_text(PLACES[name].replace("{}", f"{key}: [[]]", 1))
        with pytest.raises(LabFileError) as caught:
            load_lab(path)
        is_unknown = f"unknown key '{key}'" in str(caught.value)
        assert is_unknown == (key == "qqqqq"), key


@pytest.mark.parametrize("table", SECTIONS.values(), ids=list(SECTIONS))
def test_every_key_has_a_sentence_for_the_editor(
    table: Mapping[str, Mapping[str, Any]],
) -> None:
    """It is shown beside the key while one chooses."""
    for key, value in table.items():
        assert re.fullmatch(r"[A-Z].*[.]", value["description"]), key
