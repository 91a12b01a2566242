"""A manifest says where a table is, survives being JSON, and shows damage."""

import json
from bisect import bisect_left
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.changes.canonical import digest_value
from flowproject.tables.manifest import NEW, Manifest, Span, fingerprint, key_bytes, key_text
from tests.unit.tables.objects import KEYS

BOUNDS = st.sets(KEYS | st.binary(max_size=6), max_size=6).map(sorted)
NUMBERS = st.integers(0, 5000)


@st.composite
def manifests(draw: Any) -> Manifest:
    spans = [
        Span(key_text(last), draw(NUMBERS), draw(NUMBERS), draw(st.text(max_size=4)), 0, number)
        for number, last in enumerate(draw(BOUNDS))
    ]
    return Manifest(
        view=draw(st.text(max_size=4)),
        total=draw(st.integers(0, 2**128 - 1)),
        spans=tuple(spans),
        segments=("one", NEW),
        rows=(draw(NUMBERS), draw(NUMBERS)),
        ordered=draw(st.booleans()),
        identity=("size",),
    )


def on_disk(manifest: Manifest) -> Any:
    return json.loads(json.dumps(manifest.to_json(), ensure_ascii=False).encode("utf-8"))


@given(manifests())
def test_it_survives_being_json(manifest: Manifest):
    assert Manifest.from_json(on_disk(manifest)) == manifest


@given(manifests(), st.data())
def test_whatever_is_altered_shows(manifest: Manifest, data: st.DataObject):
    document = on_disk(manifest)
    name = data.draw(st.sampled_from(sorted(document)))
    with pytest.raises(ValueError, match="digest"):
        Manifest.from_json({**document, name: [document[name], "altered"]})


@pytest.mark.parametrize(
    "altered, message",
    [
        pytest.param({"v": 2}, "format is 2", id="a later version"),
        pytest.param({"kind": "rows"}, "format", id="another kind"),
        pytest.param(
            {"spans": [["b", 1, 1, "", 0, 0], ["a", 1, 1, "", 0, 1]]}, "order", id="order"
        ),
        pytest.param({"spans": [["a", 1]]}, "fields", id="too few fields"),
    ],
)
def test_what_is_whole_and_wrong_is_damage_too(altered: dict[str, Any], message: str):
    manifest = Manifest(view="", total=0, spans=(), segments=())
    body = {**manifest.to_json(), **altered}
    del body["digest"]
    with pytest.raises(ValueError, match=message):
        Manifest.from_json({**body, "digest": digest_value(body)})


@pytest.mark.parametrize("document", [None, [], "text", 1, {}])
def test_what_is_no_document_is_damage(document: Any):
    with pytest.raises(ValueError, match="digest"):
        Manifest.from_json(document)


@settings(max_examples=300)
@given(bounds=BOUNDS, low=st.none() | KEYS, high=st.none() | KEYS)
def test_the_spans_that_a_window_touches_are_found(
    bounds: list[bytes], low: bytes | None, high: bytes | None
):
    spans = tuple(Span(key_text(bound), 1, 1, "") for bound in bounds)
    manifest = Manifest(view="", total=0, spans=spans, segments=())
    touched = manifest.covering(
        None if low is None else key_text(low), None if high is None else key_text(high)
    )
    starts = [None, *bounds]
    expected = [
        place
        for place, (start, end) in enumerate(zip(starts, bounds, strict=False))
        if (low is None or end > low) and (high is None or start is None or start < high)
    ]
    if low is None or high is None or low < high:
        assert list(touched) == expected


@given(st.lists(KEYS | st.binary(max_size=6)))
def test_keys_are_text_that_gives_back_their_bytes(keys: list[bytes]):
    assert [key_bytes(key_text(key)) for key in keys] == keys


def test_a_new_segment_gets_its_name():
    manifest = Manifest(view="", total=0, spans=(), segments=("old", NEW))
    assert manifest.recorded("new").segments == ("old", "new")


def test_a_fingerprint_follows_from_count_and_total():
    manifest = Manifest(view="", total=7, spans=(Span("a", 3, 2, ""),), segments=())
    assert manifest.fingerprint == fingerprint(2, 7)
    assert fingerprint(2, 7) == fingerprint(2, 7 - 2**128)
    assert fingerprint(2, 7) != fingerprint(3, 7)


def test_a_manifest_without_spans_covers_nothing():
    manifest = Manifest(view="", total=0, spans=(), segments=())
    assert list(manifest.covering(None, None)) == []
    assert replace(manifest, ordered=False) != manifest
    assert bisect_left(manifest.bounds, b"a") == 0
