"""Draws: Philox against its published vectors, and independence of everything that must not matter."""

import copy
import math
import pickle
from dataclasses import replace

import pytest
import torch

from benchmark.engine.randomness import Draws, philox
from benchmark.errors import ContractBroken

PUBLISHED = [  # counter, key, output: the known-answer file of Random123, philox4x32 with 10 rounds
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def draws(n: int = 6) -> Draws:
    return Draws.of(3, torch.arange(100, 100 + n), "test", "eot")


@pytest.mark.parametrize(("counter", "key", "expected"), PUBLISHED)
def test_philox_gives_its_published_vectors(counter, key, expected):
    words = philox(tuple(torch.tensor([c]) for c in counter), key)
    assert tuple(words[0].tolist()) == expected


def test_the_same_place_gives_the_same_numbers_however_often_it_is_asked():
    at = draws().at("mask", 4)
    assert torch.equal(at.normal((3, 5)), at.normal((3, 5)))


@pytest.mark.parametrize("other", ["seed", "path", "kind", "image", "row"])
def test_every_part_of_the_place_matters(other):
    a = draws()
    b = {
        "seed": Draws(4, a.images, a.rows, a.path),
        "path": a.at("x"),
        "kind": a.at(1),
        "image": Draws(a.seed, a.images + 1, a.rows, a.path),
        "row": Draws(a.seed, a.images, a.rows + 1, a.path),
    }[other]
    reference = a.at("1") if other == "kind" else a
    assert not torch.isclose(reference.uniform((8,)), b.uniform((8,))).any()


def test_an_image_keeps_its_numbers_in_any_batch():
    all_rows = draws().repeat(3)
    whole = all_rows.normal((7,))
    some = torch.tensor([11, 2, 5])
    assert torch.equal(all_rows.take(some).normal((7,)), whole[some])
    assert torch.equal(draws().take(torch.tensor([3])).repeat(3).normal((7,)), whole[9:12])


def test_repetitions_of_an_image_are_independent_and_so_are_repetitions_of_repetitions():
    rows = draws(2).repeat(4).repeat(5).uniform((16,))
    assert len({tuple(row.tolist()) for row in rows}) == 40


def test_a_longer_request_does_not_change_uniform_numbers_that_came_before():
    assert torch.equal(draws().uniform((50,))[:, :20], draws().uniform((20,)))


def test_normal_numbers_have_the_moments_of_a_normal():
    z = Draws.of(0, torch.arange(200), "moments").normal((1000,), dtype=torch.float64)
    n = z.numel()
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs((z**4).mean() - 3) < 4 * math.sqrt(96 / n)


def test_uniform_numbers_are_the_same_in_both_precisions_and_below_one():
    single, double = draws().uniform((999,)), draws().uniform((999,), dtype=torch.float64)
    assert torch.equal(single.double(), double)
    assert single.max() < 1
    assert single.min() >= 0


def test_integers_and_permutations_cover_their_range():
    many = Draws.of(0, torch.arange(500), "integers")
    assert sorted(set(many.integers(7, (4,)).flatten().tolist())) == list(range(7))
    assert torch.equal(many.permutations(9).sort(1).values, torch.arange(9).expand(500, 9))


def test_generators_are_one_an_image_and_seeded_by_it():
    first, again = draws().generators(), draws().generators()
    values = [torch.rand(3, generator=g) for g in first]
    assert torch.equal(
        torch.stack(values), torch.stack([torch.rand(3, generator=g) for g in again])
    )
    assert len({tuple(v.tolist()) for v in values}) == 6


def test_opaque_draws_give_the_same_numbers_and_tell_nothing_of_who_asks():
    known = Draws.of(3, torch.arange(4), "select").repeat(2)
    opaque = known.opaque()
    for use in (
        lambda d: d.at("n", 1).uniform((2, 3)),
        lambda d: d.take(torch.tensor([5, 0])).normal((4,)),
        lambda d: d.repeat(3).integers(7),
        lambda d: d.to("cpu").permutations(5),
        lambda d: torch.stack([torch.rand(2, generator=g) for g in d.generators()]),
    ):
        assert torch.equal(use(opaque), use(known))
    assert (len(opaque), len(opaque.at("x").take(torch.arange(2)))) == (8, 2)
    assert opaque.opaque() is opaque
    for name in ("seed", "images", "rows", "path"):
        for draws in (opaque, opaque.at("x"), opaque.repeat(2)):
            with pytest.raises(ContractBroken, match=f"draws.{name} would tell who asks"):
                getattr(draws, name)
    with pytest.raises(ContractBroken, match="would tell who asks"):
        replace(opaque, seed=1)
    assert repr(opaque) == "<draws of 8 rows>"
    for copied in (copy.deepcopy(opaque), pickle.loads(pickle.dumps(opaque))):
        assert torch.equal(copied.uniform((2,)), known.uniform((2,)))
        with pytest.raises(ContractBroken):
            _ = copied.images
    assert opaque == opaque != known.opaque()
