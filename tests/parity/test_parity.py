"""Small cases of what `python -m tests.parity` does at length."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from benchmark.challenge.judge import challenge
from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.prepare import prepare
from benchmark.evaluation.prepare.reproduce import Where, remake
from benchmark.evaluation.prepare.request import Request
from benchmark.records.entry import Entry
from benchmark.records.entry_files import read_entry
from tests.parity import subject
from tests.parity.__main__ import refuse_attacks
from tests.parity.results import Budget, Parity, is_fall, write_found
from tests.parity.victims import MeanOfDraws, handed

WHERE = Where(device="cpu")
BOARD = Path(__file__).resolve().parents[2] / "leaderboards" / "digits" / "linf-0.15"


def committed(defense: str) -> Entry:
    return read_entry(BOARD / f"{defense}--digits-cnn--n40.json")


def as_if_unattacked(entry: Entry) -> Entry:
    """The entry as it would be had no attack been run."""
    images = entry.per_image
    chosen = ("clean",) * len(images.clean)
    bare = {"worst": images.clean, "chosen": chosen, "choices": None}
    update = {"per_image": images.model_copy(update=bare), "worst": entry.clean}
    return Entry.model_validate(entry.model_copy(update=update).model_dump())


def one_step(victim: nn.Module):
    """A signed step far out of the budget."""

    def attack(x, y):
        x = x.requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(victim(x), y), x)
        return x.detach() + gradient.sign()

    return attack


def test_what_an_outside_attack_turns_is_inside_the_budget_and_lowers_the_entry(tmp_path):
    entry = as_if_unattacked(committed("none"))
    parity = Parity(entry, remake(entry, WHERE), 12, seed=1, folder=tmp_path)
    attacks = {"same": lambda x, y: x, "far": one_step(parity.ready.victim)}
    same, far = parity.run("own", attacks)
    assert not same.fallen
    assert far.fallen
    assert set(parity.fallen()) == far.fallen
    best = torch.stack([parity.best[i][1] for i in parity.robust])
    assert parity.ready.task.threat.size(parity.images()[0], best).max() <= 0.15 + 1e-6
    write_found(parity, tmp_path / "x.npz")
    after = challenge(entry, tmp_path / "x.npz", where=WHERE).after
    fallen = {i for i, name in enumerate(after.per_image.chosen) if name == "challenge:1"}
    assert fallen == far.fallen
    again = Parity(entry, parity.ready, 12, seed=1, folder=tmp_path)
    assert list(again.run("own", dict.fromkeys(attacks))) == [same, far], "kept, and so not run"


def test_an_attack_that_breaks_off_is_no_image_that_stood():
    entry = as_if_unattacked(committed("none"))
    parity = Parity(entry, remake(entry, WHERE), 2, seed=1)

    def breaks(x, y):
        raise ValueError("no starting point")

    (tried,) = parity.run("own", {"breaks": breaks})
    assert tried.error == "ValueError: no starting point"
    assert not parity.best
    assert tried.accuracy != tried.accuracy


def test_a_random_victims_image_falls_where_its_rate_drops_by_half():
    assert is_fall(1, 0)
    assert is_fall(0.7, 0.2)
    assert not is_fall(0.7, 0.22)
    assert not is_fall(0.5, 0.02)


def test_what_standard_turns_of_a_random_victim_falls_to_steps_along_the_mean_gradient():
    entry = committed("atop[digits]")
    bare = as_if_unattacked(entry)
    parity = Parity(bare, remake(bare, WHERE), 16, seed=1)
    victim = handed(parity.ready, eot=10, seed=1).gradients

    def steps(x, y):
        x_adv = x
        for _ in range(20):
            x_adv = x_adv.detach().requires_grad_()
            loss = nn.functional.cross_entropy(victim(x_adv), y)
            (gradient,) = torch.autograd.grad(loss, x_adv)
            x_adv = x + (x_adv + 0.03 * gradient.sign() - x).clamp(-0.15, 0.15)
        return x_adv

    (tried,) = parity.run("own", {"steps": steps})
    worst = entry.per_image.worst
    turned = {i for i in parity.robust if is_fall(parity.before(i), subject.rate(worst[i]))}
    assert tried.fallen <= turned
    assert len(tried.fallen) >= 0.75 * len(turned) >= 6


def test_draws_that_chose_the_entrys_images_judge_no_others():
    entry = committed("none")
    with pytest.raises(BenchError, match="seed 0 is the entry's own"):
        Parity(entry, None, 2, seed=0)


def test_images_that_not_all_attacks_were_run_on_are_not_robust():
    entry = committed("advae[digits]")
    assert len(subject.robust_in(entry, 99)) == 30
    gaps = SimpleNamespace(
        protocol=entry.protocol,
        command="bench run",
        worst=entry.worst,
        gaps=(SimpleNamespace(row="pgd-200"),),
    )
    with pytest.raises(BenchError, match=r"not all attacks were run \(pgd-200\)"):
        subject.robust_in(gaps, 99)
    quick = read_entry(BOARD / "advae[digits]--digits-cnn--quick.json")
    with pytest.raises(BenchError, match="expected an entry of standard; got one of quick"):
        subject.robust_in(quick, 99)


@pytest.mark.parametrize(
    ("every", "asked"),
    [(1, [64]), (4, [64, 128, 192, 256]), (9, [64, 128, 192, 256, 320, 384, 448, 500])],
    ids=["all", "a quarter", "too few"],
)
def test_as_many_images_are_evaluated_as_it_takes(monkeypatch, every, asked):
    seen = []

    def evaluate(options):
        seen.append(options.samples)
        bits = tuple("0" if i % every else "1" for i in range(options.samples))
        worst = SimpleNamespace(worst=bits)
        identity = SimpleNamespace(name="standard")
        return SimpleNamespace(per_image=worst, protocol=identity, gaps=(), worst=worst)

    monkeypatch.setattr(subject, "evaluate", evaluate)
    subject.evaluated(Request(defense="none", dataset="digits"), 64, None)
    assert seen == asked


def test_libraries_meet_the_mean_over_draws_and_decisions_meet_the_same_draws():
    request = Request(
        defense="gaussian", defense_args={"sigma": 0.3}, dataset="digits", protocol="quick", samples=2
    )  # fmt: skip
    ready = prepare(request)
    x = torch.rand(3, 1, 8, 8).requires_grad_()
    given = handed(ready, eot=4, seed=1)
    assert torch.equal(given.decisions(x), given.decisions(x))
    assert torch.allclose(given.decisions(x)[:1], given.decisions(x[:1]), atol=1e-5)
    assert not torch.equal(given.gradients(x), given.gradients(x))
    assert given.gradients.mode is GradientMode.EXACT
    one = MeanOfDraws(ready.victim, 1, mode=GradientMode.EXACT, seed=1, is_steady=False)
    many = torch.stack([one(x) for _ in range(400)])
    mean = handed(ready, eot=400, seed=2).gradients(x)
    error = many.std(0) * (2 / 400) ** 0.5
    assert ((many.mean(0) - mean).abs() <= 5 * error).all()
    (gradient,) = torch.autograd.grad(mean.sum(), x)
    assert gradient.abs().sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize("defense", ["none", "advae[digits]"])
def test_foolbox_turns_what_is_undefended_and_nothing_that_standard_calls_robust(defense):
    pytest.importorskip("foolbox", reason="foolbox is not installed: pip install foolbox")
    from tests.parity.with_foolbox import attacks

    entry = committed(defense)
    entry = as_if_unattacked(entry) if defense == "none" else entry
    parity = Parity(entry, remake(entry, WHERE), 6, seed=1)
    budget = Budget(eps=0.15, shape=(1, 8, 8), classes=10, steps=20, queries=400)
    victim = handed(parity.ready, eot=1, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tried = list(parity.run("foolbox", attacks(victim, budget)))
    assert len(tried) == 6
    assert len(parity.fallen()) == (6 if defense == "none" else 0)


def test_an_attack_that_no_library_has_is_one_line():
    refuse_attacks(["PGD"], {"PGD", "APGD"})
    with pytest.raises(BenchError, match="no attack of those libraries is called 'PGDD'") as caught:
        refuse_attacks(["PGDD"], {"PGD", "APGD"})
    assert "\n" not in str(caught.value)
