"""Of all runs that ask for a change, one has the receipt: on every store of the journal."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import pytest

from flowproject.changes.canonical import digest_value
from flowproject.changes.difference import Difference
from flowproject.errors import JournalError
from flowproject.journal import Journal, Receipt, Store, prune
from flowproject.journal.layout import sealed
from tests.journals import CountingStore, entry, fill, journal_on

OURS = Receipt(
    id=entry(1).id, seq=1, attempt=1, flow="AFlow", run="AFlow/1", at="2026-01-01T00:00:00+00:00"
)
KEY = f"flowproject/p/user.me/s/receipts/0000000001-{OURS.id}/1-AFlow.json"


def claim(journal: Journal, receipt: Receipt) -> Receipt:
    return journal.receipts.claim(receipt)


def test_the_first_run_has_the_receipt_and_each_later_one_is_told_so(journal: Journal) -> None:
    assert claim(journal, OURS) == OURS
    assert claim(journal, replace(OURS, run="AFlow/2", at="later")) == OURS


def test_the_same_run_has_its_receipt_again(journal: Journal) -> None:
    claim(journal, OURS)
    assert claim(journal, replace(OURS, at="when it was tried again")) == OURS


def test_another_flow_another_attempt_and_another_change_have_receipts_of_their_own(
    journal: Journal,
) -> None:
    receipts = (
        OURS,
        replace(OURS, flow="BFlow", run="BFlow/2"),
        replace(OURS, attempt=2, run="AFlow/3"),
        replace(OURS, attempt=10, run="AFlow/4"),
    )
    for receipt in (*receipts, replace(OURS, seq=2, id=entry(2).id, run="AFlow/5")):
        assert claim(journal, receipt) == receipt
    assert journal.receipts.read(1, OURS.id) == receipts
    assert journal.receipts.receivers(1, OURS.id) == {
        (1, "AFlow"),
        (1, "BFlow"),
        (2, "AFlow"),
        (10, "AFlow"),
    }


def test_a_change_that_no_run_took_has_no_receipts(journal: Journal) -> None:
    assert journal.receipts.receivers(1, OURS.id) == frozenset()
    assert journal.receipts.read(1, OURS.id) == ()


def test_a_claim_is_one_request_and_the_receivers_are_one_more(store: Store) -> None:
    counting = CountingStore(store)
    claim(journal_on(counting), OURS)
    journal_on(counting).receipts.receivers(1, OURS.id)
    assert counting.requests == ["create", "keys"]


def test_of_many_runs_at_once_exactly_one_has_the_receipt_and_all_know_which(store: Store) -> None:
    def attempt(number: int) -> Receipt:
        return claim(journal_on(store), replace(OURS, run=f"AFlow/{number}"))

    with ThreadPoolExecutor(8) as pool:
        standing = set(pool.map(attempt, range(8)))
    assert len(standing) == 1
    assert journal_on(store).receipts.read(1, OURS.id) == tuple(standing)


class Faulty(CountingStore):
    """A store whose answer to a create is an error or a conflict, whether or not it did it."""

    def __init__(self, store: Store, *, does: bool, fails: bool) -> None:
        super().__init__(store)
        self._does, self._fails = does, fails

    def create(self, key: str, content: bytes) -> bool:
        if self._does:
            self._store.create(key, content)
        if self._fails:
            raise JournalError("the connection was cut")
        return False


@pytest.mark.parametrize("fails", [True, False])
def test_a_claim_that_did_happen_is_ours_whatever_the_store_said(
    store: Store, *, fails: bool
) -> None:
    assert claim(journal_on(Faulty(store, does=True, fails=fails)), OURS) == OURS


@pytest.mark.parametrize("fails", [True, False])
def test_a_claim_that_failed_is_an_error_and_another_try_has_it(
    store: Store, *, fails: bool
) -> None:
    with pytest.raises(JournalError):
        claim(journal_on(Faulty(store, does=False, fails=fails)), OURS)
    assert claim(journal_on(store), OURS) == OURS


def test_an_error_hides_no_other_run(store: Store) -> None:
    claim(journal_on(store), OURS)
    faulty = journal_on(Faulty(store, does=True, fails=True))
    assert claim(faulty, replace(OURS, run="AFlow/2")) == OURS


LATER = {**OURS.to_json(), "v": 2}
WHOLE = sealed(asdict(OURS))


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[1]",
        b"{}",
        WHOLE.replace(b"AFlow/1", b"AFlow/2"),
        sealed({"id": OURS.id}),
        json.dumps({**LATER, "digest": digest_value(LATER)}).encode(),
    ],
)
def test_a_receipt_that_can_not_be_read_fails_the_claim_and_names_the_replay(
    journal: Journal, store: Store, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store.put(KEY, damage)
    claim(journal, replace(OURS, flow="BFlow", run="BFlow/2"))
    with pytest.raises(JournalError, match=f"`flowproject replay {OURS.id}`") as caught:
        claim(journal, OURS)
    assert KEY in str(caught.value)
    assert journal.receipts.receivers(1, OURS.id) == {(1, "AFlow"), (1, "BFlow")}, "it is there"
    assert [receipt.flow for receipt in journal.receipts.read(1, OURS.id)] == ["BFlow"]
    assert f"flowproject replay {OURS.id}" in caplog.text
    assert claim(journal, replace(OURS, attempt=2)).attempt == 2


def test_receipts_go_with_their_change(journal: Journal, store: Store) -> None:
    fill(journal, 4)
    for seq in range(1, 5):
        claim(journal, replace(OURS, seq=seq, id=entry(seq).id))
    prune(store, journal, journal.head(), keep=2)
    assert [len(journal.receipts.receivers(seq, entry(seq).id)) for seq in range(1, 5)] == [
        0,
        0,
        1,
        1,
    ]


def test_what_is_no_receipt_is_passed_over(journal: Journal, store: Store) -> None:
    claim(journal, OURS)
    for name in (".DS_Store", "notes.txt", "0-AFlow.json", "AFlow.json"):
        store.put(KEY.replace("1-AFlow.json", name), b"x")
    assert journal.receipts.read(1, OURS.id) == (OURS,)
    assert journal.record(entry(1), None, Difference())
