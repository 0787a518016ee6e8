"""Mixed precision: bfloat16 searches and never judges, and finds no less than float32 does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.engine.attacking.mixed_precision import AttackOutput, InBfloat16, search_then_confirm
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.errors import BenchError, ContractBroken
from benchmark.estimate.estimate import estimate
from benchmark.evaluation.execute.command import command_of
from benchmark.evaluation.execute.run import run
from benchmark.evaluation.execute.shard import run_shard
from benchmark.evaluation.execute.shard_queue import shards_of
from benchmark.evaluation.execute.store import Store
from benchmark.evaluation.prepare.plan import make_plan
from benchmark.evaluation.prepare.prepare import bench_of, prepare
from benchmark.records.job import MIXED
from benchmark.records.protocol_files import parse_protocol
from tests.helpers.tiny_task import PROTOCOL, Noise, dataset, request
from tests.helpers.toy_plugins import image_draws, nonlinear_target


def mixed(folder, **changes):
    return request(folder, **{"precision": MIXED, **changes})


def plain(folder, **changes):
    return request(folder, **{"precision": "float32", **changes})


class Soft(Defense):
    """A convolution that leaves images nearly as they are; under autocast its output is bfloat16."""

    name = "soft"
    stochastic = False
    gradient = Derivative.EXACT

    def purify(self, x, *, draws):
        kernel = torch.zeros(1, 1, 3, 3, dtype=x.dtype)
        kernel[0, 0, 1, 1], kernel[0, 0, 1, 0] = 0.9, 0.1
        return nn.functional.conv2d(x, kernel, padding=1)


def outcomes_by_job(asked):
    """Every shard's result of a request, by row id and start, without a store between."""
    ready = prepare(asked)
    bench = bench_of(ready)
    rows, _ = make_plan(ready)
    store = Store(asked.runs)
    results = {}
    for task in shards_of(rows, len(ready.order), ready.protocol.shard_size):
        sources = [store.images(job, task.start, task.stop) for job in task.needs]
        result, images = run_shard(
            bench,
            task.job,
            task.start,
            task.stop,
            sources=torch.cat(sources, 1) if sources else None,
        )
        store.save(task.job, result, images)
        results[task.row.id, task.start] = result
    return results


@pytest.mark.parametrize("threat", ["linf:0.02", "linf:0.06", "linf:0.1"])
@pytest.mark.parametrize("defense", ["none", Noise(), Soft()], ids=["none", "noise", "soft"])
def test_a_survivor_of_mixed_is_a_survivor_of_the_same_attack_in_float32(tmp_path, defense, threat):
    cheap = outcomes_by_job(mixed(tmp_path / "mixed", defense=defense, threat=threat))
    whole = outcomes_by_job(plain(tmp_path / "plain", defense=defense, threat=threat))
    assert cheap.keys() == whole.keys()
    rates = []
    for place, result in cheap.items():
        for rule, outcomes in result.outcomes.items():
            for ours, theirs in zip(outcomes, whole[place].outcomes[rule], strict=True):
                assert ours.rate <= theirs.rate
                rates.append(ours.rate)
                if defense == "none":  # one draw, which selects and scores alike
                    assert ours.accuracy <= theirs.accuracy
    assert 0 < sum(rates) < len(rates), "neither all of them survive nor none"


class Lying(Defense):
    """A purifier that is another one under autocast: what a bfloat16 forward might make of it, only worse."""

    name = "lying"
    stochastic = False
    gradient = Derivative.EXACT

    def __init__(self, *, under_autocast: str = "black") -> None:
        self.under_autocast = under_autocast

    def purify(self, x, *, draws):
        if not torch.is_autocast_enabled("cpu"):
            return x * 1.0
        if self.under_autocast == "black":
            return x * 0.0
        return x.detach() + 0.0 * x  # blind: right values, no gradient


@pytest.mark.parametrize("under_autocast", ["black", "blind"])
def test_what_bfloat16_thinks_decides_nothing(tmp_path, under_autocast):
    lied_to = run(mixed(tmp_path / "mixed", defense=Lying(under_autocast=under_autocast)))
    honest = run(plain(tmp_path / "plain", defense=Lying()))
    assert lied_to.clean == honest.clean
    for ours, theirs in zip(lied_to.attacks, honest.attacks, strict=True):
        assert all(mine <= its for mine, its in zip(ours.outcomes, theirs.outcomes, strict=True))
    assert "1" in "".join(lied_to.per_image.worst), (
        "some image survives, so that this says something"
    )


def test_the_entry_and_its_command_say_that_it_was_mixed(tmp_path):
    asked = mixed(tmp_path)
    assert run(asked).precision == MIXED
    assert "--precision mixed" in command_of(prepare(asked))
    assert run(plain(tmp_path)).precision == "float32"


