"""Whether steps find what the sources need where they run."""

from pathlib import Path

from flowproject.config import Deploy, Project
from flowproject.config.parse import parse_config
from flowproject.deploy.preflight import check_local_data, check_packages
from flowproject.flowfiles import FlowFile, FlowStep

PROJECT = Project.from_dict(
    parse_config(
        'project_name = "p"\n[data]\ntype = "duckdb"\nquery = "q"\n[sensors.days]\n'
        '[sensors.lake]\ndata = { type = "s3", bucket = "b" }\n'
    )
)
OF_EVERY_STEP = "duckdb, numpy, obstore, pyarrow, sqlglot, stamina, tzdata"


def flow(*steps: FlowStep, ours: bool = True, datastore: str = "s3://bucket/x") -> FlowFile:
    return FlowFile(
        name="OneFlow",
        path=Path("/oneflow.py"),
        inherits_ours=ours,
        steps=steps or (FlowStep(name="start"), FlowStep(name="end")),
        datastore=datastore,
    )


def told(settings: Deploy, *flows: FlowFile) -> list[tuple[str, str]]:
    return [(one.state, one.message) for one in check_packages(PROJECT, settings, flows)]


def test_an_image_as_it_is_lacks_what_the_sources_need() -> None:
    [finding] = check_packages(PROJECT, Deploy(), [flow()])
    assert (finding.subject, finding.state, finding.exit_code) == ("oneflow.py", "error", 7)
    assert finding.message == (
        f"OneFlow runs steps start, end in an image as it is, which lacks {OF_EVERY_STEP}. Under "
        '[deploy] set `environment = "pypi"` (on Outerbounds "fast-bakery"), which installs it, '
        "or, if your image has all of it, `image_has_packages = true`"
    )


def test_what_metaflow_installs_depends_on_the_datastore() -> None:
    [(_, message)] = told(Deploy(), flow(datastore="azure://container/x"))
    assert "lacks boto3, duckdb, " in message
    assert "tzdata, urllib3." in message


def test_a_step_that_is_marked_for_snowflake_lacks_more() -> None:
    marked = FlowStep(name="load", marks=("retry", "snowflake"))
    found = told(Deploy(), flow(FlowStep(name="start"), marked))
    assert [message.partition(" in an image")[0] for _, message in found] == [
        "OneFlow runs step start",
        "OneFlow runs step load",
    ]
    assert "snowflake-connector-python" in found[1][1]


def test_an_environment_gives_every_step_what_it_needs_but_those_that_want_none() -> None:
    bare = FlowStep(name="start", is_bare=True)
    settings = Deploy(environment="pypi")
    assert told(settings, flow()) == []
    [(state, message)] = told(settings, flow(bare, FlowStep(name="end")))
    assert (state, message.partition(" in an")[0]) == ("error", "OneFlow runs step start")
    assert "Take `disabled=True` from the decorator of the step" in message


def test_an_image_that_is_said_to_have_everything_is_believed_and_told_what_that_is() -> None:
    assert told(Deploy(image_has_packages=True), flow()) == [
        ("note", f"the image of the steps must have {OF_EVERY_STEP}")
    ]


def test_a_flow_of_ones_own_needs_nothing_of_ours() -> None:
    assert told(Deploy(), flow(ours=False)) == []


def test_what_only_this_machine_has_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "here.sql").write_text("SELECT * FROM 'data/*.csv'")
    (tmp_path / "sql" / "there.sql").write_text("SELECT * FROM 's3://bucket/*.parquet'")
    project = Project.from_dict(
        parse_config(
            'project_name = "p"\n[data]\ntype = "duckdb"\nquery = "here"\n[sensors.csv]\n'
            '[sensors.parquet]\ndata = { query = "there" }\n'
            '[sensors.folder]\ndata = { type = "files", path = "data/x" }\n'
            '[sensors.lake]\ndata = { type = "s3", bucket = "b" }\n'
        )
    )
    told = {one.subject: one.message for one in check_local_data(project, tmp_path)}
    assert told.keys() == {"sensor csv", "sensor folder"}
    assert told["sensor folder"].startswith("watches the folder 'data/x', and a pod has only")
