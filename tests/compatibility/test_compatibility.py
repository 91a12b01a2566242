"""What released versions wrote, read by this one: configurations, journals, projects of `init`.

Each folder beside this file is a version, and none of its files is ever edited: `project` is what
`init --example orders` wrote, with sensors of every shape, and `journal` what two ticks and a run
left of it. A release adds one (CONTRIBUTING.md).
"""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flowproject import sensing
from flowproject.change import Change
from flowproject.changes.payload import facts
from flowproject.config.parse import load
from flowproject.scaffold.init import Package, WrittenState
from flowproject.scaffold.upgrade import apply_upgrade, plan_upgrade
from flowproject.sensing import ProjectContext

VERSIONS = sorted(path for path in Path(__file__).parent.iterdir() if (path / "project").is_dir())
CUSTOMER = "harbour cafe"


@pytest.fixture(params=VERSIONS, ids=lambda path: path.name)
def version(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.param
    return folder


@pytest.fixture
def context(version: Path, tmp_path: Path) -> ProjectContext:
    """The project as that version left it, journal and all."""
    root = shutil.copytree(version / "project", tmp_path / "project")
    # git keeps no times, and a folder is watched by them.
    for name, day in (("a.csv", 1), ("c.csv", 2)):
        moment = datetime(2026, 11, day, tzinfo=UTC).timestamp()
        os.utime(root / "deliveries" / name, (moment, moment))
    shutil.copytree(version / "journal", tmp_path / ".metaflow" / "flowproject")
    return ProjectContext.open(
        root, project=load(root), branch="user.tester", datastore=str(tmp_path / ".metaflow")
    )


def test_an_upgrade_is_no_change(context: ProjectContext) -> None:
    ticks = {tick.sensor: tick for tick in sensing.observe(context)}
    assert set(ticks) == {"orders", "deliveries", "revenue"}
    assert {name: tick.outcome for name, tick in ticks.items()} == dict.fromkeys(ticks, "unchanged")


def test_what_changes_after_it_is_told_from_what_was_seen_before(context: ProjectContext) -> None:
    (context.root / "deliveries" / "a.csv").unlink()
    orders = context.root / "data" / "orders.csv"
    orders.write_text(orders.read_text().replace(f"{CUSTOMER},12,", f"{CUSTOMER},13,"))
    ticks = {tick.sensor: tick for tick in sensing.observe(context)}
    assert ticks["orders"].reason == "1 modified"
    assert ticks["deliveries"].reason == "1 removed"
    assert ticks["revenue"].outcome == "changed"
    assert {tick.seq for tick in ticks.values()} == {3}


def test_the_changes_of_then_have_their_items(context: ProjectContext) -> None:
    journal = context.journal("orders")
    entry = journal.get(2)
    assert entry
    assert entry.reason == "1 added, 1 modified, 1 removed"
    change = change_of(context, "orders", 2)
    assert [order["order_id"] for order in change.added] == [1007]
    [edited] = change.modified
    assert (edited["old"]["units"], edited["new"]["units"]) == (2, 5)
    assert [order["customer"] for order in change.removed] == ["library"]
    assert [file["key"] for file in change_of(context, "deliveries", 2).removed] == ["b.csv"]


def test_what_became_of_a_change_is_known(context: ProjectContext) -> None:
    ticks = sensing.publish(context, sensing.observe(context))
    # Sent then, and taken by a run: there is nothing to deliver any more.
    assert [tick.delivery for tick in ticks] == ["", "", ""]


def change_of(context: ProjectContext, sensor: str, seq: int) -> Change:
    journal = context.journal(sensor)
    entry = journal.get(seq)
    assert entry
    told = facts(entry, location=journal.entry_key(seq), attempt=1, first_seq=seq)
    return Change(told, lambda: context.store)


def test_three_edits_outlive_an_upgrade(version: Path, tmp_path: Path) -> None:
    state = WrittenState.load(version / "project")
    for path, text in state.files.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    state.save(tmp_path)
    edits = {
        "baseflow.py": ("\n    owner = 'team'  # ours\n", None),
        "README.md": ("\nAsk the team.\n", None),
        "flowproject.toml": ("", ('cron_schedule = "*/5 * * * *"', 'cron_schedule = "0 6 * * *"')),
    }
    for path, (more, replaced) in edits.items():
        text = (tmp_path / path).read_text() + more
        (tmp_path / path).write_text(text.replace(*replaced) if replaced else text)
    package = Package(line="flowproject @ git+https://git.example/flowproject@c0ffee")
    apply_upgrade(tmp_path, state, package, plan_upgrade(tmp_path, state, package))
    assert "owner = 'team'  # ours" in (tmp_path / "baseflow.py").read_text()
    assert "Ask the team." in (tmp_path / "README.md").read_text()
    assert 'cron_schedule = "0 6 * * *"' in (tmp_path / "flowproject.toml").read_text()
    assert package.line in (tmp_path / "requirements.txt").read_text()
    assert plan_upgrade(tmp_path, WrittenState.load(tmp_path), package) == []
