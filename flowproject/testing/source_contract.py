"""What every source promises, as tests: a class that the tests of a new source inherit.

What is promised to ticks stands here; what only some sources can do stands in their own tests.
"""

import itertools
import json
from pathlib import Path
from typing import Final, Protocol

import pytest

from flowproject.changes.canonical import canonical
from flowproject.changes.difference import Difference, Item, diff
from flowproject.changes.observation import Observation, Past
from flowproject.config.data import DATA_TYPES, Data
from flowproject.config.keys import keys_of
from flowproject.config.model import Project
from flowproject.config.parse import parse_config
from flowproject.config.reference import documentation, page, schema
from flowproject.errors import FlowprojectError, SourceError
from flowproject.packages import requirements
from flowproject.sources import Source, open_source, speaks_sql
from flowproject.tables.row_table import RowTable
from flowproject.tables.table import ObjectTable

__all__ = ["SourceContract", "SourcePlace", "remembered"]

_NUMBERS: Final = itertools.count(1)


class SourcePlace(Protocol):
    """Where the data of the source lies, and what can happen to it there: a real one, if small."""

    toml: str
    """The section `[data]` that watches it, without its header."""
    root: Path
    """The folder of the project."""

    def put(self, key: str, content: str) -> None:
        """Add an item, or give it another content."""

    def delete(self, key: str) -> None:
        """Take an item away."""

    def lose(self) -> None:
        """Take away all of it, as if it had never been there, or nobody could reach it."""


def remembered(seen: Observation) -> Past:
    """What would be known of this look if it had been recorded."""
    items = seen.items
    if isinstance(items, ObjectTable | RowTable):
        items = items.recorded(f"rows-{next(_NUMBERS)}")
    memo = json.dumps(seen.memo)
    return Past(
        seen.value,
        lambda: items,
        fingerprint=seen.fingerprint,
        total=None if items is None else len(items),
        load_memo=lambda: dict(json.loads(memo)),
    )


class SourceContract:
    """Inherit this, and give it a fixture `place` that returns a `SourcePlace`."""

    def test_the_configuration_knows_its_keys(self, place: SourcePlace) -> None:
        """It is read from TOML, and is the same after a run has carried it as JSON."""
        project = _project(place)
        data = _data(place)
        assert type(data) is DATA_TYPES[data.type]
        assert Project.from_dict(json.loads(json.dumps(project.to_dict()))) == project

    def test_a_misspelt_key_is_refused(self, place: SourcePlace) -> None:
        """The parser knows all its keys, so that one which it does not know is an error."""
        with pytest.raises(FlowprojectError, match="no_such_key"):
            parse_config(f'project_name = "p"\n[data]\n{place.toml}\nno_such_key = "x"\n')

    def test_every_key_is_explained(self, place: SourcePlace) -> None:
        """The schema and the reference page tell what stands below each key of the dataclass."""
        data = _data(place)
        notes = documentation(type(data))
        assert {name for name in keys_of(type(data)) if not notes.get(name)} == set()
        assert set(json.loads(schema())["definitions"][data.type]["properties"]) == {
            *keys_of(type(data))
        }
        assert f'### `type = "{data.type}"`' in page()

    def test_steps_that_run_elsewhere_are_given_what_it_needs(self, place: SourcePlace) -> None:
        """Each package has a name and versions."""
        assert all(requirements([_data(place).type]).values())

    def test_the_same_data_give_the_same_observation(self, place: SourcePlace) -> None:
        """Else every tick would be a change."""
        place.put("a", "1")
        place.put("b", "2")
        first, second = _look(place), _look(place)
        assert (first.value, first.fingerprint) == (second.value, second.fingerprint)

    def test_items_that_come_change_and_go_are_told(self, place: SourcePlace) -> None:
        """With the past and without it the difference is the same."""
        place.put("kept", "0")
        place.put("b", "1")
        before = _look(place)
        place.put("a", "1")
        place.put("b", "2")
        after = _look(place, remembered(before))
        assert before.fingerprint != after.fingerprint
        assert _difference(before, after).counts == {"added": 1, "modified": 1, "removed": 0}
        place.delete("b")
        last = _look(place, remembered(after))
        assert _difference(after, last).counts == {"added": 0, "modified": 0, "removed": 1}
        assert last.fingerprint == _look(place).fingerprint

    def test_what_comes_back_is_what_it_was(self, place: SourcePlace) -> None:
        """An item that came and went leaves no trace."""
        place.put("a", "1")
        before = _look(place)
        place.put("b", "2")
        between = _look(place, remembered(before))
        place.delete("b")
        assert _look(place, remembered(between)).fingerprint == before.fingerprint

    def test_nothing_that_moved_is_no_difference(self, place: SourcePlace) -> None:
        """Whatever a source leaves itself as a memo, it must be right with it."""
        place.put("a", "1")
        first = _look(place)
        second = _look(place, remembered(first))
        assert (second.value, second.fingerprint) == (first.value, first.fingerprint)
        assert not any(_difference(first, second).counts.values())
        third = _look(place, remembered(second))
        assert third.fingerprint == first.fingerprint
        assert third.items is None or first.items is None or len(third.items) == len(first.items)

    def test_items_are_json(self, place: SourcePlace) -> None:
        """They are kept in the journal, and read years later."""
        place.put("a", "1")
        for item in _items(_look(place)).values():
            assert canonical(item.data) == item.data
            assert json.loads(json.dumps(item.data)) == item.data

    def test_what_can_not_be_reached_is_an_error_and_never_nothing(
        self, place: SourcePlace
    ) -> None:
        """A source that is down must not look like one whose items were all removed."""
        place.put("a", "1")
        before = remembered(_look(place))
        place.lose()
        for past in (None, before):
            with pytest.raises(FlowprojectError) as failure:
                _look(place, past)
            assert str(failure.value)

    def test_a_check_reaches_for_nothing(self, place: SourcePlace) -> None:
        """`flowproject check` takes no longer than reading files."""
        place.lose()
        _open(place).check()

    def test_a_source_that_was_stopped_says_so(self, place: SourcePlace) -> None:
        """A sensor that is out of time is told to stop, whether its look has begun or not."""
        source = _open(place)
        source.cancel()
        with pytest.raises(SourceError):
            source.observe()

    def test_a_source_without_queries_says_so(self, place: SourcePlace) -> None:
        """Or it runs those of the project: then its own tests say how."""
        if not speaks_sql(_data(place)):
            with pytest.raises(SourceError, match="can't run queries"):
                _open(place).query("any", {})


def _project(place: SourcePlace) -> Project:
    return Project.from_dict(parse_config(f'project_name = "p"\n[data]\n{place.toml}\n'))


def _data(place: SourcePlace) -> Data:
    [sensor] = _project(place).sensors.values()
    return sensor.data


def _open(place: SourcePlace) -> Source:
    return open_source(_data(place), place.root)


def _look(place: SourcePlace, past: Past | None = None) -> Observation:
    return _open(place).observe(past)


def _items(seen: Observation) -> dict[str, Item]:
    return {item.key: item for item in seen.items.values()} if seen.items is not None else {}


def _difference(before: Observation, after: Observation) -> Difference:
    if after.difference is not None:
        return after.difference
    return diff(_items(before), _items(after))
