"""What `[deploy]` may say, and what comes of it."""

import pytest

from flowproject.config import Deploy, Project
from flowproject.config.parse import parse_config
from flowproject.errors import ConfigError

PLAIN = 'project_name = "weather"\n[data]\ntype = "files"\npath = "data"\n'


def settings(lines: str) -> Deploy:
    return Project.from_dict(parse_config(f"{PLAIN}[deploy]\n{lines}")).deploy


def test_without_the_section_main_is_production_and_steps_are_as_the_flows_say() -> None:
    assert Project.from_dict(parse_config(PLAIN)).deploy == Deploy()
    assert settings("") == Deploy(
        production_branch="main", schedule_branches=(), environment="", with_=(), max_parallel=4
    )


def test_every_key_is_read_also_the_one_that_is_a_word_of_python() -> None:
    found = settings(
        'production_branch = "trunk"\nschedule_branches = ["release/*", "staging"]\n'
        'foreign_event_branches = []\nenvironment = "fast-bakery"\n'
        'with = ["kubernetes:memory=8000"]\nmax_parallel = 2\n'
    )
    assert found == Deploy(
        production_branch="trunk",
        schedule_branches=("release/*", "staging"),
        foreign_event_branches=(),
        environment="fast-bakery",
        with_=("kubernetes:memory=8000",),
        max_parallel=2,
    )


def test_steps_get_it_under_the_keys_of_the_file() -> None:
    config = parse_config(f'{PLAIN}[deploy]\nwith = "kubernetes"\n')
    assert config["deploy"]["with"] == ["kubernetes"]
    assert "with_" not in config["deploy"]


def test_a_configuration_from_before_this_section_is_still_read() -> None:
    config = parse_config(PLAIN)
    del config["deploy"]
    assert Project.from_dict(config).deploy == Deploy()


@pytest.mark.parametrize(
    "text, problem",
    [
        (
            f'{PLAIN}[deploy]\nenvironment = "conda"\n',
            "[deploy] environment = 'conda' is not a choice. Use one of: fast-bakery, pypi.",
        ),
        (
            f"{PLAIN}[deploy]\nwith_ = []\n",
            (
                "[deploy] with_ = [] is not a key here. Use one of: production_branch, "
                "schedule_branches, foreign_event_branches, environment, "
            ),
        ),
        (
            f"{PLAIN}[deploy]\nmax_parallel = 0\n",
            "[deploy] max_parallel = 0 is too small. Use 1 or more.",
        ),
        (
            f'production_branch = "trunk"\n{PLAIN}',
            (
                "production_branch = 'trunk' is not a key here. Use one of: data, sensor, sensors, "
                "alerts, deploy, project_name. It belongs in [deploy]."
            ),
        ),
        (f"{PLAIN}[deploy]\nbranch = 1\n", "[deploy] branch = 1 is not a key here."),
        (f"deploy = 1\n{PLAIN}", "deploy = 1 is not a section. Write [deploy]"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert problem in str(caught.value)


def test_a_secret_that_stands_where_a_variable_should_be_named_is_not_repeated() -> None:
    address = "https://hooks.example/services/T0/B0/secret"
    with pytest.raises(ConfigError) as caught:
        settings(f'notify_slack = "{address}"\n')
    assert "[deploy] notify_slack has a value that is not allowed. Use the name of an env" in str(
        caught.value
    )
    assert "secret" not in str(caught.value).replace("A secret never stands", "")


def test_incident_io_is_told_its_source() -> None:
    with pytest.raises(ConfigError, match="needs notify_incident_io_source"):
        settings('notify_incident_io = "KEY"\n')
    found = settings('notify_incident_io = "KEY"\nnotify_incident_io_source = "01GW"\n')
    assert (found.notify_incident_io, found.notify_incident_io_source) == ("KEY", "01GW")
    assert found.notify_on == ("error",)


def test_services_that_would_never_hear_of_a_run_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        settings('notify_slack = "HOOK"\nnotify_on = []\n')
    assert "names no end of a run, so notify_slack would never hear of one" in str(caught.value)
    assert settings("notify_on = []\n").notify_on == ()
