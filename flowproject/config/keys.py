"""Works out which keys a section has, and the type of each value, from the model's dataclasses.

A field's annotation says it (`str`, `int`, a list of texts, one of a few words); where that is not
enough, the field is `Annotated` with a name, and what the name means stands here.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from flowproject.config.model import key_of
from flowproject.config.values import (
    Boolean,
    Choice,
    ChoiceList,
    CronExpression,
    Duration,
    Integer,
    Text,
    TextList,
    ValueType,
    ZoneName,
)

__all__ = ["Key", "keys_of"]

# Patterns are what the strictest reader of a name takes: Metaflow, Argo Events, the paths of a
# datastore.
_NAMED: Final[dict[str, ValueType]] = {
    "project name": Text(
        pattern=r"[a-z0-9_]{1,128}",
        words="lowercase letters, digits and underscores, at most 128",
        why=": Metaflow's rule for the name of a project",
    ),
    "sensor name": Text(
        pattern=r"[a-z][a-z0-9_]{0,127}",
        words="lowercase letters, digits and underscores, a letter first, at most 128",
    ),
    "event name": Text(
        pattern=r"[A-Za-z0-9_-]+",
        words="letters, digits, '_' and '-'",
        why=": Argo refuses most others, and with a dot an event of the user `a` could have the "
        "name of one of the user `a.b`",
    ),
    "pushed event": Text(
        pattern=r"[A-Za-z][A-Za-z0-9_.-]*",
        words="letters, digits, '_', '-' and '.', a letter first",
        why=": Argo Events can't evaluate others",
    ),
    "payload key": Text(
        pattern=r"[A-Za-z0-9_]+",
        words="letters, digits and '_'",
        why=": Argo refuses other keys of payloads",
        reserved=("id", "name", "timestamp", "utc_date", "change"),
    ),
    "variable name": Text(
        pattern=r"[A-Za-z_][A-Za-z0-9_]*",
        words="the name of an environment variable: letters, digits and '_', no digit first",
        why=". A secret never stands in this file",
        hidden=True,
    ),
    "mail address": Text(
        pattern=r"[^\s@<>,]+@[^\s@<>,]+", words="an address such as a@example.com"
    ),
    "failures in a row": Integer(),
    "cron": CronExpression(),
    "time zone": ZoneName(),
    "duration": Duration(),
    "duration above 0": Duration(zero=False),
    "events in an hour": Integer(least=0),
}


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of a section."""

    name: str
    type: ValueType
    required: bool
    default: Any = None


def keys_of(section: type) -> dict[str, Key]:
    """The keys of a section by name; fields that are sections themselves are left out."""
    # With its extras, because the name in `Annotated` says what a bare `str` can't.
    hints = get_type_hints(section, include_extras=True)
    # What must be there comes first, behind `type`: inherited fields stand before a class's own.
    ordered = sorted(
        fields(section), key=lambda it: it.name != "type" and it.default is not MISSING
    )
    return {
        key_of(field.name): Key(
            name=key_of(field.name),
            type=found,
            required=field.default is MISSING,
            default=None if field.default is MISSING else field.default,
        )
        for field in ordered
        if (found := _value_type(hints[field.name])) is not None
    }


def _value_type(hint: Any) -> ValueType | None:
    """The type of value that an annotation stands for, or None for a section."""
    if get_origin(hint) is Annotated:
        return _NAMED[get_args(hint)[1]]
    if get_origin(hint) is Literal:
        # Empty means not set, for every key: it is no word of its own.
        return Choice(options=tuple(option for option in get_args(hint) if option))
    if get_origin(hint) is tuple and get_origin(get_args(hint)[0]) is Literal:
        return ChoiceList(options=get_args(get_args(hint)[0]))
    # What is none of these is a section: a dataclass, or a dict of them.
    plain: Mapping[Any, ValueType] = {
        str: Text(),
        bool: Boolean(),
        int: Integer(),
        tuple[str, ...]: TextList(),
    }
    return plain.get(hint)
