"""A record is to everybody what a frozen slotted dataclass is, and one that is mutable what any is."""

from __future__ import annotations

import copy
import inspect
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, is_dataclass, replace

import orjson
import pytest
from pydantic import TypeAdapter

from hermes_acp.records import mutable, record


class Point:
    """Somewhere."""

    x: int
    y: int = 0
    names: list[str] = field(default_factory=list)
    note: str = field(default="", compare=False)
    secret: str = field(default="hush", repr=False)

    @property
    def far(self) -> bool:
        return self.x + self.y > 100


def plain() -> type:
    """A new class each time: a decorator changes the one that it is given."""
    return type("Point", (), dict(Point.__dict__) | {"__qualname__": "Point"})


Record = record(plain())
Frozen = dataclass(frozen=True, slots=True)(plain())
Mutable = mutable(plain())
Plain = dataclass(slots=True)(plain())


@record
class Nothing:
    pass


@pytest.mark.parametrize(
    "seen",
    [
        lambda cls: repr(cls(1, names=["a"])),
        lambda cls: list(inspect.signature(cls).parameters),
        lambda cls: [(item.name, item.type) for item in fields(cls)],
        lambda cls: (cls.__doc__, cls.__name__, cls.__slots__, cls.__match_args__, is_dataclass(cls)),
        lambda cls: asdict(cls(1)),
        lambda cls: orjson.dumps(cls(1, 2, ["a"], "note")),
        lambda cls: asdict(TypeAdapter(cls).validate_json('{"x": 1, "names": ["a"]}')),
        lambda cls: asdict(replace(cls(1, 2), x=200)),
        lambda cls: cls(200).far,
        lambda cls: hasattr(cls(1), "__dict__"),
        lambda cls: copy.deepcopy(cls(1, names=["a"])) == cls(1, names=["a"]),
        lambda cls: (cls(1) == cls(1), cls(1) == cls(2), cls(1, note="a") == cls(1, note="b"), cls(1) == 1),
        lambda cls: cls(1).names is cls(1).names,
    ],
)
def test_a_record_looks_and_does_as_a_frozen_slotted_dataclass(seen) -> None:
    assert seen(Record) == seen(Frozen)
    assert seen(Mutable) == seen(Plain)


def test_records_that_are_equal_have_one_hash() -> None:
    assert hash(Record(1, names=())) == hash(Record(1, names=(), note="else"))
    assert {Nothing(), Nothing()} == {Nothing()}


def test_records_of_different_classes_are_not_equal() -> None:
    assert Record(1) != record(plain())(1)


def test_a_record_cannot_be_changed() -> None:
    point = Record(1)
    for change in (lambda: setattr(point, "x", 2), lambda: delattr(point, "x")):
        with pytest.raises(FrozenInstanceError, match="'x'"):
            change()
    assert point == Record(1)


def test_what_is_mutable_can_be_changed_and_has_no_hash() -> None:
    point = Mutable(1)
    point.x = 2
    assert (point, copy.copy(point), replace(point, y=1)) == (Mutable(2), Mutable(2), Mutable(2, 1))
    with pytest.raises(TypeError, match="unhashable"):
        hash(point)
    with pytest.raises(AttributeError):
        point.z = 3


def test_a_record_wants_what_has_no_default() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Record()


def test_a_field_without_a_default_behind_one_with_a_default_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="y has no default"):

        @record
        class _Mistaken:
            x: int = 0
            y: int
