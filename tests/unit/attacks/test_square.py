"""Square: held to the linear margin, to AutoAttack's own code, and to its count of queries."""

from itertools import product

import pytest
import torch
from pyautoattack.square import SquareAttack
from torch import nn

from attacks.square import Square, _Moves, _pyramids, changed_share
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from benchmark.errors import BenchError
from benchmark.selftest.closed_forms import LinearTask
from tests.helpers.toy_plugins import Noise, Quantised, Same, image_draws, linear_target

TASK = LinearTask.make(n=4, classes=4, shape=(1, 6, 6))
LINF, L2 = Threat.parse("linf:0.04"), Threat.parse("l2:0.2")


def room_after(attack, *defenses, norm=Norm.LINF, share, **options):
    target = linear_target(TASK, *defenses, **options)
    threat = TASK.threat(norm, share)
    x_adv = attack(target, TASK.x, TASK.y, threat=threat, draws=image_draws(4))
    return TASK.room(x_adv), target


@pytest.mark.parametrize(("norm", "above"), [(Norm.LINF, 1.2), (Norm.L2, 2.0)])
@pytest.mark.parametrize("defenses", [(), (Quantised(),)], ids=["bare", "no gradient"])
def test_it_succeeds_above_the_exact_margin_and_never_below(norm, above, defenses):
    """In l2 it needs twice the margin: a slope whose signs change from pixel to pixel has no large squares."""
    attack = Square(queries=500)
    assert (room_after(attack, *defenses, norm=norm, share=above, leaves_early=True)[0] < 0).all()
    assert (room_after(attack, *defenses, norm=norm, share=0.95)[0] > 0).all()


def test_the_schedule_is_upstreams_step_by_step():
    for steps in (300, 5000):
        for rescales in (True, False):
            upstream = SquareAttack(None, n_queries=steps, p_init=0.8, resc_schedule=rescales)
            for step in range(steps):
                ours = changed_share(step, steps, start=0.8, rescales=rescales)
                assert ours == upstream.p_selection(step)


@pytest.mark.parametrize("s", [1, 2, 3, 4, 5, 8, 11])
def test_the_pyramids_are_upstreams(s):
    upstream = SquareAttack(None, norm="L2", device="cpu")
    with torch.random.fork_rng():
        theirs = upstream.eta(s)
    ours = _pyramids(s, torch.tensor([False, True]), theirs)[:, 0]
    assert min(float((one - theirs).abs().max()) for one in ours) < 1e-6


class Upstream(SquareAttack):
    """AutoAttack's, but that a square may touch the last row and column."""

    def random_int(self, low=0, high=1, shape=(1,)):
        return super().random_int(low, high + 1, shape)


def small_net():
    """A smooth random network for 1x10x10 images, with 60 images and its own predictions as labels."""
    one = Draws.of(3, torch.zeros(1, dtype=torch.int64), "net")
    first, last = nn.Conv2d(1, 8, 5), nn.Linear(8 * 36, 5)
    with torch.no_grad():
        for name, layer in (("first", first), ("last", last)):
            shape = tuple(layer.weight.shape)
            weight = one.at(name).normal(shape)[0] / layer.weight[0].numel() ** 0.5
            layer.weight.copy_(weight)
            layer.bias.zero_()
    network = nn.Sequential(first, nn.Tanh(), nn.Flatten(), last)
    x = image_draws(60, "points").uniform((1, 10, 10))
    classifier = Classifier(network, name="small", classes=5, sha256="")
    return classifier, x, classifier(x).argmax(1)


@pytest.mark.parametrize("text", ["linf:0.04", "l2:0.4"])
def test_as_many_images_fall_as_to_upstream_within_noise(text):
    classifier, x, y = small_net()
    threat = Threat.parse(text)
    target = Target(Purified([], classifier), classes=5, leaves_early=True)
    x_adv = Square(queries=200)(target, x, y, threat=threat, draws=image_draws(60))[:, 0]
    ours = int((classifier(x_adv).argmax(1) != y).sum())
    norm = {"linf": "Linf", "l2": "L2"}[threat.norm]
    upstream = Upstream(classifier, norm=norm, n_queries=200, eps=threat.eps, seed=0, device="cpu")
    with torch.random.fork_rng():
        theirs = int((classifier(upstream.perturb(x, y)).argmax(1) != y).sum())
    assert 12 < theirs < 48, "a budget at which some images fall and some stand"
    assert abs(ours - theirs) <= 11  # two standard errors of a difference of two counts out of 60


@pytest.mark.parametrize("threat", [LINF, L2], ids=["linf", "l2"])
@pytest.mark.parametrize("noise", [(), (Noise(),)], ids=["fixed", "random"])
def test_neither_batch_size_nor_neighbours_change_an_image(threat, noise):
    def run(which, batch_size):
        task = LinearTask.make(n=7, classes=4, shape=(2, 6, 5))
        target = linear_target(task, *noise, batch_size=batch_size)
        draws = image_draws(7).take(which)
        attack = Square(queries=40, draws=3)
        return attack(target, task.x[which], task.y[which], threat=threat, draws=draws)

    everyone = torch.arange(7)
    images = run(everyone, 64)
    for which, batch_size in ((everyone, 3), (everyone.flip(0), 64), (everyone[2:4], 1)):
        torch.testing.assert_close(run(which, batch_size), images[which], rtol=0, atol=1e-9)


