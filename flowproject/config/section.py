"""One table of `flowproject.toml` being checked: its keys are read, its problems are collected.

What the tables are for, and how they are laid over each other, is the business of `parse`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from flowproject.config.data import DATA_TYPES
from flowproject.config.deploy import Deploy
from flowproject.config.keys import Key, keys_of
from flowproject.config.kinds import RefusedError, Text, shown
from flowproject.config.model import Project, Schedule, Sensor
from flowproject.errors import closest

__all__ = ["Section"]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A table, where it stands, and the list that takes the problems of the whole file."""

    path: tuple[str, ...]
    table: Mapping[str, Any]
    problems: list[str]
    sound: bool = True
    """False if what stands there is no table, which has been reported."""

    @property
    def header(self) -> str:
        """The section as the file spells it: `[sensors.weather]`."""
        return f"[{'.'.join(self.path)}]"

    def inside(self, name: str) -> "Section":
        """The section called `name` in this one; an empty one if it is missing or no section."""
        path, value = (*self.path, name), self.table.get(name, {})
        section = Section(path=path, table={}, problems=self.problems, sound=False)
        if isinstance(value, Mapping):
            return Section(path=path, table=value, problems=self.problems)
        if isinstance(value, list):
            own = section.header if name == "data" else ""
            each = own or "[sensors.NAME], one for each sensor"
            self.report(f"[[{'.'.join(path)}]] is a list. Write {each}, in single brackets.")
        else:
            self.refuse(
                name, f"is not a section. Write {section.header}, then one key on each line."
            )
        return section

    def values(self, keys: Mapping[str, Key], *, beside: Collection[str] = ()) -> dict[str, Any]:
        """What the section sets, of the given keys; an empty string sets a key to its default.

        Every other key is a problem, except the names in `beside`, which somebody else reads.
        """
        found: dict[str, Any] = {}
        for name, value in self.table.items():
            if name in beside:
                continue
            if name not in keys:
                self._unknown(name, [*beside, *keys])
            elif value == "":
                found |= {} if keys[name].required else {name: keys[name].default}
            else:
                found |= self._read(keys[name], value)
        return found

    def unset(self, name: str) -> bool:
        """Whether the section leaves the key out, or sets it to the empty string."""
        return bool(self.table.get(name, "") == "")

    def refuse(self, name: str, why: str) -> None:
        """Record a problem with the value of a key."""
        place = f"{self.header} " if self.path else ""
        self.report(f"{place}{name} = {shown(self.table[name])} {why}")

    def refuse_hidden(self, name: str, why: str) -> None:
        """Record a problem with the value of a key, without the value."""
        self.report(f"{self.header} {name} has a value that {why}")

    def report(self, problem: str) -> None:
        """Record a problem."""
        self.problems.append(problem)

    def _read(self, key: Key, value: object) -> dict[str, Any]:
        try:
            return {key.name: key.kind.read(value)}
        except RefusedError as error:
            hidden = isinstance(key.kind, Text) and key.kind.hidden
            (self.refuse_hidden if hidden else self.refuse)(key.name, str(error))
            return {}

    def _unknown(self, name: str, known: list[str]) -> None:
        hint = self._home(name) or closest(name, known)
        usable = f"Use one of: {', '.join(known)}."
        if not self.path and isinstance(self.table[name], Mapping):
            self.report(f"[{name}] is not a section. {usable} {hint}".rstrip())
        else:
            self.refuse(name, f"is not a key here. {usable} {hint}".rstrip())

    def _home(self, name: str) -> str:
        """Where a key belongs that stands in the wrong section, or an empty string."""
        own = self.header if self.path[:1] == ("sensors",) else ""
        if name in {field.name for field in fields(Project)}:
            return "It belongs at the top of the file, above the first [section]."
        if name in keys_of(Schedule):
            return "It belongs in [sensor]: all sensors share one cadence."
        if name in keys_of(Deploy):
            return "It belongs in [deploy]."
        types = [kind for kind, cls in DATA_TYPES.items() if name in keys_of(cls)]
        if types and self.path[-1:] == ("data",):
            return f"It belongs to type = {' or '.join(map(repr, types))}."
        if own and name == "name":
            return f"The name of a sensor stands in its header: [sensors.{self.table[name]}]."
        if name in keys_of(Sensor):
            return f"It belongs in {self._sensor_header()}."
        return f"It belongs in {own.replace(']', '.data]') or '[data]'}." if types else ""

    def _sensor_header(self) -> str:
        if self.path[:1] == ("sensors",):
            return f"[sensors.{self.path[1]}]"
        several = self.path == ("sensor",)
        return "[sensors.NAME]: this file has several sensors" if several else "[sensor]"
