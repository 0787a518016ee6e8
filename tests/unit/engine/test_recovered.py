"""Recovered gradients: ways in which a purifier hides its gradient, each against the same one that does not."""

from __future__ import annotations

import copy
import gc
import threading
import warnings
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.checkpointed import iterated
from benchmark.engine.victims.recovered import recovered

torch.manual_seed(0)
CORE = nn.Sequential(
    nn.Conv2d(2, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 2, 3, padding=1), nn.Sigmoid()
)
CORE.requires_grad_(False).eval()
TOKENS = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).requires_grad_(False).eval()
MEMORY = nn.LSTM(8, 8, batch_first=True).requires_grad_(False).eval()
CODES = torch.rand(12, 2)
TABLE = torch.linspace(0, 1, 256) ** 1.5
X = torch.rand(3, 2, 8, 8)


def core(x):
    return CORE(x)


class Zero(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return core(x)

    @staticmethod
    def backward(ctx, g):
        return torch.zeros_like(g)


class Own(torch.autograd.Function):
    """Straight-through."""

    @staticmethod
    def forward(ctx, x, y):
        return y.clone()

    @staticmethod
    def backward(ctx, g):
        return g, None


def as_is(x, step):
    return Own.apply(x, step(x.detach()))


def tokens(x):
    return x.flatten(2).reshape(len(x), -1, 8)


def no_grad(x):
    with torch.no_grad():
        return core(x)


def inference(x):
    with torch.inference_mode():
        y = core(x)
    return y.clone()


def in_place(x):
    y = x.detach().clone()
    y.mul_(0.9).add_(0.05)
    y[:, :, :4] = y[:, :, 4:] ** 2
    return core(y)


def in_place_plain(x):
    y = x * 0.9 + 0.05
    return core(torch.cat([y[:, :, 4:] ** 2, y[:, :, 4:]], 2))


def out_argument(x):
    y, z = torch.empty_like(x), torch.empty_like(x)
    with torch.no_grad():
        torch.mul(x, 0.7, out=y)
        torch.add(y, x, out=z)
    return core(z / 2)


def buffer(x):
    y = torch.zeros(len(x), 2, 12, 12)
    y[:, :, 2:10, 2:10].copy_(x.detach())
    return core(y)[:, :, 2:10, 2:10]


def loop(x):
    rows = torch.empty_like(x)
    for i in range(len(x)):
        rows[i] = core(x[i : i + 1].detach())[0]
    return rows


def set_data(x):
    y = torch.zeros_like(x)
    y.data = x.data * 0.5
    return core(y)


def shared_array(x):
    return core(torch.from_numpy(x.detach().numpy()))


def scripted(x):
    return torch.sigmoid(x.detach() * 3.0) * 0.5


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    SCRIPTED = torch.jit.script(scripted)
    TRACED = torch.jit.trace(lambda x: core(x.detach()), X, check_trace=False)


def traced_anew(x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return core(torch.jit.trace(lambda y: y.detach() * 0.5, x, check_trace=False)(x))


def double_inside(x):
    return core(x.detach().double().float())


def reentrant(x):
    with torch.no_grad():
        return checkpoint(core, x, use_reentrant=False)


def several(x, k):
    y = (x * 5).detach()
    y = y.round() / 5
    return core(y)


def vq(x):
    """Each pixel becomes the nearest code."""
    flat = x.detach().permute(0, 2, 3, 1).reshape(-1, 2)
    at = torch.cdist(flat, CODES).argmin(1)
    return CODES[at].view(len(x), 8, 8, 2).permute(0, 3, 1, 2)


def vq_embedding(x):
    flat = x.detach().permute(0, 2, 3, 1).reshape(-1, 2)
    at = ((flat[:, None] - CODES) ** 2).sum(2).argmin(-1)
    return F.embedding(at, CODES).view(len(x), 8, 8, 2).permute(0, 3, 1, 2)


def vq_one_hot(x):
    flat = x.detach().permute(0, 2, 3, 1).reshape(-1, 2)
    at = (-((flat[:, None] - CODES) ** 2).sum(2)).argmax(-1)
    return (F.one_hot(at, len(CODES)).float() @ CODES).view(len(x), 8, 8, 2).permute(0, 3, 1, 2)


def step_inside(x, k):
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        (g,) = torch.autograd.grad((core(leaf) ** 2).sum(), leaf)
    return (x.detach() - 0.1 * g).clamp(0, 1)


def step_plain(x):
    g = torch.autograd.grad((core(x) ** 2).sum(), x, create_graph=True)[0]
    return (x - 0.1 * g).clamp(0, 1)


def detached_steps(x):
    for _ in range(3):
        x = x.detach() + 0.1 * (core(x.detach()) - x)
    return x


def plain_steps(x):
    for _ in range(3):
        x = x + 0.1 * (core(x) - x)
    return x


def iterated_detached(x):
    return iterated(lambda x, k: x.detach() + 0.1 * (core(x.detach()) - x.detach()), x, 3)


def fft(x):
    y = torch.fft.rfft2(x.detach())
    return core(torch.fft.irfft2(y * 0.8, s=(8, 8)))


def fft_plain(x):
    return core(torch.fft.irfft2(torch.fft.rfft2(x) * 0.8, s=(8, 8)))


def strided(x):
    y = x.detach()
    return core(y.as_strided(y.shape, y.stride()).transpose(2, 3).contiguous().transpose(2, 3))


def foreach(x):
    y = [x.detach().clone(), x.detach().clone()]
    torch._foreach_mul_(y, 0.5)
    return core(y[0] + y[1])


def attention(x):
    q = tokens(x).detach()
    with torch.no_grad():
        return F.scaled_dot_product_attention(q, q * 2, q).reshape(x.shape).sigmoid()


def attention_plain(x):
    q = tokens(x)
    return F.scaled_dot_product_attention(q, q * 2, q).reshape(x.shape).sigmoid()


def transformer(x):
    with torch.no_grad():
        return TOKENS(tokens(x)).reshape(x.shape).sigmoid()


def lstm(x):
    with torch.no_grad():
        return MEMORY(tokens(x))[0].reshape(x.shape).sigmoid()


def bytes_(x):
    return core((x * 255).round().to(torch.uint8).float() / 255)


def drop_bits(x):
    y = (x * 255).to(torch.uint8)
    return core(((y >> 3) << 3).float() / 255)


def mask_bits(x):
    return core(((x * 255).to(torch.uint8) & 0xF8).float() / 255)


def look_up(x):
    return TABLE[(x * 255).long()]


def look_up_gather(x):
    return TABLE.gather(0, (x * 255).long().flatten()).view(x.shape)


def buckets(x):
    edges = torch.linspace(0, 1, 17)[1:-1]
    return core(torch.bucketize(x.detach(), edges).float() / 15)


def digits(x):
    """Whole tenths by counting thresholds."""
    return core(sum((x > t / 10).float() for t in range(1, 10)) / 9)


EXACT = {
    "detach": (lambda x: core(x.detach()), core),
    "data": (lambda x: core(x.data), core),
    "detach_": (lambda x: core((x * 1).detach_()), core),
    "no_grad": (no_grad, core),
    "inference mode": (inference, core),
    "zero backward": (Zero.apply, core),
    "detached output": (lambda x: core(x).detach(), core),
    "in place": (in_place, in_place_plain),
    "out=": (out_argument, lambda x: core((x * 0.7 + x) / 2)),
    "buffer": (buffer, lambda x: core(F.pad(x, (2, 2, 2, 2)))[:, :, 2:10, 2:10]),
    "row by row": (loop, core),
    "data assigned": (set_data, lambda x: core(x * 0.5)),
    "shared array": (shared_array, core),
    "jit script": (SCRIPTED, lambda x: torch.sigmoid(x * 3.0) * 0.5),
    "jit trace": (TRACED, core),
    "traced in the call": (traced_anew, lambda x: core(x * 0.5)),
    "double": (double_inside, core),
    "checkpoint": (reentrant, core),
    "deep copy": (lambda x: core(copy.deepcopy(x.detach())), core),
    "numpy copy by torch": (lambda x: core(torch.empty_like(x).copy_(x.detach())), core),
    "stack and unbind": (lambda x: core(torch.stack(x.detach().unbind(0))), core),
    "chunks": (lambda x: core(torch.cat([c.detach() for c in x.chunk(2, 1)], 1)), core),
    "as_strided": (strided, core),
    "foreach": (foreach, core),
    "fft": (fft, fft_plain),
    "attention": (attention, attention_plain),
    "transformer": (transformer, lambda x: TOKENS(tokens(x)).reshape(x.shape).sigmoid()),
    "lstm": (lstm, lambda x: MEMORY(tokens(x))[0].reshape(x.shape).sigmoid()),
    "autograd inside": (lambda x: step_inside(x, 0), step_plain),
    "steps": (detached_steps, plain_steps),
    "iterated": (iterated_detached, plain_steps),
    "interpolate": (
        lambda x: F.interpolate(F.avg_pool2d(x.detach(), 2), scale_factor=2, mode="bilinear"),
        lambda x: F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear"),
    ),
    "sort": (
        lambda x: x.detach().flatten(2).sort(-1)[0].view(x.shape),
        lambda x: x.flatten(2).sort(-1)[0].view(x.shape),
    ),
    "masked": (
        lambda x: torch.zeros_like(x).masked_scatter_(
            torch.ones_like(x, dtype=torch.bool), core(x).detach()
        ),
        core,
    ),
    "index_put": (
        lambda x: torch.zeros_like(x).index_put_((torch.arange(3),), core(x).detach()),
        core,
    ),
}
STEPS = {
    "round": (
        lambda x: core((x * 15).round() / 15),
        lambda x: core(as_is(x, lambda x: (x * 15).round() / 15)),
    ),
    "floor": (
        lambda x: core((x * 15).floor() / 15),
        lambda x: core(as_is(x, lambda x: (x * 15).floor() / 15)),
    ),
    "trunc": (
        lambda x: core((x * 15).trunc() / 15),
        lambda x: core(as_is(x, lambda x: (x * 15).trunc() / 15)),
    ),
    "sign": (
        lambda x: core((x - 0.5).sign()),
        lambda x: core(as_is(x, lambda x: (x - 0.5).sign())),
    ),
    "floor division": (
        lambda x: core(x // 0.05 * 0.05),
        lambda x: core(as_is(x, lambda x: x // 0.05 * 0.05)),
    ),
    "division rounded": (
        lambda x: core(torch.div(x, 0.05, rounding_mode="floor") * 0.05),
        lambda x: core(as_is(x, lambda x: x // 0.05 * 0.05)),
    ),
    "remainder": (lambda x: core(x - x % 0.05), lambda x: core(as_is(x, lambda x: x - x % 0.05))),
    "bytes": (bytes_, lambda x: core(as_is(x, lambda x: (x * 255).round() / 255))),
    "bits dropped": (
        drop_bits,
        lambda x: core(as_is(x, lambda x: ((x * 255).to(torch.uint8) >> 3 << 3).float() / 255)),
    ),
    "bits masked": (
        mask_bits,
        lambda x: core(as_is(x, lambda x: ((x * 255).to(torch.uint8) & 248).float() / 255)),
    ),
    "half and back": (lambda x: core(x.half().float()), core),
    "fake quantise": (
        lambda x: core(torch.fake_quantize_per_tensor_affine(x.detach(), 1 / 31, 0, 0, 31)),
        lambda x: core(
            as_is(x, lambda x: torch.fake_quantize_per_tensor_affine(x, 1 / 31, 0, 0, 31))
        ),
    ),
    "quantised": (
        lambda x: core(torch.quantize_per_tensor(x, 1 / 63, 0, torch.quint8).dequantize()),
        lambda x: core(
            as_is(x, lambda x: torch.quantize_per_tensor(x, 1 / 63, 0, torch.quint8).dequantize())
        ),
    ),
    "look-up table": (look_up, lambda x: x.clamp_min(1e-6) ** 1.5),
    "look-up by gather": (look_up_gather, lambda x: x.clamp_min(1e-6) ** 1.5),
    "buckets": (
        buckets,
        lambda x: core(as_is(x, lambda x: torch.bucketize(x, torch.linspace(0, 1, 17)[1:-1]) / 15)),
    ),
    "thresholds": (
        digits,
        lambda x: core(as_is(x, lambda x: sum((x > t / 10).float() for t in range(1, 10)) / 9)),
    ),
    "clamped shut": (
        lambda x: core((x * 1e-3 + 2).clamp(0, 1)),
        lambda x: core(Own.apply(x, torch.ones_like(x))),
    ),
}


CHOICES = {"vq": vq, "vq by embedding": vq_embedding, "vq by one-hot": vq_one_hot}


def elsewhere(x):
    """Computed by another thread."""
    found = []
    worker = threading.Thread(target=lambda: found.append(core(x.detach() * 1.0)))
    worker.start()
    worker.join()
    return found[0]


def by_numpy(x):
    return core(torch.from_numpy(np.clip(x.detach().numpy() * 1.1 - 0.05, 0, 1)))


def by_numpy_last(x):
    rows = [np.asarray(image.permute(1, 2, 0).mul(255).byte()) for image in x.detach()]
    back = torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2)
    return core(back.float() / 255)


def by_pil(x):
    """Each channel on its own."""
    out = []
    for image in x.detach():
        rows = [Image.fromarray(np.asarray((c * 255).byte())).resize((8, 8)) for c in image]
        out.append(torch.stack([torch.from_numpy(np.array(r).copy()) for r in rows]).float() / 255)
    return core(torch.stack(out))


def by_item(x):
    return core(torch.tensor([float(v) for v in x.detach().flatten()]).view(x.shape))


ELSEWHERE = {
    "thread": (elsewhere, lambda x: x),
    "pil": (by_pil, core),
    "numpy": (by_numpy, core),
    "numpy, channels last": (by_numpy_last, core),
    "numbers": (by_item, core),
}


def gradient(x, out):
    weights = torch.linspace(-1, 1, out.numel()).view(out.shape).cos()
    return torch.autograd.grad((out * weights).sum(), x, retain_graph=True)[0]


def cosine(a, b):
    return float((a * b).sum() / (a.norm() * b.norm()))


@pytest.mark.parametrize("name", EXACT)
def test_what_hides_a_gradient_gives_the_one_that_it_hides(name):
    hidden, plain = EXACT[name]
    x = X.clone().requires_grad_()
    found = recovered(hidden, x)
    assert torch.equal(found.images.detach(), hidden(X)) or name in ("transformer",)
    assert found.broken == ()
    assert cosine(gradient(x, found.images), gradient(x, plain(x))) > 0.999
    (norm, wanted) = (gradient(x, f).norm() for f in (found.images, plain(x)))
    assert norm / wanted == pytest.approx(1, rel=1e-2)


@pytest.mark.filterwarnings("ignore:torch.quantize")
@pytest.mark.parametrize("name", STEPS)
def test_steps_are_straight_through(name):
    hidden, plain = STEPS[name]
    x = X.clone().requires_grad_()
    found = recovered(hidden, x)
    assert torch.equal(found.images.detach(), hidden(X))
    assert found.broken == ()
    assert cosine(gradient(x, found.images), gradient(x, plain(x))) > (
        0.98 if name == "thresholds" else 0.99
    )


def bucket(x):
    return torch.bucketize(x, torch.tensor([1.0, 2.0, 3.0])).float()


SLOPES = {
    "buckets": (bucket, [0.5, 2.5], 1.0),  # three edges over a span of two
    "shift left": (lambda x: (x.to(torch.int32) << 3).float(), [1.0, 5.0], 8.0),
    "shift right": (lambda x: (x.to(torch.int32) >> 2).float(), [1.0, 5.0], 0.25),
    "floor division": (lambda x: x // 4, [1.0, 5.0], 0.25),
    "table": (lambda x: torch.tensor([0.0, 1.0, 4.0, 9.0])[x.long()], [1.0, 2.0], [2.0, 4.0]),
    "table's ends": (lambda x: torch.tensor([0.0, 2.0, 8.0])[x.long()], [0.0, 2.0], [1.0, 3.0]),
    "xor": (lambda x: ((x > 0) ^ (x > 10)).float(), [-1.0, 1.0], "rises"),
    "not below": (lambda x: (~(x < 0)).float(), [-1.0, 1.0], "rises"),
    "equal": (lambda x: (x == 1).float(), [0.5, 1.5], "towards 1"),
    "remainder of one step": (lambda x: x % 8, [1.0, 5.0], 1.0),
    "remainder of many": (lambda x: x % 2, [1.0, 5.0], 0.0),
}


@pytest.mark.parametrize("name", SLOPES)
def test_steps_are_as_steep_as_they_are_on_the_whole(name):
    step, points, slope = SLOPES[name]
    x = torch.tensor(points).view(1, 1, 1, 2).requires_grad_()
    found = recovered(step, x)
    assert torch.equal(found.images.detach(), step(x.detach()))
    if slope == 0.0:
        assert found.broken == ("the output",)  # nothing of it hangs on the image
        return
    (gradient,) = torch.autograd.grad(found.images.sum(), x)
    if slope == "rises":
        assert (gradient > 0).all()
    elif slope == "towards 1":
        assert gradient.flatten()[0] > 0 > gradient.flatten()[1]
    else:
        wanted = torch.tensor(slope).expand(2)
        torch.testing.assert_close(gradient.flatten(), wanted)


@pytest.mark.parametrize("name", CHOICES)
def test_the_choice_of_a_code_moves_towards_the_image(name):
    """By soft codes; straight-through would be the identity of the image itself."""
    x = X.clone().requires_grad_()
    found = recovered(CHOICES[name], x)
    assert found.broken == ()
    assert torch.equal(found.images.detach(), CHOICES[name](X))
    assert cosine(gradient(x, found.images), gradient(x, x * 1)) > 0.3


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_computed_elsewhere_is_taken_for_the_identity_and_said(name):
    hidden, plain = ELSEWHERE[name]
    x = X.clone().requires_grad_()
    found = recovered(hidden, x)
    assert torch.equal(found.images.detach(), hidden(X))
    assert len(found.broken) == (2 if name == "numbers" else 1)  # and each number that was read
    assert cosine(gradient(x, found.images), gradient(x, plain(x * 1))) > 0.99


def test_iterated_steps_are_recovered_one_by_one_in_bounded_memory():
    """The outer record holds the images and what came out, not 64 iterates; steps are computed again."""
    calls = []

    def step(x, k):
        calls.append(k)
        return x.detach() + 0.02 * (core(x.detach()) - x.detach())

    def plain(x):
        for _ in range(64):
            x = x + 0.02 * (core(x) - x)
        return x

    x = X.clone().requires_grad_()
    found = recovered(lambda x: iterated(step, x, 64), x)
    assert len(calls) == 2 * 64
    assert cosine(gradient(x, found.images), gradient(x, plain(x))) > 0.999
    assert len(calls) <= 2 * 64 + 5 * 64


def test_each_row_of_many_draws_has_its_own_gradient():
    """Twenty rows an image, each with noise by its own draws, as an attack asks for them."""
    draws = Draws.of(0, torch.arange(3)).repeat(20)

    def noisy(x):
        return core(x + 0.1 * draws.normal(tuple(x.shape[1:])))

    x = X.repeat_interleave(20, 0).requires_grad_()
    found = recovered(lambda x: noisy(x.detach()), x)
    assert found.broken == ()
    ours, theirs = gradient(x, found.images), gradient(x, noisy(x))
    assert all(cosine(a, b) > 0.999 for a, b in zip(ours, theirs, strict=True))


def test_global_generators_are_left_as_the_call_itself_leaves_them():
    def drawn(x):
        return core(x.detach() + 0.1 * torch.randn_like(x) + 0.1 * torch.rand(x.shape))

    x = X.clone().requires_grad_()
    torch.manual_seed(3)
    wanted, after = drawn(X), torch.rand(1)
    torch.manual_seed(3)
    found = recovered(drawn, x)
    assert torch.equal(found.images.detach(), wanted)
    assert torch.equal(torch.rand(1), after)


def attended(x):
    """Attention to those above the mean alone, others at minus infinity."""
    f = x.flatten(1, 2)
    score = f @ f.mT
    return score.masked_fill(score < score.mean(-1, keepdim=True), -torch.inf).softmax(-1) @ f


INFINITE = {
    "mask": lambda x: attended(x.detach()),
    "where": lambda x: torch.where(x > 0.5, x.log(), -torch.inf).exp(),
    "quotient": lambda x: torch.where((x - 0.5).abs() < 0.2, 0.0, (x - 0.5) / (x - 0.5).abs()),
    "best of some": lambda x: CODES[:, 0][
        (-(x[..., None] - CODES[:, 0]).abs())
        .masked_fill(torch.arange(len(CODES)) > 5, -torch.inf)
        .argmax(-1)
    ],
}


@pytest.mark.parametrize("name", INFINITE)
def test_what_is_not_finite_on_the_way_leaves_a_finite_gradient(name):
    x = X.clone().requires_grad_()
    with torch.no_grad():
        x[0, 0, 0, 0] = 0.5
    found = recovered(INFINITE[name], x)
    torch.testing.assert_close(found.images.detach(), INFINITE[name](x.detach()), equal_nan=True)
    slope = torch.autograd.grad(found.images.nan_to_num().sum(), x)[0]
    assert slope.isfinite().all()
    assert slope.abs().max() > 0


def scaled_in_numpy(x):
    y = x.detach().clone()
    y.numpy()[:] *= 0.2
    return core(y)


def test_what_is_written_out_of_sight_is_noticed():
    x = X.clone().requires_grad_()
    found = recovered(scaled_in_numpy, x)
    assert torch.equal(found.images.detach(), scaled_in_numpy(X))
    assert len(found.broken) == 1
    assert cosine(gradient(x, found.images), gradient(x, core(x * 0.2))) > 0.99


GROUPS = nn.GroupNorm(2, 6).requires_grad_(False).eval()


def step_through_groups(x):
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        hidden = GROUPS(CORE[0](leaf))
        (g,) = torch.autograd.grad((hidden**2).sum(), leaf)
    return core(x.detach() - 0.01 * g)


def test_an_operation_without_a_derivative_is_a_note_and_no_crash():
    x = X.clone().requires_grad_()
    found = recovered(step_through_groups, x)
    assert torch.equal(found.images.detach(), step_through_groups(X))
    assert any("group_norm" in note for note in found.broken)
    assert gradient(x, found.images).abs().max() > 0


def test_a_code_that_is_compared_with_all_indices_is_a_choice_too():
    def compared(x):
        flat = x.detach().permute(0, 2, 3, 1).reshape(-1, 2)
        at = torch.cdist(flat, CODES).argmin(1)
        chosen = (at[:, None] == torch.arange(len(CODES))).float()
        return (chosen @ CODES).view(len(x), 8, 8, 2).permute(0, 3, 1, 2)

    x = X.clone().requires_grad_()
    found = recovered(compared, x)
    assert torch.equal(found.images.detach(), compared(X))
    assert cosine(gradient(x, found.images), gradient(x, x * 1)) > 0.3


def test_weights_are_not_copied_for_each_of_their_uses(monkeypatch):
    copied = []
    clone = torch.Tensor.clone
    monkeypatch.setattr(
        torch.Tensor, "clone", lambda t, *a, **k: copied.append(tuple(t.shape)) or clone(t, *a, **k)
    )
    recovered(lambda x: core(core(core(x.detach()))), X.clone().requires_grad_())
    assert tuple(CORE[0].weight.shape) not in copied


def test_an_empty_batch_and_other_layouts_are_no_crash():
    assert recovered(core, X[:0].clone().requires_grad_()).images.shape == X[:0].shape
    x = X.clone().requires_grad_()
    found = recovered(lambda x: core(x.detach().to_sparse().to_dense()), x)
    assert torch.equal(found.images.detach(), core(X))
    assert gradient(x, found.images).isfinite().all()


def test_hooks_on_what_graphs_save_keep_no_graph_alive():
    def hooked(x):
        with torch.autograd.graph.saved_tensors_hooks(lambda saved: saved, lambda saved: saved):
            return core(x.detach()).sigmoid()

    found = recovered(hooked, X.clone().requires_grad_()).images
    node = weakref.ref(found.grad_fn)
    assert node() is not None
    del found
    gc.collect()
    assert node() is None