def test_only_searches_on_the_victim_are_mixed_and_the_rest_is_float32s_own(tmp_path):
    text = PROTOCOL + (
        b"  - {id: aa, column: autoattack, knowledge: white-box, attack: autoattack, "
        b"gradients: [best], counts: deterministic}\n"
    )
    of = {}
    for make in (mixed, plain):
        ready = prepare(make(tmp_path, protocol=parse_protocol(text, where="tiny")))
        rows, _ = make_plan(ready)
        of[make] = {row.id: row.job for row in rows}
    precision = {name: job.task.precision for name, job in of[mixed].items()}
    searched = {"pgd:exact", "pgd:bpda", "aware"}
    assert {name for name, kind in precision.items() if kind == MIXED} == searched
    assert set(precision.values()) == {MIXED, "float32"}
    same = {name for name, job in of[mixed].items() if job.key == of[plain][name].key}
    assert same == set(precision) - searched


def test_an_unknown_precision_is_refused():
    with pytest.raises(BenchError, match="float32, float64, mixed"):
        request("runs", precision="float16")


def found(images, *, forwards=0, trace=()):
    return AttackOutput(
        candidates=images,
        forwards=forwards,
        backwards=forwards,
        gradients=1,
        zero_gradients=0,
        trace=tuple(trace),
        warnings=(),
    )


def test_all_are_searched_in_bfloat16_and_survivors_again_in_float32_at_its_own_draws():
    victim, asked = nonlinear_target()[0].victim, []

    def attempt(who, which, place):
        asked.append((type(who), which.tolist(), place))
        images = torch.full((len(which), 2, 1, 1, 1), float(len(asked)))
        return found(images, forwards=10 * len(which), trace=[0.75, 0.5])

    made = search_then_confirm(attempt, victim, 4, survivors=lambda images: torch.tensor([1, 3]))
    assert asked == [(InBfloat16, [0, 1, 2, 3], "bfloat16"), (type(victim), [1, 3], "")]
    first, again = [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 2.0, 2.0]
    assert made.candidates.flatten(1).tolist() == [first, again, first, again]
    assert (made.forwards, made.backwards) == (60, 60)
    assert made.trace == (0.75, 0.5, 0.375, 0.25)


def test_where_none_survives_nothing_is_attacked_again():
    victim, asked = nonlinear_target()[0].victim, []

    def attempt(who, which, place):
        asked.append(place)
        return found(torch.zeros(len(which), 1, 1, 1, 1))

    nobody = torch.zeros(0, dtype=torch.int64)
    made = search_then_confirm(attempt, victim, 4, survivors=lambda images: nobody)
    assert asked == ["bfloat16"]
    assert made.candidates.shape == (4, 1, 1, 1, 1)


def test_a_mixed_run_costs_its_search_and_what_is_attacked_again(tmp_path):
    cheap = run(mixed(tmp_path / "mixed", defense="none", threat="linf:0.02"))
    whole = run(plain(tmp_path / "plain", defense="none", threat="linf:0.02"))
    for ours, theirs in zip(cheap.attacks, whole.attacks, strict=True):
        if theirs.cost.backwards_per_image:
            assert ours.cost.backwards_per_image > theirs.cost.backwards_per_image
        else:
            assert ours.cost.forwards_per_image == theirs.cost.forwards_per_image


def test_an_estimate_reckons_that_every_image_is_attacked_twice(tmp_path):
    cheap, whole = (estimate(make(tmp_path, defense="none")) for make in (mixed, plain))
    by_id = {row.id: row for row in whole.rows}
    for row in cheap.rows:
        times = 2 if row.id in {"pgd", "pgd:exact", "pgd:bpda", "aware"} else 1
        other = by_id[row.id]
        assert row.passes.backwards == times * other.passes.backwards
        assert row.passes.forwards == times * other.passes.forwards
        assert (row.verdict > other.verdict) == (times == 2)


def small_victim():
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 4)
    )
    draws = Draws.of(3, torch.zeros(1, dtype=torch.int64))
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight.copy_(0.3 * draws.at(name).normal(tuple(weight.shape))[0])
    return prepare(request("runs", precision="float32", defense=Soft(), model=network)).victim


def test_the_search_computes_in_bfloat16_and_gives_float32():
    victim = small_victim()
    x = dataset().images("test", torch.arange(12))
    draws = image_draws(12)
    whole = victim.logits(x, draws=draws, mode="exact")
    rough = InBfloat16(victim).logits(x, draws=draws, mode="exact")
    assert rough.dtype == torch.float32
    assert torch.equal(rough, rough.bfloat16().float()), "these are bfloat16's numbers"
    assert not torch.equal(rough, whole)
    torch.testing.assert_close(rough, whole, rtol=0.05, atol=0.05)
    bare = InBfloat16(victim).bare_logits(x)
    assert bare.dtype == torch.float32
    assert torch.equal(bare, bare.bfloat16().float())
    calm = InBfloat16(victim).auxiliary_loss(x, draws=draws, mode="exact")
    assert calm.dtype == torch.float32


class Half(Defense):
    """Returns another dtype than it was given."""

    name = "half"
    stochastic = False
    gradient = Derivative.EXACT

    def purify(self, x, *, draws):
        return x.half()


def test_another_dtype_is_refused_also_under_autocast():
    x, draws = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)), image_draws(2)
    with pytest.raises(ContractBroken, match="must return the same"):
        Half()(x, draws=draws)
    with pytest.raises(ContractBroken, match="must return the same"), torch.autocast("cpu"):
        Half()(x, draws=draws)
