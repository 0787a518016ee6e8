"""`bench selftest`: what it prints, what it returns, and that nothing of it fails here."""

import json

import pytest

import benchmark.selftest.suite
from benchmark.cli import main
from benchmark.contract.checks import Finding
from benchmark.errors import BenchError
from benchmark.selftest.attack_cases import TRIALS
from benchmark.selftest.canary_suite import canaries
from benchmark.selftest.known_cases import CASES
from benchmark.selftest.suite import proofs, selftest

pytestmark = pytest.mark.slow


def crashes():
    raise ZeroDivisionError("of an attack")


@pytest.fixture
def one_of_three_fails(monkeypatch):
    def few(device, runs):
        del device, runs
        yield "good", lambda: Finding(True, "as it should be")
        yield "bad", crashes
        yield "canary of steel", lambda: Finding(False, "adaptive 95.0%")

    monkeypatch.setattr(benchmark.selftest.suite, "proofs", few)


def test_all_of_it_passes_and_can_be_read_by_a_program(capfd):
    assert main(["selftest", "--device", "cpu", "--json"]) == 0
    outcomes = json.loads(capfd.readouterr().out)
    names = [outcome["name"] for outcome in outcomes]
    assert [
        name for name, outcome in zip(names, outcomes, strict=True) if not outcome["passed"]
    ] == []
    assert set(names) >= {f"attack {each.title}" for each in (*TRIALS, *CASES)}
    assert set(names) >= {f"canary {canary.name}" for canary in canaries()}
    assert "undefended classifier" in names


def test_every_proof_has_a_title_of_its_own(tmp_path):
    titles = [title for title, _ in proofs("cpu", tmp_path)]
    assert len(set(titles)) == len(titles)


@pytest.mark.usefixtures("one_of_three_fails")
def test_what_fails_is_one_clear_line_and_status_1(capfd):
    assert main(["selftest", "--device", "cpu"]) == 1
    captured = capfd.readouterr()
    assert captured.out.splitlines() == [
        "ok   good: as it should be",
        "FAIL bad: ZeroDivisionError: of an attack",
        "FAIL canary of steel: adaptive 95.0%",
        "1 passed, 2 failed",
    ]
    assert captured.err == "do not trust numbers from this installation: bad; canary of steel\n"


@pytest.mark.usefixtures("one_of_three_fails")
def test_what_fails_is_status_1_for_a_program_too(capfd):
    assert main(["selftest", "--device", "cpu", "--json"]) == 1
    captured = capfd.readouterr()
    assert [outcome["passed"] for outcome in json.loads(captured.out)] == [True, False, False]
    assert "do not trust" in captured.err


@pytest.mark.usefixtures("one_of_three_fails")
def test_each_outcome_is_told_as_soon_as_it_is_known():
    told = []
    outcomes = selftest("cpu", on_begin=told.append, on_outcome=told.append)
    assert told[::2] == ["good", "bad", "canary of steel"]
    assert told[1::2] == outcomes


@pytest.mark.usefixtures("one_of_three_fails")
def test_on_a_terminal_it_names_what_it_is_at(capfd, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    main(["selftest", "--device", "cpu"])
    assert "canary of steel\r" in capfd.readouterr().err.replace("\x1b[2K", "")


def test_a_device_that_is_not_there_is_said_before_anything_runs():
    with pytest.raises(BenchError, match="not understood"):
        selftest("abacus")
