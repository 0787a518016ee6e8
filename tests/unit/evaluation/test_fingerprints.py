"""Fingerprints: what no hash sees is noticed before finished shards are trusted; rounding raises no alarm."""

import logging
import os
import shutil
from importlib import metadata

import pytest
import torch

import benchmark.evaluation.execute.environment
import benchmark.evaluation.execute.executor
from benchmark.contract.fingerprint import Fingerprint, Probe, difference, take
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError, ContractBroken
from benchmark.evaluation.execute.run import Listener, run
from benchmark.evaluation.execute.store import Store
from benchmark.evaluation.prepare.prepare import bench_of, prepare
from benchmark.records.entry import without_timing
from tests.helpers import tiny_task as tiny

MODES = (GradientMode.EXACT, GradientMode.BPDA)


class Hidden(Defense):
    """Darkens images by a number that stands in an environment variable."""

    name, stochastic, gradient = "hidden", False, Derivative.EXACT

    def purify(self, x, *, draws):
        return x * (1 - float(os.environ.get("HIDDEN", "0")))


class Odd(Defense):
    """The identity, in one odd way or another."""

    name, stochastic, gradient = "odd", False, Derivative.EXACT

    def __init__(self, *, way: str) -> None:
        self.way = way

    def prepare(self, setting):
        self.calls = 0

    def purify(self, x, *, draws):
        self.calls += 1
        if self.way == "crashes under gradients" and x.requires_grad:
            raise RuntimeError("no gradients here")
        if self.way == "leaves":
            os._exit(0)
        if self.way == "counts":
            return (x + 0.001 * self.calls).clamp(0, 1)
        if self.way == "draws from the global generator":
            return (x + 0.01 * torch.rand_like(x)).clamp(0, 1)
        return x * 1.0


def asked(folder, defense=None, **changes):
    few = {"precision": "float32", "samples": 4, **changes}
    return tiny.request(folder, defense=defense or Hidden(), **few)


def told(folder, caplog, **changes):
    """An entry, how many shards were computed for it, and what was warned of."""
    computed = []
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        listener = Listener(on_done=lambda task, result, was_done: computed.append(not was_done))
        entry = run(asked(folder, **changes), listener)
    return entry, sum(computed), [record.getMessage() for record in caplog.records]


def shards(folder):
    return len(list(folder.rglob("*.shard")))


def elsewhere(monkeypatch, **facts):
    """Lets this process be another machine."""
    real = benchmark.evaluation.execute.environment.environment

    def other(device):
        return real(device) | facts

    for module in (
        benchmark.evaluation.execute.executor,
        benchmark.evaluation.execute.fingerprints,
    ):
        monkeypatch.setattr(module, "environment", other)


def taken(defense, folder, environment=None):
    ready = prepare(asked(folder, defense))
    bench = bench_of(ready)
    probe = Probe.of(bench.dataset, "test", bench.device, bench.dtype)
    return take(bench.victim, probe, MODES, environment or {"machine": "a"})


def test_nothing_changed_is_nothing_computed_and_nothing_said(tmp_path, caplog):
    first, n, _ = told(tmp_path, caplog)
    assert n == shards(tmp_path)
    again, n, said = told(tmp_path, caplog)
    assert (n, said) == (0, [])
    assert again == first


def test_what_no_hash_sees_sets_shards_aside_in_one_line_and_the_new_number_is_true(
    tmp_path, caplog, monkeypatch
):
    told(tmp_path / "one", caplog)
    monkeypatch.setenv("HIDDEN", "0.9")
    changed, n, said = told(tmp_path / "one", caplog)
    true, _, _ = told(tmp_path / "two", caplog)
    assert without_timing(changed) == without_timing(true)
    assert n == shards(tmp_path / "one") - 1  # that on the bare classifier is what it was
    assert len(said) == 1
    assert "purified images differ in 24 of 24 rows (most 0.7" in said[0]
    assert f"{n} finished shards are set aside and made again" in said[0]
    assert "something that no hash sees has changed" in said[0]
    assert told(tmp_path / "one", caplog)[1:] == (0, [])


