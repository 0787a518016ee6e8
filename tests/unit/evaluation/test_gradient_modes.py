"""Which gradient a protocol's row takes: the true one, the surrogate's, or both where one may hide things."""

from dataclasses import replace

import pytest
import torch

from benchmark.engine.threat import Knowledge
from benchmark.engine.victims.defense import Defense, Derivative, weakest_gradient
from benchmark.evaluation.execute.run import run
from benchmark.evaluation.prepare.plan import make_plan
from benchmark.evaluation.prepare.prepare import prepare
from benchmark.evaluation.prepare.request import Request
from benchmark.records.protocol_files import parse_protocol
from tests.helpers.tiny_task import request

PROTOCOL = parse_protocol(
    b"""
name: modes
version: 1
summary: one row for each wish
samples: 12
shard_size: 4
criterion: {draws: 1, vote: 1, any_of: 1}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: best, column: adaptive, knowledge: white-box, attack: fgsm, gradients: [best]}
  - {id: both, column: adaptive, knowledge: white-box, attack: fgsm, gradients: [exact, bpda]}
""",
    where="modes",
)


def stage(declared: Derivative) -> Defense:
    class Stage(Defense):
        name = "stage"
        stochastic = False
        gradient = declared

        def purify(self, x, *, draws):
            return x

    return Stage()


@pytest.mark.parametrize(
    ("stages", "best", "both"),
    [
        ([], ["exact"], ["exact", "bpda"]),
        (["exact"], ["exact"], ["exact", "bpda"]),
        (["almost-everywhere"], ["exact", "bpda"], ["exact", "bpda"]),
        (["none"], ["bpda"], ["bpda"]),
        (["exact", "almost-everywhere"], ["exact", "bpda"], ["exact", "bpda"]),
        (["exact", "none"], ["bpda"], ["bpda"]),
        (["almost-everywhere", "almost-everywhere"], ["exact", "bpda"], ["exact", "bpda"]),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else None,
)
def test_best_is_both_where_a_gradient_may_hide_something(tmp_path, stages, best, both):
    ready = prepare(request(tmp_path, protocol=PROTOCOL))
    weakest = weakest_gradient(stage(Derivative(declared)) for declared in stages)
    rows, _ = make_plan(replace(ready, gradient=weakest))
    found = {
        name: [r.job.gradient for r in rows if r.id.startswith(name)] for name in ("best", "both")
    }
    assert found == {"best": best, "both": both}


SOURCES = parse_protocol(
    b"""
name: sources
version: 1
summary: images made on the bare classifier, and on others
samples: 4
shard_size: 4
sources:
  - {id: bare, attack: fgsm, against: bare}
  - {id: others, attack: fgsm, against: surrogates}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: oblivious, column: oblivious, knowledge: oblivious, attack: transfer, sources: [bare]}
  - {id: transfer, column: transfer, knowledge: transfer, attack: transfer, sources: [others]}
""",
    where="sources",
)


def test_who_makes_images_on_the_bare_classifier_is_oblivious_and_on_others_transfers(tmp_path):
    ready = prepare(Request(defense="none", dataset="digits", protocol=SOURCES, runs=tmp_path))
    rows, _ = make_plan(ready)
    made = {row.knowledge for row in rows if row.id.startswith("bare:")}
    assert made == {Knowledge.OBLIVIOUS}
    made = {row.knowledge for row in rows if row.id.startswith("others:")}
    assert made == {Knowledge.TRANSFER}


class Mirror(Defense):
    """Turns each image round and hides it, so that a straight-through step goes the wrong way."""

    name = "mirror-under-test"
    stochastic = False
    gradient = Derivative.NONE

    def purify(self, x, *, draws):
        with torch.no_grad():
            return x.flip(-1)


class Clear(Mirror):
    """The same, unhidden."""

    name = "clear-under-test"
    gradient = Derivative.EXACT

    def purify(self, x, *, draws):
        return x.flip(-1)


class Elsewhere(Mirror):
    """The same by numpy."""

    name = "elsewhere-under-test"

    def purify(self, x, *, draws):
        return torch.from_numpy(x.detach().numpy()[..., ::-1].copy())


MODES = parse_protocol(
    b"""
name: modes
version: 1
summary: one attack by two gradients
samples: 12
shard_size: 12
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [exact, bpda, recovered],
     arguments: {steps: 10, step_size: 0.25}}
""",
    where="modes",
)


def test_recovered_gradients_break_what_a_surrogate_misses_and_say_where_they_are_none(tmp_path):
    entry = run(request(tmp_path, protocol=MODES, defense=Mirror(), threat="linf:0.05"))
    rate = {row.id: row.rates.single.value for row in entry.attacks}
    by_hand = run(request(tmp_path, protocol=MODES, defense=Clear(), threat="linf:0.05"))
    (wanted,) = (row.rates.single.value for row in by_hand.attacks if row.id == "pgd:exact")
    assert rate["pgd:recovered"] == wanted < rate["pgd:bpda"]
    assert all(not row.warnings for row in entry.attacks)
    entry = run(request(tmp_path, protocol=MODES, defense=Elsewhere()))
    said = {row.id: row.warnings for row in entry.attacks}
    assert any("recovered: broken at" in line for line in said["pgd:recovered"])
    assert not said["pgd:bpda"]
