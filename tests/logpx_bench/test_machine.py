"""Exact tests of provenance: what is recorded, and what must not be."""

import getpass
import json
import platform
import re
import socket
from pathlib import Path

import matplotlib
import pytest
import sklearn

from logpx import _jit
from logpx_bench import machine
from logpx_bench.schema import TABLES


def test_provenance_fills_every_column():
    row = machine.provenance(threads=2)
    assert set(row) == set(TABLES["provenance"][0])
    assert row["threads"] == 2
    assert row["source_hash"] == _jit.source_hash()
    assert row["n_cores"] >= 1
    assert row["cpu_model"]
    assert row["python"] == platform.python_version()
    assert row["scikit_learn"] == sklearn.__version__
    assert row["matplotlib"] == matplotlib.__version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", row["created_utc"])


def test_the_id_holds_neither_time_nor_load(monkeypatch):
    first = machine.provenance(2)["id"]
    monkeypatch.setattr(machine, "utc_now", lambda: "later")
    monkeypatch.setattr(machine, "load_1m", lambda: 99.0)
    assert machine.provenance(2)["id"] == first
    assert machine.provenance(1)["id"] != first


def test_a_timing_does_not_depend_on_what_draws_or_fits():
    assert not {"matplotlib", "scikit_learn"} & set(machine.timing_facts(1))


def test_no_host_no_user_no_path():
    text = json.dumps(machine.provenance(1))
    assert str(Path.home()) not in text
    assert str(Path(__file__).parents[2]) not in text
    words = set(re.findall(r"[\w.-]+", text.lower()))
    for private in (socket.gethostname(), getpass.getuser()):
        assert private.lower() not in words


def test_without_git_the_commit_is_not_known(monkeypatch):
    monkeypatch.setattr(machine, "_git", lambda *arguments: None)
    machine.commit.cache_clear()
    assert machine.commit() == (None, None)
    monkeypatch.undo()
    machine.commit.cache_clear()


@pytest.mark.parametrize(("status", "dirty"), [("", False), (" M kernels/logpx/engine.py", True)])
def test_changes_are_seen(monkeypatch, status, dirty):
    answers = {"ls-files": "machine.py", "rev-parse": "0" * 40, "status": status}
    monkeypatch.setattr(machine, "_git", lambda command, *rest: answers[command])
    machine.commit.cache_clear()
    assert machine.commit() == ("0" * 40, dirty)
    monkeypatch.undo()
    machine.commit.cache_clear()


def test_a_machine_without_load_average(monkeypatch):
    def none():
        raise OSError

    monkeypatch.setattr(machine.os, "getloadavg", none, raising=False)
    assert machine.load_1m() is None
