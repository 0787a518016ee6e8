"""Many steps in bounded memory: the plain loop's gradient, no more memory for more steps; short surrogates."""

from __future__ import annotations

import weakref
from contextlib import contextmanager

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import cosine_similarity

from attacks.pgd import PGD
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm
from benchmark.engine.victims.checkpointed import iterated
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.victim import GradientMode
from benchmark.selftest.closed_forms import LinearTask
from tests.helpers.small_aid import draws as aid_draws
from tests.helpers.small_aid import images as aid_images
from tests.helpers.small_aid import prepared
from tests.helpers.toy_plugins import Walk, image_draws, linear_target

X = Draws.of(3, torch.arange(2), "x").uniform((1, 3, 3), dtype=torch.float64)


def step(x, k):
    return (x + 0.3 * torch.sin(x * (k + 1))).tanh()


def plain(x, steps):
    for k in range(steps):
        x = step(x, k)
    return x


def gradient(loop):
    x = X.clone().requires_grad_()
    out = loop(x)
    weights = torch.arange(out.numel(), dtype=out.dtype).view_as(out)
    (found,) = torch.autograd.grad((out * weights).sum(), x)
    return out.detach(), found


@pytest.mark.parametrize("kept", [1, 2, 3, 8])
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7, 20, 46])
def test_value_and_gradient_are_those_of_the_plain_loop_bit_for_bit(steps, kept):
    expected = gradient(lambda x: plain(x, steps))
    found = gradient(lambda x: iterated(step, x, steps, kept=kept))
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


class Ledger:
    """What is alive at once: iterates that steps were made from, and tensors saved for a backward pass."""

    def __init__(self):
        self.iterates = []
        self.most_iterates = self.saved = self.most_saved = 0
        self.made = {}

    def step(self, x, k):
        self.made[k] = self.made.get(k, 0) + 1
        self.iterates.append(weakref.ref(x))
        alive = [ref() for ref in self.iterates]
        places = {tensor.data_ptr() for tensor in alive if tensor is not None}
        self.most_iterates = max(self.most_iterates, len(places))
        return step(x, k)

    @contextmanager
    def watched(self):
        def pack(tensor):
            box = _Box(tensor)
            self.saved += 1
            self.most_saved = max(self.most_saved, self.saved)
            weakref.finalize(box, self.forget)
            return box

        with saved_tensors_hooks(pack, lambda box: box.tensor):
            yield

    def forget(self):
        self.saved -= 1


class _Box:
    def __init__(self, tensor):
        self.tensor = tensor


def ledger_of(loop):
    ledger = Ledger()
    with ledger.watched():
        gradient(lambda x: loop(ledger, x))
    return ledger


@pytest.mark.parametrize("kept", [1, 2, 4])
def test_what_is_alive_does_not_grow_with_the_number_of_steps(kept):
    found = {
        steps: ledger_of(lambda ledger, x, n=steps: iterated(ledger.step, x, n, kept=kept))
        for steps in (10, 40)
    }
    assert found[10].most_saved == found[40].most_saved
    assert found[40].most_iterates <= kept + 1  # and the one that a step is made from


def test_the_plain_loop_does_grow():
    def loop(ledger, x):
        for k in range(40):
            x = ledger.step(x, k)
        return x

    few = ledger_of(lambda ledger, x: iterated(ledger.step, x, 40, kept=4))
    assert ledger_of(loop).most_saved > 10 * few.most_saved


@pytest.mark.parametrize(("steps", "kept", "most"), [(9, 8, 3), (45, 8, 4), (165, 8, 5), (5, 1, 6)])
def test_no_step_is_computed_more_often_than_the_binomial_schedule_says(steps, kept, most):
    ledger = ledger_of(lambda ledger, x: iterated(ledger.step, x, steps, kept=kept))
    assert set(ledger.made) == set(range(steps))
    assert max(ledger.made.values()) <= most


def test_without_gradients_every_step_is_made_once_and_nothing_is_kept():
    ledger = Ledger()
    out = iterated(ledger.step, X, 12)
    assert torch.equal(out, plain(X, 12))
    assert set(ledger.made.values()) == {1}
    assert not out.requires_grad


