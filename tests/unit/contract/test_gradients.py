"""Gradients measured: one that is hidden is found, one that is another is so said, a true one is confirmed."""

import pytest
import torch
from pydantic import ValidationError

from benchmark.contract.gradients import measured
from benchmark.engine.victims.defense import Derivative
from benchmark.engine.victims.victim import Vote
from benchmark.records.gradients import MeasuredGradient, MeasuredGradients
from tests.helpers import toy_plugins as toys
from tests.unit.contract.test_measurements import exhibit


class Toy(toys.Same):
    """A purifier from one function of images and draws."""

    def __init__(self, clean, *, stochastic=False, surrogate=None):
        self.clean, self.stochastic, self._surrogate = clean, stochastic, surrogate

    def purify(self, x, *, draws):
        return self.clean(x, draws)

    def surrogate(self, x, *, draws):
        return self._surrogate(x) if self._surrogate else x


def turned(x):
    return 0.2 + 0.6 * x.flip(-1)


def noisy(x, draws):
    return turned(x) + 0.05 * draws.normal(tuple(x.shape[1:]), dtype=x.dtype)


def where_moved(x, draws):
    """Hides its gradient where an image is not as it came: those of the task are smooth."""
    is_rough = (x.diff(dim=-1).abs().amax((1, 2, 3)) > 0.1)[:, None, None, None]
    return torch.where(is_rough, turned(x.detach()), turned(x))


def levels(x, draws):
    return (turned(x) * 7).round() / 7


def of(clean, **options):
    return measured(exhibit(Toy(clean, **options)))


def modes(found):
    return [each.mode for each in found.distinct], [each.mode for each in found.confirmed]


@pytest.mark.parametrize(
    ("clean", "distinct", "confirmed"),
    [
        (lambda x, draws: x * 1.0, ["exact"], ["exact"]),
        (lambda x, draws: turned(x), ["exact", "bpda"], ["exact"]),
        (noisy, ["exact", "bpda"], ["exact"]),
        (lambda x, draws: turned(x.detach()), ["bpda", "recovered"], ["recovered"]),
        (lambda x, draws: noisy(x.detach(), draws), ["bpda", "recovered"], ["recovered"]),
        (lambda x, draws: turned(x) * 1.0 + (x - x.detach()), None, ["recovered"]),
        (levels, ["bpda", "recovered"], []),
    ],
    ids=["same", "turned", "noisy", "hidden", "noise, then hidden", "something added", "levels"],
)
def test_each_mode_is_what_it_is_and_the_true_one_alone_is_confirmed(clean, distinct, confirmed):
    found = of(clean, stochastic=clean is noisy)
    assert modes(found) == (distinct or ["exact", "bpda", "recovered"], confirmed)
    assert not found.is_saturated


def test_a_replay_of_a_true_gradient_is_that_gradient_and_so_is_a_true_surrogate():
    found = of(lambda x, draws: turned(x), surrogate=turned)
    assert [each.same_as for each in found.modes] == ["", "exact", "exact"]
    assert [each.slopes for each in found.modes] == [1.0, 1.0, 1.0]


def test_a_surrogate_that_points_elsewhere_tells_less_of_the_answers_than_chance_alone_would():
    found = of(lambda x, draws: turned(x.detach()), surrogate=lambda x: x.flip(-2))
    exact, bpda, recovered = found.modes
    assert (exact.zeros, exact.cosine) == (1.0, 0.0)
    assert abs(bpda.cosine) < 0.5 < recovered.cosine
    assert found.best[0].mode == "recovered"


def test_what_is_hidden_on_moved_images_alone_is_seen():
    images = torch.linspace(0.3, 0.7, 8).view(8, 1, 1, 1).expand_as(exhibit().images)
    found = measured(exhibit(Toy(where_moved), images=images.contiguous()))
    assert found.modes[0].zeros == 0.5
    assert modes(found) == (["exact", "bpda", "recovered"], ["recovered"])


def test_a_victim_that_votes_is_asked_without_its_vote():
    sample = exhibit(Toy(noisy, stochastic=True))
    vote = exhibit(Toy(noisy, stochastic=True), victim=Vote(sample.victim, k=5), made=sample.made)
    assert measured(vote) == measured(sample)


def test_answers_that_saturate_are_asked_for_labels():
    class Sharp(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def logits(self, x, *, draws, mode):
            return (1e6 * self.inner.logits(x, draws=draws, mode=mode)).softmax(1)

    sample = exhibit(Toy(lambda x, draws: x * 1.0))
    found = measured(
        exhibit(
            Toy(lambda x, draws: x * 1.0),
            victim=Sharp(sample.victim),
            made=lambda dtype: Sharp(sample.made(dtype)),
        )
    )
    assert found.is_saturated
    assert found.confirmed == []


class Breaks(toys.Same):
    """Breaks down wherever somebody wants a gradient through it."""

    gradient = Derivative.NONE

    def purify(self, x, *, draws):
        if x.requires_grad:
            raise RuntimeError("no gradient here")
        return turned(x)


def test_a_mode_that_breaks_down_is_none_and_says_why():
    found = measured(exhibit(Breaks()))
    assert modes(found) == (["bpda", "recovered"], ["recovered"])
    assert "no gradient here" in found.modes[0].error


def mode(name, **fields):
    return MeasuredGradient(mode=name, **fields)


def test_a_record_that_contradicts_itself_is_refused():
    bad = [
        (mode("bpda"), mode("exact"), mode("recovered")),
        (mode("exact"), mode("bpda", same_as="exact"), mode("recovered", same_as="bpda")),
        (mode("exact", same_as="exact"), mode("bpda"), mode("recovered")),
    ]
    for each in bad:
        with pytest.raises(ValidationError, match="modes: "):
            MeasuredGradients(images=8, moved=1.0, floor=0.1, modes=each)