def test_every_query_is_counted_and_the_budget_is_kept():
    _, target = room_after(Square(queries=77), share=0.5)
    assert target.forwards == 77 * 4
    assert target.backwards == 0
    _, target = room_after(Square(queries=77, draws=5), Noise(), share=0.5)
    assert target.forwards == (77 // 10) * 10 * 4, "two looks of five answers a step"


def test_an_image_leaves_once_it_is_misclassified_and_is_driven_on_where_it_must_stay():
    gone, asked = room_after(Square(queries=300), share=1.5, leaves_early=True)
    stayed, whole = room_after(Square(queries=300), share=1.5)
    assert asked.forwards < whole.forwards == 300 * 4
    assert (stayed < gone).all()
    assert asked.trace[-1] == 0.0


class Lucky(Noise):
    """So much noise that every fifth draw or so misclassifies an image that no change can touch."""

    def purify(self, x, *, draws):
        return super().purify(torch.full_like(x, 0.5) + 0.004 * (TASK.slope > 0), draws=draws)


def test_the_incumbent_of_a_random_victim_meets_its_rivals_draws():
    """Where no change matters no rival is ever better: its margin is the incumbent's, draw by draw."""
    victim = Lucky(sigma=0.3)
    target = linear_target(TASK, victim)
    attack = Square(queries=400, draws=2)
    x_adv = attack(target, TASK.x, TASK.y, threat=LINF, draws=image_draws(4))[:, 0]
    once = Square(queries=4, draws=2)
    start = once(target, TASK.x, TASK.y, threat=LINF, draws=image_draws(4))[:, 0]
    assert torch.equal(x_adv, start)


def test_behind_noise_the_mean_margin_comes_down():
    attack = Square(queries=2000, draws=5)
    room, _ = room_after(attack, Noise(sigma=0.1), norm=Norm.LINF, share=1.3)
    assert (room < 0).all()
    assert (room_after(attack, Noise(sigma=0.1), share=0.9)[0] > 0).all()


@pytest.mark.parametrize(
    "attack", [Square(queries=1), Square(start=0), Square(start=1.5), Square(draws=0)]
)
def test_wrong_arguments_are_refused_in_one_line(attack):
    with pytest.raises(BenchError, match="square") as caught:
        room_after(attack, share=1.0)
    assert "\n" not in str(caught.value)


def test_a_random_victim_needs_two_looks():
    with pytest.raises(BenchError, match="40 queries"):
        room_after(Square(queries=39, draws=20), Same(), Noise(), share=1.0)


@pytest.mark.parametrize("side", [4, 6, 10, 13])
def test_a_start_is_stripes_of_the_whole_budget_or_pyramids_all_over_the_image(side):
    x = torch.full((3, 2, side, side), 0.5, dtype=torch.float64)
    stripes = _Moves(x, LINF, image_draws(3)).start() - x
    torch.testing.assert_close(stripes.abs(), torch.full_like(x, LINF.eps))
    assert torch.equal(stripes, stripes[:, :, :1].expand_as(x))
    assert len(stripes.sign().flatten(1).unique(dim=0)) == 3
    grid = _Moves(x, L2, image_draws(3)).start() - x
    assert L2.size(x, x + grid).tolist() == pytest.approx([L2.eps] * 3)
    s = max(1, side // 5)
    offset = max(0, (side - 5 * s) // 2)
    corners = range(offset, side - s + 1, s)
    inside = torch.zeros_like(x)
    lengths = []
    for i, j in product(corners, corners):
        inside[:, :, i : i + s, j : j + s] = 1
        lengths.append(grid[:, :, i : i + s, j : j + s].flatten(2).norm(dim=2))
    torch.testing.assert_close(torch.stack(lengths), lengths[0].expand(len(lengths), 3, 2))
    assert not grid[inside == 0].any()


@pytest.mark.parametrize("h", range(5, 16))
@pytest.mark.parametrize("w", [5, 11])
def test_pyramids_of_a_fifth_of_the_height_are_laid_wherever_they_fit_whole(h, w):
    x = torch.full((1, 1, h, w), 0.5, dtype=torch.float64)
    grid = _Moves(x, L2, image_draws(1)).start() - x
    assert float(grid.norm()) == pytest.approx(L2.eps)
    s = h // 5
    rows, columns = (grid[0, 0].abs().sum(i) > 0 for i in (1, 0))
    offset = (h - 5 * s) // 2
    assert rows.nonzero().flatten().tolist() == list(
        range(offset, offset + s * ((h - offset) // s))
    )
    n_columns = s * ((w - offset) // s)
    assert columns.nonzero().flatten().tolist() == list(range(offset, offset + n_columns))