def test_steps_with_a_gradient_of_their_own_and_steps_without_one_are_both_allowed():
    def uphill(x, k):
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(leaf.pow(3).sum(), leaf)
        return x + 0.01 * slope.sign()

    assert torch.equal(gradient(lambda x: iterated(uphill, x, 5))[1].flatten(), torch.arange(18.0))
    assert not gradient(lambda x: iterated(lambda x, k: x.detach() * 0.5, x, 5))[1].any()


def test_a_step_that_forgets_its_image_for_something_else_with_a_gradient_has_none():
    weight = torch.ones(1, requires_grad=True)
    x = torch.ones(2, 1, 1, 1, requires_grad=True)
    out = iterated(lambda y, k: weight * 2 + 0 * y.detach() if k else 3 * y, x, 2)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(gradient, torch.zeros_like(x))


@pytest.mark.parametrize(("steps", "kept"), [(-1, 8), (3, 0)])
def test_numbers_that_make_no_sense_are_refused(steps, kept):
    with pytest.raises(ValueError, match="expected steps"):
        iterated(step, X, steps, kept=kept)


def test_a_random_purifier_of_many_steps_meets_the_same_noise_again():
    task = LinearTask.make(n=4, dtype=torch.float64)
    victim = Purified([Walk(steps=30)], task.classifier)
    slow = Purified([Walk(steps=30)], task.classifier, is_checkpointed=True)
    found = []
    for each in (victim, slow):
        x = task.x.clone().requires_grad_()
        out = each.purify(x, draws=image_draws(4), mode=GradientMode.EXACT)
        (slope,) = torch.autograd.grad((out**2).sum(), x)
        found.append(slope)
    assert torch.equal(*found)


@pytest.mark.parametrize("steps", [1, 3, 12])
def test_aid_saves_no_more_for_more_steps_and_has_the_gradient_of_its_plain_loop(tmp_path, steps):
    arguments = {"steps": steps, "eps": 0.05, "step_size": 0.02, "taps": ["1/3"]}
    defense = prepared(tmp_path, **arguments)
    start = (1.1 * aid_images() - 0.05).clamp(0, 1)  # some pixels stand at 0 and at 1

    def unbounded(x):
        x_k = x
        for _ in range(steps):
            δ = x_k + 0.02 * defense._uphill(x_k) - x
            x_k = (x + δ.clamp(-0.05, 0.05)).clamp(0.0, 1.0)
        return x_k

    found = []
    for purify in (lambda x: defense.purify(x, draws=aid_draws(5)), unbounded):
        ledger, x = Ledger(), start.clone().requires_grad_()
        with ledger.watched():
            out = purify(x)
            saved = ledger.saved
            (slope,) = torch.autograd.grad((out * out.detach()).sum(), x)
        found.append((out.detach(), slope, saved))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1], rtol=1e-6)
    assert found[0][2] == 1
    assert (slope == 0).any()


def test_a_shortened_surrogate_is_the_bpda_of_a_long_process_and_leads_where_the_identity_does_not():
    task = LinearTask.make(n=4, dtype=torch.float64)
    threat = task.threat(Norm.LINF, 1.0)
    slopes, room = {}, {}
    for name, short, mode in (
        ("exact", 0, GradientMode.EXACT),
        ("short", 2, GradientMode.BPDA),
        ("identity", 0, GradientMode.BPDA),
    ):
        walk = Walk(steps=20, share=0.05, short=short)
        target = linear_target(task, walk, mode=mode, eot=1)
        x = task.x.clone().requires_grad_()
        logits = target.logits(x, draws=image_draws(4))
        (slopes[name],) = torch.autograd.grad(logits[:, 0].sum(), x)
        x_adv = PGD(steps=8, step_size=0.25, loss="margin", keep="max_margin")(
            target, task.x, task.y, threat=threat, draws=image_draws(4)
        )
        moved = target.victim.purify(x_adv[:, 0], draws=image_draws(4), mode=GradientMode.EXACT)
        room[name] = float(task.room(moved).mean())
    near, far = (
        float(cosine_similarity(slopes[name].flatten(1), slopes["exact"].flatten(1)).mean())
        for name in ("short", "identity")
    )
    assert near > 0.99 > far
    lost = {name: room[name] - room["exact"] for name in room}
    assert 0 < lost["short"] < 0.25 * lost["identity"]
