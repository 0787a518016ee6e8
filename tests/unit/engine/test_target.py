"""What a target counts and averages, on objectives whose gradient is known."""

import pytest
import torch

from benchmark.engine.attacking.search import Search, success_value
from benchmark.engine.attacking.target import Target
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.victim import AsStochastic, GradientMode, Victim
from benchmark.selftest.closed_forms import LinearTask
from tests.helpers.toy_plugins import Noise, image_draws, linear_target


class Scaled(Victim):
    """Logits `(x_0, 2 x_1)`, of a random victim plus the number of its draw."""

    classifiers = ()

    def __init__(self, stochastic=False):
        super().__init__()
        self.is_random = stochastic
        self.passes = []

    @property
    def stochastic(self):
        return self.is_random

    def logits(self, x, *, draws, mode):
        self.passes.append(len(x))
        self.mode_asked = mode
        both = x.flatten(1) * torch.tensor([1.0, 2.0], dtype=x.dtype)
        return both + (draws.rows[:, None] if self.is_random else 0)

    def bare_logits(self, x):
        return x.flatten(1)

    def auxiliary_loss(self, x, *, draws, mode):
        return x.flatten(1).sum(1)


X = torch.tensor([[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]], dtype=torch.float64).view(3, 1, 1, 2)
Y = torch.tensor([0, 1, 1])


def target(**options):
    made = {"classes": 2, **options}
    return Target(Scaled(made.pop("stochastic", False)), **made)


def squares(made):
    """Half the squared first logit of each row, whose gradient is the logit itself."""

    def objective(rows, which, draws):
        logits = made.logits(rows, draws=draws)
        return logits[:, 0].square() / 2, logits

    return objective


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_loss_gradient_and_logits_are_means_over_draws_whatever_the_batch(batch_size):
    made = target(stochastic=True, eot=3, batch_size=batch_size)
    found = made.ascend(X, squares(made), draws=image_draws(3))
    first = X.flatten(1)[:, 0]
    torch.testing.assert_close(found.logits, X.flatten(1) * torch.tensor([1.0, 2.0]) + 1)
    torch.testing.assert_close(found.gradient[:, 0, 0, 0], first + 1)  # draws 0, 1 and 2
    assert not found.gradient[:, 0, 0, 1].any()
    torch.testing.assert_close(found.loss, (first**2 + (first + 1) ** 2 + (first + 2) ** 2) / 6)
    assert (made.forwards, made.backwards) == (9, 9)
    assert max(made.victim.passes) == min(batch_size, 9)


def test_gradients_of_zero_everywhere_are_counted_one_for_each_image():
    made = target()
    made.ascend(X, squares(made), draws=image_draws(3))
    made.ascend(X[:1], squares(made), draws=image_draws(1))
    assert (made.gradients, made.zero_gradients) == (4, 1)  # the third image's first pixel is 0
    assert (made.forwards, made.backwards) == (4, 4)


def test_every_pass_forward_is_counted_and_one_that_breaks_off_is_taken_back():
    made = target()
    assert (made.forwards, made.backwards, made.gradients, made.zero_gradients) == (0, 0, 0, 0)
    made.predict(X, draws=image_draws(3))
    made.bare_logits(X)
    assert made.forwards == 6

    def broken(rows, which, draws):
        made.logits(rows, draws=draws)
        raise KeyError("broken")

    with pytest.raises(KeyError):
        made.ascend(X, broken, draws=image_draws(3))
    assert (made.forwards, made.backwards) == (6, 0)


def test_a_target_is_asked_exactly_once_and_keeps_images_unless_told_otherwise():
    made = target()
    assert (made.mode, made.eot, made.batch_size, made.leaves_early) == (
        GradientMode.EXACT,
        1,
        256,
        False,
    )
    assert target(leaves_early=True).leaves_early
    assert not target(leaves_early=True, stochastic=True).leaves_early


def search(made, **options):
    return Search(made, X, Y, draws=image_draws(3), **{"puts_success_first": True, **options})


RIGHT, WRONG = [1.0, 0.0], [0.0, 1.0]  # for label 0
FIRST = torch.tensor([RIGHT, RIGHT, WRONG], dtype=torch.float64)  # right, wrong, right


