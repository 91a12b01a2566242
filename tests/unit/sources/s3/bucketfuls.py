"""Buckets full of made-up objects, what happens to them between two looks, and a brute force."""

import io
from collections.abc import Callable
from dataclasses import replace
from random import Random

from flowproject.changes.difference import Difference
from flowproject.sources.s3.scope import Scope
from flowproject.tables.builder import Built
from flowproject.tables.manifest import NEW, Manifest, key_bytes
from flowproject.tables.table import ObjectTable
from tests.s3_pages import MemoryBucket, Stored

Objects = dict[bytes, Stored]
Keys = set[bytes]

ODD = [
    "a",
    "b",
    "z",
    "0",
    " ",
    "+",
    "%",
    "%2F",
    "é",
    "😀",
    "\n",
    "\t",
    "//",
    "&",
    "<",
    "~",
    ".",
    '"',
]
PROPERTIES = {"size": "size", "etag": "etag", "last_modified": "modified"}


def odd(chance: Random) -> str:
    depth = chance.randrange(1, 5)
    return "/".join("".join(chance.choices(ODD, k=chance.randrange(1, 4))) for _ in range(depth))


SHAPES: dict[str, Callable[[Random], str]] = {
    "flat": lambda chance: f"part-{chance.randrange(9999):06}",
    "hashed": lambda chance: f"{chance.getrandbits(32):08x}",
    "days": lambda chance: f"dt=2026-11-{chance.randrange(1, 31):02}/{chance.randrange(99):03}.csv",
    "odd": odd,
}


def fill(bucket: MemoryBucket, chance: Random, prefix: bytes, shape: str, count: int) -> None:
    """Put so many objects below a prefix."""
    for _ in range(count):
        key = prefix + SHAPES[shape](chance).encode()
        bucket.objects[key] = Stored(chance.randrange(3), chance.randrange(1000))


def write_again(objects: Objects, key: bytes) -> None:
    objects[key] = replace(objects[key], generation=objects[key].generation + 1)


def scatter(objects: Objects, chance: Random) -> None:
    keys = sorted(objects)
    for key in chance.sample(keys, min(5, len(keys))):
        write_again(objects, key)
    for key in chance.sample(keys, min(5, len(keys))):
        del objects[key]
    for key in chance.sample(keys, min(5, len(keys))):
        objects[key + b"!"] = Stored()


def cluster(objects: Objects, chance: Random) -> None:
    keys = sorted(objects)
    start = chance.randrange(len(keys) + 1)
    for key in keys[start : start + 30]:
        write_again(objects, key)
    for key in keys[start + 30 : start + 60]:
        del objects[key]


def grow_at_the_end(objects: Objects, chance: Random) -> None:
    last = max(objects, default=b"")
    for number in range(chance.randrange(1, 120)):
        objects[last + b"%05d" % number] = Stored()


def grow_at_the_start(objects: Objects, chance: Random) -> None:
    first = min(objects, default=b"!")
    prefix = first[: first.rfind(b"/") + 1]
    for number in range(chance.randrange(1, 20)):
        objects[prefix + b"!%05d" % number] = Stored()


def shrink_at_the_end(objects: Objects, chance: Random) -> None:
    for key in sorted(objects)[-chance.randrange(1, 60) :]:
        del objects[key]


def double(objects: Objects, _: Random) -> None:
    objects.update({key + b"+": Stored() for key in objects})


def replace_all(objects: Objects, _: Random) -> None:
    for key in list(objects):
        objects[key + b"2"] = objects.pop(key)


MUTATIONS = [
    lambda _objects, _chance: None,
    scatter,
    cluster,
    grow_at_the_end,
    grow_at_the_start,
    shrink_at_the_end,
    double,
    replace_all,
    lambda objects, _: objects.clear(),
]


class Archive:
    """Keeps the segments of tables, as a journal would."""

    def __init__(self) -> None:
        self._segments: dict[str, bytes] = {}

    def record(self, built: Built) -> ObjectTable:
        manifest = built.items.manifest
        if NEW in manifest.segments:
            name = f"segment-{len(self._segments)}"
            with built.items.open_segment(NEW) as segment:
                self._segments[name] = segment.read()
            manifest = manifest.recorded(name)
        written = Manifest.from_json(manifest.to_json())
        return ObjectTable(written, lambda name: io.BytesIO(self._segments[name]))


def in_scope(objects: Objects, scope: Scope) -> Objects:
    """The objects that a scope is about."""
    return {
        key: stored
        for key, stored in objects.items()
        if key.startswith(scope.prefix) and scope.holds(key)
        if stored.size or not key.endswith(b"/")  # it only stands for a folder
    }


def brute_force(old: Objects, new: Objects, scope: Scope) -> tuple[Keys, Keys, Keys]:
    """The keys that were added, modified and removed."""
    both = old.keys() & new.keys()
    modified = {key for key in both if identity(old[key], scope) != identity(new[key], scope)}
    return set(new.keys() - old.keys()), modified, set(old.keys() - new.keys())


def identity(stored: Stored, scope: Scope) -> tuple[object, ...]:
    names = [name for key, name in PROPERTIES.items() if key not in scope.ignore]
    return tuple(getattr(stored, name) for name in names)


def keys_of(difference: Difference) -> tuple[Keys, Keys, Keys]:
    return (
        {key_bytes(item.key) for item in difference.added},
        {key_bytes(item.key) for item, _ in difference.modified},
        {key_bytes(item.key) for item in difference.removed},
    )
