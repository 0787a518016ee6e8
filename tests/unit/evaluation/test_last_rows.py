"""Rows that come last: they go on from what all others found, on what these left standing, and count."""

import pytest
import torch

from benchmark.audit.replan import all_problems_of
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.evaluation.execute.run import run, run_slice
from benchmark.evaluation.prepare.slices import Slice
from benchmark.records.protocol_files import parse_protocol
from tests.helpers.tiny_task import Noise, request

PROTOCOL = parse_protocol(
    b"""
name: last
version: 1
summary: a weak attack, and queries where no gradient is confirmed
samples: 12
shard_size: 4
criterion: {draws: 6, vote: 3, any_of: 2}
sources:
  - {id: made, attack: pgd, against: bare, arguments: {steps: 3}}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: oblivious, column: oblivious, knowledge: oblivious, attack: transfer, sources: [made]}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [measured], eot: 3,
     arguments: {steps: 2}}
  - {id: nes, column: black-box, knowledge: black-box, attack: nes, gradients: [guide], when: unconfirmed,
     last: true, arguments: {queries: 400, directions: 8, draws: 2}}
  - {id: square, column: black-box, knowledge: black-box, attack: square, when: unconfirmed, last: true,
     arguments: {queries: 200, draws: 2}}
""",
    where="last",
)


class Grains(Defense):
    """Turns an image round and shakes it by a hash of it: no gradient says what it does."""

    name = "grains-under-test"
    stochastic = False
    gradient = Derivative.NONE

    def purify(self, x, *, draws):
        grain = (torch.sin(1e4 * x.detach()) * 1e4).frac().abs() - 0.5
        return (x.detach().flip(-1) + 0.2 * grain).clamp(0, 1)


def asked(tmp_path, defense, **changes):
    return request(tmp_path, protocol=PROTOCOL, defense=defense, threat="linf:0.1", **changes)


def test_where_a_gradient_is_confirmed_nobody_is_asked_blindly(tmp_path):
    entry = run(asked(tmp_path, Noise(sigma=0.02)))
    assert [row.id for row in entry.attacks] == ["clean", "oblivious", "pgd"]
    assert entry.columns.black_box is None
    assert all_problems_of(entry) == []


@pytest.fixture(scope="module")
def grains(tmp_path_factory):
    return run(asked(tmp_path_factory.mktemp("runs"), Grains()))


def test_where_none_is_what_stands_is_asked_and_the_worst_case_falls(grains):
    rows = {row.id: row for row in grains.attacks}
    assert list(rows)[-2:] == ["nes", "square"]
    found = {name: row.rates.single.value for name, row in rows.items()}
    others = [rate for name, rate in found.items() if name not in ("nes", "square")]
    assert found["square"] <= found["nes"] < min(others)
    column = grains.columns.black_box.rates.single.value
    assert grains.worst.single.value == found["square"] == column
    assert [row.id for row in rows.values() if row.last] == ["nes", "square"]
    (flag,) = [each for each in grains.flags if each.id == "black-box-beats-white-box"]
    assert flag.verdict == "raised"
    assert all_problems_of(grains) == []


def test_what_the_others_broke_is_left_alone(grains):
    rows = {row.id: row for row in grains.attacks}
    others = [row.outcomes for name, row in rows.items() if name not in ("nes", "square")]
    stood = sum(all("1" in bits for bits in image) for image in zip(*others, strict=True))
    assert 0 < stood < 12
    asked = 400 // (1 + 2 * 9) * (1 + 2 * 9) + 400 // (1 + 2 * 9)  # and a look a step at its guide
    assert rows["nes"].cost.forwards_per_image <= asked * stood / 12
    kept = [i for i, image in enumerate(zip(*others, strict=True)) if "1" not in "".join(image)]
    assert all("1" not in rows["square"].outcomes[i] for i in kept)


def test_in_slices_it_is_the_same(tmp_path, grains):
    for i in (1, 2):
        run_slice(asked(tmp_path, Grains(), slice=Slice(i, 2)))
    again = run(asked(tmp_path, Grains()))
    said = [[(row.id, row.job_key, row.outcomes) for row in e.attacks] for e in (again, grains)]
    assert said[0] == said[1]
