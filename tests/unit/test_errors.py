"""Errors say what, where, what is allowed and what to do, and survive on their way to the user."""

import pickle

import pytest
from metaflow.exception import MetaflowException

from flowproject.errors import FlowprojectError, SourceError, closest


def test_a_message_has_its_parts_in_order_each_as_a_sentence() -> None:
    error = SourceError("No folder", where="[data] path", allowed="A folder", fix="`mkdir data`")
    assert str(error) == "No folder. [data] path. A folder. `mkdir data`"


def test_parts_that_are_empty_leave_no_trace() -> None:
    assert str(SourceError("No folder", fix="Make it")) == "No folder. Make it."


@pytest.mark.parametrize("end", [".", "?", "!", ":", "`"])
def test_a_part_that_ends_as_a_sentence_is_left_alone(end: str) -> None:
    assert str(SourceError(f"So{end}")) == f"So{end}"


def test_metaflow_prints_the_message_under_the_headline() -> None:
    error = SourceError("No folder")
    assert isinstance(error, MetaflowException)
    assert (error.headline, error.message) == ("Source error", "No folder.")


def test_an_error_survives_pickling_because_metaflow_passes_it_between_processes() -> None:
    error = pickle.loads(pickle.dumps(SourceError("No folder", fix="Make it")))  # noqa: S301
    assert isinstance(error, SourceError)
    assert str(error) == "No folder. Make it."
    assert error.exit_code == SourceError.exit_code


def test_every_error_is_a_flowproject_error() -> None:
    with pytest.raises(FlowprojectError, match="No folder"):
        raise SourceError("No folder")


@pytest.mark.parametrize(
    "word, question",
    [("weathr", "Did you mean 'weather'?"), ("zzz", ""), ("", "")],
)
def test_the_closest_option_is_a_question_or_nothing(word: str, question: str) -> None:
    assert closest(word, ["weather", "sales"]) == question