def values(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def test_a_success_is_kept_before_any_other_and_the_greater_value_among_equals():
    made = search(target())
    made.offer(X + 1, FIRST, values(5, 1, 5))
    made.offer(X + 2, FIRST.flip(1), values(1, 9, 1))  # wrong, right, wrong
    made.offer(X + 3, FIRST.flip(1), values(1, 9, 2))  # no better, another is, better
    torch.testing.assert_close((made.best - X)[:, 0, 0, 0], values(2, 1, 3))
    assert made.target.trace == pytest.approx([2 / 3, 0, 0])


def test_by_value_alone_the_greater_one_is_kept_and_the_trace_is_that_of_the_last():
    made = search(target(leaves_early=True), puts_success_first=False)
    made.offer(X + 1, FIRST, values(5, 1, 5))
    stays = made.offer(X + 2, FIRST.flip(1), values(4, 1, 6))
    torch.testing.assert_close((made.best - X)[:, 0, 0, 0], values(1, 1, 2))
    assert made.target.trace == pytest.approx([2 / 3, 1 / 3])
    assert (stays.all(), made.which.tolist()) == (True, [0, 1, 2])


def test_an_image_leaves_once_it_is_misclassified_where_it_may():
    made = search(target(leaves_early=True))
    assert made.offer(X + 1, FIRST, values(0, 0, 0)).tolist() == [True, False, True]
    assert made.which.tolist() == [0, 2]
    assert (made.y.tolist(), len(made.x)) == ([0, 1], 2)
    after = search(target(leaves_early=True), follows=made)
    assert after.which.tolist() == [0, 2]
    torch.testing.assert_close((after.best - X)[:, 0, 0, 0], values(0, 1, 0))
    after.offer(X[after.which], FIRST[after.which], values(0, 0))
    assert after.target.trace == pytest.approx([2 / 3])
    stayed = search(target(), follows=search(target()))
    assert stayed.which.tolist() == [0, 1, 2]


def test_a_value_is_the_margin_where_misclassified_and_the_loss_elsewhere():
    logits = torch.tensor([[1.0, 3.0], [1.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
    y = torch.tensor([0, 0, 1])
    assert success_value(logits, y, values(7, 8, 9)).tolist() == [2, 8, 9]


@pytest.mark.parametrize("norm", list(Norm))
def test_a_start_is_uniform_in_the_budget(norm):
    """On a line: uniform in +-eps. In l2 on 2 pixels: half of the points lie within eps / sqrt(2)."""
    n = 4000
    x = torch.full((n, 1, 1, 2), 0.5, dtype=torch.float64)
    y = torch.zeros(n, dtype=torch.int64)
    made = Search(target(), x, y, draws=image_draws(n), puts_success_first=True)
    δ = (made.start(Threat(norm, 0.2)) - x).flatten(1)
    assert δ.mean(0).abs().max() < 0.01
    if norm is Norm.LINF:
        assert δ.abs().max() <= 0.2 + 1e-12
        assert δ.std(0).tolist() == pytest.approx([0.4 / 12**0.5] * 2, rel=0.03)
    else:
        length = δ.norm(dim=1)
        assert length.max() <= 0.2 + 1e-12
        assert float((length < 0.2 / 2**0.5).double().mean()) == pytest.approx(0.5, abs=0.03)
    assert not torch.equal(made.start(Threat(norm, 0.2), 1), x + δ.view_as(x))


def test_a_flat_loss_is_no_evidence_of_a_masked_gradient():
    made = search(target())

    def flat(rows, which, draws):
        logits = made.target.logits(rows, draws=draws)
        return 0 * logits[:, 0], logits

    made.look(X, flat, is_evidence=False)
    assert (made.target.gradients, made.target.zero_gradients) == (0, 0)
    made.look(X, flat)
    assert (made.target.gradients, made.target.zero_gradients) == (3, 3)


def test_a_victim_called_as_a_plain_module_draws_anew_at_each_call():
    task = LinearTask.make(n=4)
    victim, again = (linear_target(task, Noise()).victim for _ in range(2))
    first, second = victim(task.x), victim(task.x)
    assert (first != second).any()
    assert torch.equal(again(task.x), first)
    assert torch.equal(again(task.x), second)


def test_a_victim_that_was_found_to_be_random_is_asked_as_one_and_answers_as_before():
    inner = Scaled()
    outer = AsStochastic(inner)
    assert (inner.stochastic, outer.stochastic) == (False, True)
    draws = image_draws(3)
    assert torch.equal(
        outer.logits(X, draws=draws, mode=GradientMode.EXACT),
        inner.logits(X, draws=draws, mode=GradientMode.EXACT),
    )
    assert torch.equal(outer.bare_logits(X), inner.bare_logits(X))
