"""A node's settings: one JSON file into frozen values, or one clear sentence."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from services.common.settings import SettingsError, read_settings


@dataclass(frozen=True)
class Door:
    """A value inside another."""

    street: str
    number: int = 1


@dataclass(frozen=True)
class House:
    """A value of every kind that settings may have."""

    name: str
    floors: int = 2
    height: float = 3.5
    is_old: bool = False
    owner: str | None = None
    doors: tuple[Door, ...] = ()
    colours: tuple[str, ...] = ("white",)
    main: Door | None = None
    rooms: dict[str, tuple[str, ...]] = field(default_factory=dict)


def read(folder: Path, values: Any) -> House:
    """Write values as the orchestrator does, and read them as a service does."""
    file = folder / "settings.json"
    file.write_text(json.dumps(values), encoding="utf-8")
    return read_settings(file, House)


def test_what_is_left_out_takes_its_default(tmp_path: Path) -> None:
    """A lab's author sets what differs, and nothing else."""
    assert read(tmp_path, {"name": "a"}) == House("a")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"floors": 3}, House("a", floors=3)),
        ({"height": 2.5}, House("a", height=2.5)),
        ({"height": 2}, House("a", height=2.0)),
        ({"is_old": True}, House("a", is_old=True)),
        ({"owner": "bob"}, House("a", owner="bob")),
        ({"owner": None}, House("a", owner=None)),
        ({"rooms": {"red": ["bed"]}}, House("a", rooms={"red": ("bed",)})),
        ({"colours": []}, House("a", colours=())),
        ({"colours": ["red", "blue"]}, House("a", colours=("red", "blue"))),
        (
            {"doors": [{"street": "x"}, {"street": "y", "number": 2}]},
            House("a", doors=(Door("x"), Door("y", 2))),
        ),
        ({"main": {"street": "x"}}, House("a", main=Door("x"))),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_each_kind_of_value_is_read(
    tmp_path: Path, values: dict[str, Any], expected: House
) -> None:
    """JSON's lists and mappings become tuples and dataclasses, which do not change."""
    house = read(tmp_path, {"name": "a", **values})

    assert house == expected
    assert type(house.height) is float


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([], "settings: expected a mapping, got []"),
        ({}, "settings: 'name' is missing"),
        (
            {"name": "a", "floor": 1},
            "settings: unknown key 'floor'; known: colours, doors, floors, height, "
            "is_old, main, name, owner, rooms",
        ),
        ({"name": 1}, "name: expected a text, got 1"),
        ({"name": "a", "floors": "2"}, 'floors: expected a whole number, got "2"'),
        ({"name": "a", "floors": 2.5}, "floors: expected a whole number, got 2.5"),
        ({"name": "a", "floors": True}, "floors: expected a whole number, got true"),
        ({"name": "a", "is_old": 1}, "is_old: expected true or false, got 1"),
        ({"name": "a", "height": "2"}, 'height: expected a number, got "2"'),
        ({"name": "a", "height": True}, "height: expected a number, got true"),
        ({"name": "a", "owner": 1}, "owner: expected a text, got 1"),
        ({"name": None}, "name: expected a text, got null"),
        ({"name": "a", "colours": "red"}, 'colours: expected a list, got "red"'),
        ({"name": "a", "colours": [1]}, "colours: expected a text, got 1"),
        ({"name": "a", "rooms": ["x"]}, 'rooms: expected a mapping, got ["x"]'),
        ({"name": "a", "rooms": {"x": 1}}, "x: expected a list, got 1"),
        ({"name": "a", "doors": ["x"]}, 'doors: expected a mapping, got "x"'),
        ({"name": "a", "doors": [{}]}, "doors: 'street' is missing"),
        (
            {"name": "a", "main": {"a": 1}},
            "main: unknown key 'a'; known: number, street",
        ),
        (
            {"name": ["x" * 60]},
            f'name: expected a text, got ["{"x" * 35}...',
        ),
    ],
    ids=[
        "no mapping",
        "missing",
        "unknown",
        "number for text",
        "text for number",
        "fraction",
        "truth for number",
        "number for truth",
        "text for fraction",
        "truth for fraction",
        "optional",
        "null",
        "no list",
        "wrong item",
        "no mapping of lists",
        "wrong list inside",
        "wrong value inside",
        "missing inside",
        "unknown inside",
        "too long to show",
    ],
)
def test_a_mistake_is_one_sentence_with_what_is_known(
    tmp_path: Path, values: Any, sentence: str
) -> None:
    """The service does not start, and its log has to say all there is to know."""
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, values)

    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, ": No such file or directory"),
        (b"{", " is not JSON: Expecting property name"),
        (b'{"name": "\xff"}', " is not JSON: 'utf-8' codec can't decode"),
    ],
    ids=["missing", "not JSON", "not text"],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, what: str
) -> None:
    """Without the path nobody would know which of many files is meant."""
    file = tmp_path / "settings.json"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(SettingsError) as caught:
        read_settings(str(file), House)

    assert str(caught.value).startswith(f"{file}{what}")
