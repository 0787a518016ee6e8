"""One small case of what `python -m tests.parity` does at length."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from benchmark.challenge.judge import challenge
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.reproduce import Where, remake
from benchmark.records.entry import Entry
from benchmark.records.entry_files import read_entry
from tests.parity.__main__ import entry_of, refuse_attacks
from tests.parity.results import Budget, Hunt, write_found

WHERE = Where(device="cpu")


def committed(defense: str) -> Entry:
    return read_entry(entry_of(defense, "digits-cnn"))


def as_if_unattacked(entry: Entry) -> Entry:
    """The entry as it would be had no attack been run."""
    images = entry.per_image
    bare = {"worst": images.clean, "chosen": ("clean",) * len(images.clean)}
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
    hunt = Hunt(entry, remake(entry, WHERE), 12)
    x, _ = hunt.images()
    same, far = hunt.run({"same": lambda x, y: x, "far": one_step(hunt.ready.victim)})
    assert not same.turned
    assert far.turned
    assert set(hunt.found()) == far.turned
    best = torch.stack([hunt.best[i][1] for i in hunt.robust])
    assert hunt.ready.task.threat.size(x, best).max() <= 0.15 + 1e-6
    write_found(hunt, tmp_path / "x.npz")
    after = challenge(entry, tmp_path / "x.npz", where=WHERE).after
    fallen = {i for i, name in enumerate(after.per_image.chosen) if name == "challenge:1"}
    assert fallen == far.turned


@pytest.mark.slow
@pytest.mark.parametrize("defense", ["none", "advae"])
def test_foolbox_turns_what_is_undefended_and_nothing_that_standard_calls_robust(defense):
    pytest.importorskip("foolbox", reason="foolbox is not installed: pip install foolbox")
    from tests.parity.with_foolbox import attacks

    entry = committed(defense)
    hunt = Hunt(as_if_unattacked(entry) if defense == "none" else entry, remake(entry, WHERE), 6)
    budget = Budget(eps=0.15, shape=(1, 8, 8), classes=10, steps=20, queries=400)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tried = list(hunt.run(attacks(hunt.ready.victim, budget)))
    assert len(tried) == 6
    assert len(hunt.found()) == (6 if defense == "none" else 0)


def test_an_attack_that_no_library_has_is_one_line():
    refuse_attacks(["PGD"], {"PGD", "APGD"})
    with pytest.raises(BenchError, match="no attack of those libraries is called 'PGDD'") as caught:
        refuse_attacks(["PGDD"], {"PGD", "APGD"})
    assert "\n" not in str(caught.value)
