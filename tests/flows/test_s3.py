"""A sensor on S3 as a new user tries it: `python sensorflow.py run` against a real server.

Once with Metaflow's datastore, and so the journal, in a local folder, and once on S3 as well.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from tests.servers import Moto

CONFIG: Final = """
project_name = "shop"

[data]
type = "s3"
bucket = "{bucket}"
key = "raw/days"
endpoint_url = "{endpoint_url}"

[sensor]
name = "days"
"""
_BLOB: Final = re.compile(r'"([A-Za-z0-9+/=]{200,})"')


@dataclass
class Story:
    """What happened, one run after the other."""

    project: Any
    bus: Any
    moto: Moto
    bucket: str
    datastore: str = ""
    """The bucket of Metaflow's datastore; empty if that is a folder."""
    runs: dict[str, Any] = field(default_factory=dict)
    cards: dict[str, str] = field(default_factory=dict)
    events: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def changes(self) -> dict[str, tuple[str, str]]:
        """What kind of change each run saw, and of which object; in order."""
        return {name: change for name, change in CHANGES.items() if name in self.runs}

    def put(self, key: str, content: bytes) -> None:
        self.moto.client().put_object(Bucket=self.bucket, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self.moto.client().delete_object(Bucket=self.bucket, Key=key)

    def tell(self, name: str) -> None:
        before = len(self.bus.events)
        run = self.runs[name] = self.project.run("sensorflow.py")
        self.events[name] = self.bus.events[before:]
        self.cards[name] = "".join(
            _shown(page) for path, page in self._pages() if f"/runs/{run.run_id}/" in path
        )

    def _pages(self) -> Iterator[tuple[str, str]]:
        """Every card in the datastore: path and page."""
        if not self.datastore:
            for path in (self.project.root / ".metaflow").rglob("*.html"):
                yield str(path), path.read_text()
            return
        client = self.moto.client()
        for entry in client.list_objects_v2(Bucket=self.datastore)["Contents"]:
            if entry["Key"].endswith(".html"):
                body = client.get_object(Bucket=self.datastore, Key=entry["Key"])["Body"]
                yield entry["Key"], body.read().decode()


def _shown(page: str) -> str:
    """What a card shows: Metaflow puts it into the page as JSON, in base64."""
    blobs = [base64.b64decode(blob) for blob in _BLOB.findall(page)]
    return page + "".join(blob.decode(errors="replace") for blob in blobs)


@pytest.fixture(scope="module", params=["local", pytest.param("s3", marks=pytest.mark.thorough)])
def story(
    request: pytest.FixtureRequest, new_project: Callable[..., Any], module_bus: Any, moto: Moto
) -> Story:
    """A first look and a new object; then, once, an overwritten one and one that is gone.

    What can happen to an object is the same wherever the journal lies.
    """
    bucket = moto.bucket()
    project = new_project(CONFIG.format(bucket=bucket, endpoint_url=moto.endpoint_url), module_bus)
    story = Story(project=project, bus=module_bus, moto=moto, bucket=bucket)
    if request.param == "s3":
        story.datastore = moto.bucket()
        project.environment.update(
            METAFLOW_DEFAULT_DATASTORE="s3",
            METAFLOW_DATASTORE_SYSROOT_S3=f"s3://{story.datastore}/metaflow",
            METAFLOW_S3_ENDPOINT_URL=moto.endpoint_url,
        )
    story.put("raw/days/2026-11-20.csv", b"2.1")
    story.put("raw/days/2026-11-21.csv", b"2.4")
    story.tell("first")
    story.put("raw/days/late/2026-11-19.csv", b"1.9")
    story.tell("new")
    if not story.datastore:
        story.put("raw/days/2026-11-20.csv", b"2.2")
        story.tell("overwritten")
        story.delete("raw/days/2026-11-21.csv")
        story.tell("deleted")
    return story


CHANGES: Final = {
    "new": ("added", "raw/days/late/2026-11-19.csv"),
    "overwritten": ("modified", "raw/days/2026-11-20.csv"),
    "deleted": ("removed", "raw/days/2026-11-21.csv"),
}


def test_every_run_of_the_story_succeeds(story: Story) -> None:
    assert {name: run.text for name, run in story.runs.items() if run.code} == {}


def test_the_first_run_remembers_and_sends_nothing(story: Story) -> None:
    assert "days: baseline, first look, remembered: 2 items" in story.runs["first"].lines
    assert story.events["first"] == []


def test_each_change_is_told_in_the_output_and_sent_with_the_object_in_it(story: Story) -> None:
    for name, (kind, key) in story.changes.items():
        assert f"days: changed, 1 {kind}" in story.runs[name].lines
        [event] = story.events[name]
        change = event["payload"]["change"]
        assert change["counts"] == {"added": 0, "modified": 0, "removed": 0, kind: 1}
        assert [item["key"] for item in change["sample"][kind]] == [key]


def test_each_change_is_named_on_the_card(story: Story) -> None:
    for name, (kind, key) in story.changes.items():
        assert f"1 {kind}" in story.cards[name]
        # Numbers in an address may be set apart on a card, letters are not.
        assert key.rpartition("/")[2] in story.cards[name]


def test_the_history_has_each_change_and_the_run_that_saw_it(story: Story) -> None:
    assert [
        (entry["outcome"], entry["counts"], entry["run"]) for entry in story.project.history()
    ] == [
        *(
            (
                "changed",
                {"added": 0, "modified": 0, "removed": 0, kind: 1},
                f"SensorFlow/{story.runs[name].run_id}",
            )
            for name, (kind, _) in reversed(story.changes.items())
        ),
        (
            "baseline",
            {"added": 2, "modified": 0, "removed": 0},
            f"SensorFlow/{story.runs['first'].run_id}",
        ),
    ]


def test_the_history_reads_as_what_happened(story: Story) -> None:
    told = story.project.command("history")
    assert told.code == 0
    kinds = re.findall(r"1 (added|modified|removed)", told.text)
    assert kinds == [kind for kind, _ in reversed(story.changes.values())]


def test_a_preview_says_what_would_happen_and_leaves_it_to_happen(story: Story) -> None:
    entries = story.project.history()
    story.put("raw/days/preview.csv", b"1")
    told = story.project.command("preview", "--json")
    assert told.code == 0, told.text
    [seen] = json.loads(told.text)
    assert (seen["outcome"], seen["counts"]["added"]) == ("changed", 1)
    assert story.project.history() == entries
    story.delete("raw/days/preview.csv")
    story.put("raw/days2/beside.csv", b"1")
    assert json.loads(story.project.command("preview", "--json").text)[0]["outcome"] == "unchanged"


def test_check_reaches_the_bucket_and_says_what_is_there(story: Story) -> None:
    told = story.project.command("check", "--connect", "--json")
    assert told.code == 0, told.text
    found = [line["message"] for line in json.loads(told.text) if "days" in line["subject"]]
    items = f"{2 if 'deleted' in story.runs else 3} items"
    assert any("s3: answered" in message and items in message for message in found)


def test_a_bucket_that_is_not_there_fails_the_run_in_words(
    moto: Moto, new_project: Callable[..., Any]
) -> None:
    config = CONFIG.format(bucket="nobodys-bucket", endpoint_url=moto.endpoint_url)
    project = new_project(config)
    ran = project.run("sensorflow.py")
    assert ran.code != 0
    assert "nobodys-bucket" in ran.text
    assert "Traceback" not in ran.text
    told = project.command("check", "--connect")
    assert told.code != 0
    assert "nobodys-bucket" in told.text
