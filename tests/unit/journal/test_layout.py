"""What lies in a journal that this version can't read, and what must not be taken for damage."""

import json
from pathlib import Path

import pytest

from flowproject.errors import JournalError
from flowproject.journal import Journal, open_store
from tests.journals import entry, mark

NEWER = json.dumps({"v": 2, "flows": ["TakerFlow"], "digest": "of another kind"}).encode()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(open_store(str(tmp_path)), project="p", branch="user.a", sensor="s")


def test_what_a_newer_version_recorded_is_neither_called_damaged_nor_written_anew(
    journal: Journal, tmp_path: Path
) -> None:
    journal.outbox.record_listeners(["AFlow"], by="test")
    [listeners] = tmp_path.rglob("listeners.json")
    listeners.write_bytes(NEWER)
    for ask in (
        journal.outbox.listeners,
        lambda: journal.outbox.record_listeners(["AFlow"], by="test"),
    ):
        with pytest.raises(JournalError, match="its format is 2, and this is 1") as caught:
            ask()
        assert "It is not damaged, so leave it where it is" in str(caught.value)
        assert "Remove it" not in str(caught.value)
    assert listeners.read_bytes() == NEWER


def test_what_is_damaged_is_still_called_so_and_listeners_are_then_written_anew(
    journal: Journal, tmp_path: Path
) -> None:
    journal.outbox.record_listeners(["AFlow"], by="test")
    [listeners] = tmp_path.rglob("listeners.json")
    body = {"v": "2", "flows": []}
    for content in (b"{}", b"[]", b"", json.dumps(body).encode()):
        listeners.write_bytes(content)
        with pytest.raises(JournalError, match="is damaged"):
            journal.outbox.listeners()
    journal.outbox.record_listeners(["AFlow"], by="test")
    assert journal.outbox.listeners().flows == ("AFlow",)


def test_a_mark_of_a_newer_version_is_not_damage_either(journal: Journal, tmp_path: Path) -> None:
    recorded = entry(1)
    mark(journal, recorded)
    [path] = (path for path in tmp_path.rglob("*.json") if path.parent.name == "published")
    path.write_bytes(NEWER)
    with pytest.raises(JournalError, match="or a newer one"):
        journal.outbox.mark(recorded)


def test_a_folder_in_the_place_of_an_object_is_named_and_never_taken_for_another_ticks(
    tmp_path: Path,
) -> None:
    store = open_store(str(tmp_path))
    (tmp_path / "entries" / "1.json").mkdir(parents=True)
    with pytest.raises(JournalError, match=r"entries/1\.json.*a folder is in its place"):
        store.create("entries/1.json", b"{}")
    assert store.create("entries/2.json", b"{}")
    assert not store.create("entries/2.json", b"{}")
