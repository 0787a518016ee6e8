"""Which gradient a protocol's row takes: the true one, the surrogate's, or both where one may hide things."""

from dataclasses import replace

import pytest

from benchmark.engine.threat import Knowledge
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.evaluation.prepare.plan import make_plan, weakest_gradient
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
