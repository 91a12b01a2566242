"""Metaflow's processes side by side: none meets what another has half done."""

import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from metaflow.plugins.aws.step_functions import production_token
from metaflow.plugins.datastores.local_storage import LocalStorage
from metaflow.plugins.pypi.conda_environment import CondaEnvironment

from flowproject.metaflow_internals.concurrency import make_folder_once, own_tokens, resolve_in_turn

PREFIX = "mfprj-abcdefghijklmnop"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METAFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("METAFLOW_TOKEN_HOME", raising=False)
    return tmp_path / "home"


def test_a_token_is_known_inside_and_outside(home: Path) -> None:
    production_token.store_token(PREFIX, "first")
    with own_tokens():
        assert production_token.load_token(PREFIX) == "first"
        production_token.store_token(PREFIX, "second")
        assert json.loads((home / PREFIX).read_text()) == {"production_token": "first"}
    assert production_token.load_token(PREFIX) == "second"
    assert [path.name for path in home.iterdir()] == [PREFIX]


@pytest.mark.parametrize("half", ["", '{"production_to', "7"])
def test_a_half_written_file_of_tokens_counts_as_none_and_is_mended(home: Path, half: str) -> None:
    home.mkdir()
    (home / PREFIX).write_text(half)
    with own_tokens():
        assert production_token.load_token(PREFIX) is None
        production_token.store_token(PREFIX, "mine")
    assert production_token.load_token(PREFIX) == "mine"


def test_a_home_that_cannot_be_written_is_no_failure(home: Path) -> None:
    home.write_text("a file, where the folder should be")
    with own_tokens():
        production_token.store_token(PREFIX, "mine")
        assert production_token.load_token(PREFIX) == "mine"


def test_a_folder_that_another_process_makes_meanwhile_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "get_datastore_root_from_config"
    monkeypatch.setattr(LocalStorage, name, LocalStorage.__dict__[name])
    monkeypatch.setattr(LocalStorage, "SYSROOT_VAR", None)
    monkeypatch.setattr(LocalStorage, "DATASTORE_DIR", ".nobody-has-this-yet")
    monkeypatch.chdir(tmp_path)
    make = os.mkdir

    def make_late(path: str) -> None:
        make(path)  # the neighbour does, between the look and this
        make(path)

    monkeypatch.setattr(os, "mkdir", make_late)
    make_folder_once()
    root = LocalStorage.get_datastore_root_from_config(lambda _: None)
    assert Path(root) == tmp_path / ".nobody-has-this-yet"


@pytest.mark.usefixtures("home")
def test_environments_are_made_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most, wait = [0], [0], threading.Event()

    def init(*_: object) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        wait.wait(0.05)
        inside[0] -= 1

    monkeypatch.setattr(CondaEnvironment, "init_environment", init)
    resolve_in_turn()
    arguments = (SimpleNamespace(), print)
    threads = [
        threading.Thread(target=CondaEnvironment.init_environment, args=arguments) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