def test_images_made_on_a_changed_classifier_are_made_again_and_so_is_what_was_made_from_them(
    tmp_path, caplog, monkeypatch
):
    """Its own victim is unchanged for a job that shows them; killed in between, it is not forgotten."""

    class Moody(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = tiny.network()

        def forward(self, x):
            return self.inner(x.clamp(0.3) if "MOODY" in os.environ else x)

    class Bright(Defense):
        name, stochastic, gradient = "bright", False, Derivative.EXACT

        def purify(self, x, *, draws):
            return x.clamp(0.31)

    made = {"model": Moody(), "defense": Bright(), "samples": 8}
    told(tmp_path / "one", caplog, **made)
    monkeypatch.setenv("MOODY", "1")

    class Killed(BaseException): ...

    def kill(task, result, was_done):
        if not was_done and task.row.id.startswith("made"):
            raise Killed

    with pytest.raises(Killed):
        run(asked(tmp_path / "one", **made), Listener(on_done=kill))
    _, n, said = told(tmp_path / "one", caplog, **made)
    assert n == 1 + 2  # the source that is left, and all that shows images of theirs
    assert "bare" in said[0]
    assert "logits differ" in said[0]
    assert told(tmp_path / "one", caplog, **made)[1:] == (0, [])


def test_rounding_on_another_machine_is_no_alarm_and_on_the_same_one_it_is(
    tmp_path, caplog, monkeypatch
):
    told(tmp_path, caplog)
    monkeypatch.setenv("HIDDEN", "1e-6")
    with monkeypatch.context() as there:
        elsewhere(there, hardware="another")
        assert told(tmp_path, caplog)[1:] == (0, [])
    assert "set aside" in told(tmp_path, caplog)[2][0]


def test_what_no_hash_sees_is_noticed_on_another_machine_too(tmp_path, caplog, monkeypatch):
    told(tmp_path, caplog)
    monkeypatch.setenv("HIDDEN", "0.5")
    elsewhere(monkeypatch, hardware="another")
    entry, n, said = told(tmp_path, caplog)
    assert n == 5
    assert "purified images differ" in said[0]
    assert [each.shards for each in entry.environments] == [5, 1]


@pytest.mark.parametrize(("rows", "is_alarm"), [(6, False), (16, False), (17, True)])
def test_other_hardware_may_move_a_quarter_of_the_rows_and_no_more(rows, is_alarm, tmp_path):
    logits = torch.linspace(-5, 5, 640).view(64, 10)
    moved = logits.clone()
    moved[:rows, 3] += 4.8

    def made(logits, machine):
        return Fingerprint(
            environment={"machine": machine}, images="", parts={"logits": logits}, missing={}
        )

    assert bool(difference(made(logits, "a"), made(moved, "b"))) == is_alarm
    assert f"logits differ in {rows} of 64 rows (most 4.8)" in difference(
        made(logits, "a"), made(moved, "a")
    )
    assert not difference(made(logits, "a"), made(logits + 1e-4, "b"))


def test_nan_and_infinity_are_their_own_equals_and_nothing_elses():
    def made(*values):
        parts = {"logits": torch.tensor([values])}
        return Fingerprint(environment={}, images="", parts=parts, missing={})

    odd = (float("nan"), float("inf"), -float("inf"), 1.0)
    assert not difference(made(*odd), made(*odd))
    for i in range(4):
        other = [*odd[:i], 7.0, *odd[i + 1 :]]
        assert "differ in 1 of 1 rows" in difference(made(*odd), made(*other))
        assert "differ in 1 of 1 rows" in difference(made(*other), made(*odd))


def test_a_victim_that_crashes_is_a_part_that_is_missing_and_its_coming_is_no_difference(tmp_path):
    whole = taken(Odd(way="none"), tmp_path)
    crashing = taken(Odd(way="crashes under gradients"), tmp_path)
    assert not whole.missing
    assert crashing.missing == {"exact gradients": "RuntimeError: no gradients here"}
    assert not difference(crashing, whole)
    assert difference(whole, crashing) == (
        "there were exact gradients, and now there are none (RuntimeError: no gradients here)"
    )


def test_a_mode_that_is_not_asked_for_is_no_difference(tmp_path):
    bench = bench_of(prepare(asked(tmp_path)))
    probe = Probe.of(bench.dataset, "test", bench.device, bench.dtype)
    both, one = (take(bench.victim, probe, modes, {}) for modes in (MODES, MODES[:1]))
    assert not difference(both, one)
    assert not difference(one, both)


def test_a_victim_that_leaves_is_contained(tmp_path):
    bench = bench_of(prepare(asked(tmp_path, Hidden())))
    defense = Odd(way="leaves")
    defense.prepare(None)
    victim = Purified(
        [defense],
        next(iter(bench.classifiers.values())),
    )
    probe = Probe.of(bench.dataset, "test", bench.device, bench.dtype)
    found = take(victim, probe, MODES, {})
    assert set(found.missing.values()) == {"it called sys.exit('os._exit(0)')"}


def test_what_differs_at_once_is_compared_with_nothing_later(tmp_path, caplog):
    found = taken(Odd(way="counts"), tmp_path)
    assert "logits" in found.unrepeatable
    assert not Fingerprint.from_bytes(found.to_bytes()).parts
    with pytest.raises(ContractBroken, match="does not repeat itself"):
        told(tmp_path, caplog, defense=Odd(way="counts"))


def test_one_who_draws_from_the_global_generator_is_found_again(tmp_path, caplog):
    defense = Odd(way="draws from the global generator")
    assert not taken(defense, tmp_path).unrepeatable
    told(tmp_path, caplog, defense=defense)
    torch.rand(3)
    assert told(tmp_path, caplog, defense=defense)[1:] == (0, [])


def test_a_fingerprint_comes_back_as_it_was(tmp_path):
    found = taken(tiny.Noise(), tmp_path)
    back = Fingerprint.from_bytes(found.to_bytes())
    assert back.to_bytes() == found.to_bytes() == taken(tiny.Noise(), tmp_path).to_bytes()
    assert not difference(back, found)
    assert list(back.parts) == [
        "purified images",
        "logits",
        "auxiliary losses",
        "bpda gradients",
        "exact gradients",
    ]
    with pytest.raises(BenchError, match="no fingerprint"):
        Fingerprint.from_bytes(b"\x08")


def test_a_damaged_fingerprint_is_made_again_where_it_is_the_same(tmp_path, caplog):
    told(tmp_path, caplog)
    for path in (tmp_path / "fingerprints").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    _, n, _ = told(tmp_path, caplog)
    assert n == 0
    assert told(tmp_path, caplog)[1:] == (0, [])


def test_a_damaged_fingerprint_of_another_machine_counts_as_not_there(
    tmp_path, caplog, monkeypatch
):
    told(tmp_path, caplog)
    for path in (tmp_path / "fingerprints").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    elsewhere(monkeypatch, hardware="another")
    _, n, said = told(tmp_path, caplog)
    assert n == shards(tmp_path)
    assert any("is damaged" in line for line in said)
    assert any(
        "there is no fingerprint to compare with: 5 finished shards" in line for line in said
    )
    assert told(tmp_path, caplog)[1:] == (0, [])


def test_a_digest_is_no_path(tmp_path):
    assert Store(tmp_path).fingerprint("../" * 20 + "etc/passwd") is None


def test_two_machines_shards_are_joined_without_an_alarm_and_the_entry_states_both(
    tmp_path, caplog, monkeypatch
):
    a, b = tmp_path / "a", tmp_path / "b"
    told(a, caplog)
    with monkeypatch.context() as there:
        elsewhere(there, hardware="another", threads="96")
        told(b, caplog, samples=8)
    shutil.copytree(a, b, dirs_exist_ok=True)
    entry, n, said = told(b, caplog, samples=8)
    assert (n, said) == (0, [])
    assert {each.facts["threads"] for each in entry.environments} == {"96", "1"}
    assert "threads" not in entry.environment
    assert "torch" in entry.environment


def test_an_entry_states_what_its_shards_were_made_with_and_not_what_is_installed_now(
    tmp_path, caplog, monkeypatch
):
    benchmark.evaluation.execute.environment._lasting.cache_clear()
    then = told(tmp_path, caplog)[0].environment
    real = metadata.version
    monkeypatch.setattr(
        benchmark.evaluation.execute.environment,
        "version",
        lambda name: "9.9" if name == "pyautoattack" else real(name),
    )
    benchmark.evaluation.execute.environment._lasting.cache_clear()
    assert (
        benchmark.evaluation.execute.environment.environment(torch.device("cpu"))["pyautoattack"]
        == "9.9"
    )
    entry, n, _ = told(tmp_path, caplog)
    benchmark.evaluation.execute.environment._lasting.cache_clear()
    assert n == 0
    assert entry.environment == then
    assert then["pyautoattack"] == real("pyautoattack")
    for name in (
        "python",
        "torch",
        "numpy",
        "torchvision",
        "robustbench",
        "hardware",
        "threads",
        "system",
    ):
        assert then[name]
