"""Records: slotted dataclasses, most of them frozen, that are cheap to define.

`@dataclass(frozen=True, slots=True)` compiles six functions for every class, which for some two
hundred classes is a fourth of what starting the server costs. Records share all of them, and are
dataclasses to everybody who asks.
"""

from __future__ import annotations

import functools
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from operator import attrgetter
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, NoReturn, TypeVar, cast, dataclass_transform

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

SHAPES = 256
"""Kinds of constructors whose code is kept: they differ in the number of fields, and in who has a factory."""


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """The same as `@dataclass(frozen=True, slots=True)`, without `__post_init__` and base classes."""
    return _filled(cls, RECORD)


@dataclass_transform(field_specifiers=(field,))
def mutable(cls: type[T]) -> type[T]:
    """The same as `@dataclass(slots=True)`, with the same two exceptions."""
    return _filled(cls, MUTABLE)


def _filled(cls: type[T], shared: dict[str, object]) -> type[T]:
    # A class without a description would be given its signature, which takes long to find out.
    cls.__doc__ = cls.__doc__ or cls.__name__
    made = dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    compared = [item.name for item in _fields(made) if item.compare]
    values = attrgetter(*compared) if compared else type

    def __eq__(self: T, other: object) -> bool:
        return values(self) == values(other) if other.__class__ is made else NotImplemented

    def __hash__(self: T) -> int:
        return hash(values(self))

    methods: dict[str, object] = {"__init__": _constructor(made), "__eq__": __eq__, "__hash__": __hash__}
    for name, method in (methods | shared).items():
        setattr(made, name, method)
    return made


def _fields(cls: type) -> tuple[Field[object], ...]:
    return fields(cast("type[DataclassInstance]", cls))


def _constructor(cls: type) -> object:
    """A function that fills the slots past the lock that `__setattr__` is."""
    scope: dict[str, object] = {"unset": MISSING}
    names: list[str] = []
    defaults: list[object] = []
    made: list[bool] = []
    for position, item in enumerate(_fields(cls)):
        names.append(item.name)
        made.append(item.default_factory is not MISSING)
        scope[f"set{position}"] = cls.__dict__[item.name].__set__
        if item.default_factory is not MISSING:
            scope[f"make{position}"] = item.default_factory
            defaults.append(MISSING)
        elif item.default is not MISSING:
            defaults.append(item.default)
        elif defaults:
            raise TypeError(f"{cls.__name__}.{item.name} has no default, but a field before it has one")
    code = _template(tuple(made)).replace(co_varnames=("self", *names))
    return FunctionType(code, scope, "__init__", tuple(defaults))


@functools.lru_cache(maxsize=SHAPES)
def _template(made: tuple[bool, ...]) -> CodeType:
    """The code of all constructors with so many parameters; `made` tells which have factories.

    Only the names differ from class to class: to compile it for each would take most of the time.
    """
    values = [
        f"make{n}() if _{n} is unset else _{n}" if factory else f"_{n}" for n, factory in enumerate(made)
    ]
    parameters = ", ".join(["self", *(f"_{n}" for n in range(len(made)))])
    body = "\n ".join(["pass", *(f"set{n}(self, {value})" for n, value in enumerate(values))])
    scope: dict[str, FunctionType] = {}
    exec(f"def __init__({parameters}):\n {body}", scope)
    return scope["__init__"].__code__


def _described(self: object) -> str:
    shown = (item.name for item in _fields(type(self)) if item.repr)
    named = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
    return f"{type(self).__qualname__}({named})"


def _rebuilt(self: object) -> tuple[type, tuple[object, ...]]:
    """For copies: what is locked cannot be filled afterwards."""
    return type(self), tuple(getattr(self, item.name) for item in _fields(type(self)))


def _locked(_self: object, name: str, *_value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


RECORD: dict[str, object] = {
    "__repr__": _described,
    "__reduce__": _rebuilt,
    "__setattr__": _locked,
    "__delattr__": _locked,
}
MUTABLE: dict[str, object] = {"__repr__": _described, "__hash__": None}
