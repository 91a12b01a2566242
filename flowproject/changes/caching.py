"""Caches a property on its object, without a lock."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

__all__ = ["cached_property"]

_T = TypeVar("_T")


class cached_property(Generic[_T]):  # noqa: N801  # used as a decorator
    """Is what `functools.cached_property` is from Python 3.12 on: it takes no lock."""

    # Before, that holds one lock for all objects while one of them works its value out: the sensors
    # of a tick, side by side, would read their tables one after the other.

    def __init__(self, work_out: Callable[[Any], _T]) -> None:
        self._work_out = work_out
        self.__doc__ = work_out.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> "cached_property[_T]": ...

    @overload
    def __get__(self, instance: object, owner: type) -> _T: ...

    def __get__(self, instance: object | None, owner: type) -> "_T | cached_property[_T]":
        if instance is None:
            return self
        value = self._work_out(instance)
        # Found before this one from now on, for this defines no `__set__`.
        vars(instance)[self._name] = value
        return value
