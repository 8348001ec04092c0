"""Records: frozen slotted dataclasses that are cheap to define.

`@dataclass(frozen=True, slots=True)` compiles six functions for every class, which for some two
hundred classes is a fourth of what starting the server costs. A record compiles its constructor
alone and shares the rest; it is a dataclass to everybody who asks.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, NoReturn, TypeVar, cast, dataclass_transform

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """The same as `@dataclass(frozen=True, slots=True)`, without `__post_init__` and base classes."""
    # A class without a description would be given its signature, which takes long to find out.
    cls.__doc__ = cls.__doc__ or cls.__name__
    made = dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    compared = [item.name for item in _fields(made) if item.compare]
    values = attrgetter(*compared) if compared else type

    def __eq__(self: T, other: object) -> bool:
        return values(self) == values(other) if other.__class__ is made else NotImplemented

    def __hash__(self: T) -> int:
        return hash(values(self))

    methods = {"__init__": _constructor(made), "__eq__": __eq__, "__hash__": __hash__}
    for name, method in (methods | SHARED).items():
        setattr(made, name, method)
    return made


def _fields(cls: type) -> tuple[Field[object], ...]:
    return fields(cast("type[DataclassInstance]", cls))


def _constructor(cls: type) -> object:
    """A function that fills the slots past the lock that `__setattr__` is."""
    scope: dict[str, object] = {"_unset": MISSING}
    parameters, body = ["self"], ["pass"]
    for item in _fields(cls):
        name, value, default = item.name, item.name, ""
        scope[f"_set_{name}"] = cls.__dict__[name].__set__
        if item.default is not MISSING:
            scope[f"_default_{name}"], default = item.default, f"=_default_{name}"
        elif item.default_factory is not MISSING:
            scope[f"_make_{name}"], default = item.default_factory, "=_unset"
            value = f"_make_{name}() if {name} is _unset else {name}"
        parameters.append(name + default)
        body.append(f"_set_{name}(self, {value})")
    exec(f"def __init__({', '.join(parameters)}):\n " + "\n ".join(body), scope)
    return scope["__init__"]


def _described(self: object) -> str:
    shown = (item.name for item in _fields(type(self)) if item.repr)
    named = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
    return f"{type(self).__qualname__}({named})"


def _rebuilt(self: object) -> tuple[type, tuple[object, ...]]:
    """For copies: what is locked cannot be filled afterwards."""
    return type(self), tuple(getattr(self, item.name) for item in _fields(type(self)))


def _locked(_self: object, name: str, *_value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


SHARED = {
    "__repr__": _described,
    "__reduce__": _rebuilt,
    "__setattr__": _locked,
    "__delattr__": _locked,
}
