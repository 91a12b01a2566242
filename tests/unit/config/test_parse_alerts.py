"""Who is told of incidents, as it stands in the file."""

import pytest

from flowproject.config.model import Alerts, Project
from flowproject.config.parse import parse_config
from flowproject.errors import ConfigError

PLAIN = 'project_name = "weather"\n[data]\ntype = "files"\npath = "data"\n'
MAIL = '[alerts]\nemail_to = ["a@example.com"]\nemail_from = "b@example.com"\nsmtp = "SMTP"\n'


def alerts(text: str) -> Alerts:
    return Project.from_dict(parse_config(PLAIN + text)).alerts


def test_without_a_section_nobody_is_told() -> None:
    assert alerts("") == Alerts()
    assert Project.from_dict({**parse_config(PLAIN), "alerts": {}}).alerts == Alerts()


def test_what_is_written_is_read() -> None:
    found = alerts(f'{MAIL}slack = "HOOK"\ncommand = ["./tell", "now"]\nafter_failures = 5\n')
    assert (found.email_to, found.slack) == (("a@example.com",), "HOOK")
    assert (found.command, found.after_failures) == (("./tell", "now"), 5)


@pytest.mark.parametrize(
    "text, problem",
    [
        ('[alerts]\nsmtp = "SMTP"\n', "[alerts] needs email_to, email_from beside what it has"),
        (MAIL.replace("a@example.com", "ann"), "email_to = ['ann'] has 'ann', which is no address"),
        (MAIL.replace("b@example.com", "bob"), "email_from = 'bob' is not allowed."),
        ("[alerts]\nafter_failures = 0\n", "after_failures = 0"),
        ("slack = 1\n[alerts]\n", "It belongs in [alerts]."),
    ],
)
def test_what_is_wrong_is_named(text: str, problem: str) -> None:
    top = text.startswith("slack")
    with pytest.raises(ConfigError) as caught:
        parse_config(text + PLAIN if top else PLAIN + text)
    assert problem in str(caught.value)


def test_an_address_where_its_variable_is_asked_for_is_not_shown() -> None:
    address = "https://hooks.example.com/T0/B0/x7Kq"
    with pytest.raises(ConfigError) as caught:
        parse_config(f'{PLAIN}[alerts]\nslack = "{address}"\n')
    assert address not in str(caught.value)
