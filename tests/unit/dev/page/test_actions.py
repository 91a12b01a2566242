"""Each action says what it will do, or why it can't."""

from dataclasses import replace
from pathlib import Path

import pytest

from flowproject.dev.page.actions import Field, plan
from flowproject.dev.page.context import PageContext
from flowproject.errors import UsageError
from tests.unit.dev.page.page_context import LOOKER, TAKER, page_context, tick


@pytest.fixture
def page(tmp_path: Path) -> PageContext:
    return page_context(tmp_path, "days", "months")


@pytest.mark.parametrize(
    "name, target, title, command",
    [
        (
            "tick",
            {"sensor": "days"},
            "Tick days now",
            "FLOWPROJECT_SENSORS=days python sensorflow.py run",
        ),
        (
            "force",
            {"sensor": "days"},
            "Force days",
            "FLOWPROJECT_SENSORS=days python sensorflow.py run --force-trigger True",
        ),
        ("preview", {"sensor": "days"}, "Preview days", "flowproject preview days"),
        ("replay", {"change": "days/3"}, "Replay change days/3", "flowproject replay days/3"),
        (
            "skip",
            {"change": "days/3"},
            "Let the changes after days/3 pass",
            "flowproject skip days/3",
        ),
        ("replay", {"change": "x; rm y"}, "Replay change x; rm y", "flowproject replay 'x; rm y'"),
        ("pause", {"sensor": "days"}, "Pause days", ""),
        ("resume", {"sensor": "days"}, "Resume days", ""),
        ("run", {"flow": "TakerFlow"}, "Run TakerFlow", "python takerflow.py run"),
    ],
)
def test_a_plan_says_what_it_does_and_how_to_do_it_in_a_terminal(
    page: PageContext, name: str, target: dict[str, str], title: str, command: str
):
    made = plan(page, name, target)
    assert (made.name, made.title) == (name, title)
    *before, last = made.command.splitlines() or [""]
    assert last == command
    # What publishes is told where this loop listens.
    publishes = name in {"tick", "force", "replay", "skip", "run"}
    assert before == [f"export METAFLOW_ARGO_EVENTS_WEBHOOK_URL={page.bus}"] * publishes
    assert made.hidden == target
    assert made.label
    assert made.says
    assert all(sentence.endswith(".") for sentence in made.says)


def test_commands_are_of_the_branch_of_the_loop(page: PageContext):
    page = replace(page, options=("--branch", "x y"))
    told = [
        plan(page, name, target).command.splitlines()[-1]
        for name, target in [
            ("run", {"flow": "TakerFlow"}),
            ("replay", {"change": "days/3"}),
            ("preview", {"sensor": "days"}),
        ]
    ]
    assert told == [
        "python takerflow.py --branch 'x y' run",
        "flowproject replay --branch 'x y' days/3",
        "flowproject preview --branch 'x y' days",
    ]


def test_a_tick_by_hand_says_that_it_looks_at_one_sensor_and_that_a_pause_stays(page: PageContext):
    assert "no other sensor" in plan(page, "tick", {"sensor": "days"}).says[0]
    page.paused["days"] = page.now()
    assert plan(page, "tick", {"sensor": "days"}).says[-1].endswith("It stays paused.")


def test_a_preview_says_that_it_writes_nothing(page: PageContext):
    assert "Nothing is written" in plan(page, "preview", {"sensor": "days"}).says[0]


def test_a_run_asks_for_the_parameters_of_its_flow(page: PageContext):
    assert plan(page, "run", {"flow": "TakerFlow"}).fields == (
        Field(name="town", type="str", required=True),
        Field(name="limit", type="int", required=False),
    )


@pytest.mark.parametrize(
    "name, target, words",
    [
        ("tikc", {"sensor": "days"}, ["no action 'tikc'", "Did you mean 'tick'"]),
        ("tick", {"sensor": "dyas"}, ["no sensor 'dyas'", "Did you mean 'days'", "days, months"]),
        ("tick", {}, ["no sensor ''"]),
        ("pause", {"sensor": "dys"}, ["Did you mean 'days'"]),
        ("preview", {"flow": "TakerFlow"}, ["no sensor ''"]),
        ("run", {"flow": "TakrFlow"}, ["no flow 'TakrFlow'", "Did you mean 'TakerFlow'"]),
    ],
)
def test_what_is_not_there_is_refused_with_what_was_meant(
    page: PageContext, name: str, target: dict[str, str], words: list[str]
):
    with pytest.raises(UsageError) as refused:
        plan(page, name, target)
    for part in words:
        assert part in str(refused.value)


def test_a_sensor_that_no_flow_looks_at_can_only_be_previewed(tmp_path: Path):
    page = page_context(tmp_path, "days", flows=(TAKER,))
    with pytest.raises(UsageError, match="No flow looks at the sensor 'days'"):
        plan(page, "tick", {"sensor": "days"})
    assert plan(page, "preview", {"sensor": "days"})


def test_a_flow_without_the_parameter_cannot_be_forced(tmp_path: Path):
    page = page_context(tmp_path, "days", flows=(replace(LOOKER, parameters=()),))
    with pytest.raises(UsageError, match="can't be told to force"):
        plan(page, "force", {"sensor": "days"})


def test_the_flow_that_looked_last_is_the_one_that_looks_again(tmp_path: Path):
    own = replace(LOOKER, name="OwnFlow", path=Path("/project/ownflow.py"), sensors=("months",))
    page = page_context(tmp_path, "days", "months", flows=(LOOKER, own))
    assert plan(page, "tick", {"sensor": "months"}).command.endswith("python sensorflow.py run")
    page.loop.update(tick(sensor="months", flow="OwnFlow"))
    assert plan(page, "tick", {"sensor": "months"}).command.endswith("python ownflow.py run")
    assert plan(page, "tick", {"sensor": "days"}).command.endswith("python sensorflow.py run")
