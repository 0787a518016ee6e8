"""Networks as people write them: each gives the plain logits, or is refused in one line before a run."""

import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.classifiers.ensemble import ensemble
from benchmark.engine.victims.acceptance import accept
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.given_networks import wrap_module
from benchmark.evaluation.prepare.prepare import prepare
from benchmark.evaluation.prepare.probing import probe
from tests.helpers import tiny_task as tiny


class Net(nn.Module):
    """Two layers with a batch norm between."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Linear(16, tiny.CLASSES)
        self.asked = 0

    def hidden(self, x):
        return self.norm(self.first(x)).tanh().flatten(1)

    def forward(self, x):
        return self.last(self.hidden(x))


@dataclass
class Output:
    """What transformers return."""

    logits: torch.Tensor
    loss: None = None


def of(forward):
    """A network with the same weights, and with `forward(plain logits' function, network, x)`."""
    kind = type(
        "Other", (Net,), {"forward": lambda self, x: forward(super(kind, self).forward, self, x)}
    )
    return kind()


@pytest.fixture
def dataset():
    return tiny.dataset()


def shown(network, dataset, dtype=torch.float32):
    """The logits of a network that is accepted, and those of the plain one."""
    x = dataset.images("test", torch.arange(6)).to(dtype)
    classifier = wrap_module(network, dataset=dataset, dtype=dtype)
    before = x.clone()
    accept(classifier, x, dataset)
    logits = classifier(x)
    assert torch.equal(x, before)
    assert logits.dtype == dtype
    return logits, Net().eval().to(dtype)(x)


def autocast(plain, _net, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return plain(x)


def doubled(plain, net, x):
    net.double()
    return plain(x.double())


@pytest.mark.parametrize(
    "network",
    [
        of(lambda plain, _, x: plain(x.sub_(0.3).add_(0.3))),
        of(lambda plain, _, x: plain(x.mul_(2)) if x.max() < 0 else plain(x)),
        of(lambda plain, _, x: {"logits": plain(x), "features": x}),
        of(lambda plain, _, x: Output(plain(x))),
        of(lambda plain, _, x: (plain(x),)),
        of(lambda plain, _, x: plain(x)[:, :, None, None]),
        of(lambda plain, _, x: plain(x).squeeze()),
        of(doubled),
        Net().double(),
        nn.DataParallel(Net()),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_means_the_same_gives_the_plain_logits(network, dataset, dtype):
    torch.testing.assert_close(*shown(network, dataset, dtype))


def test_lower_precision_inside_gives_logits_of_the_run(dataset):
    torch.testing.assert_close(*shown(of(autocast), dataset), rtol=0.05, atol=0.05)


def counting(plain, net, x):
    net.asked += 1
    return plain(x) + net.asked


def adapting(plain, net, x):
    with torch.no_grad():
        net.norm.running_mean.lerp_(net.first(x).mean((0, 2, 3)), 1e-7)
    return plain(x)


def without_graph(plain, _net, x):
    with torch.no_grad():
        return plain(x)


def in_batch(_plain, net, x):
    h = nn.functional.batch_norm(net.first(x), None, None, training=True)
    return net.last(h.relu().flatten(1))


def half_inside(plain, net, x):
    return plain(x.half())


def boom(_plain, _net, _x):
    raise RuntimeError("boom")


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        (lambda plain, _, x: (plain(x), x.flatten(1)), r"a tuple of \(1, 4\), \(1, 16\); expected"),
        (lambda plain, _, x: {"out": plain(x), "aux": plain(x)}, "a dict of 'out': .*'logits'"),
        (lambda *_: None, "a NoneType"),
        (lambda plain, _, x: plain(x)[:, :3], r"shape \(1, 3\); expected \(1, 4\), for 4 classes"),
        (
            lambda plain, _, x: plain(x.view(-1, 3, 4, 4)),
            r"does not take images of shape \(1, 4, 4\)",
        ),
        (half_inside, r"does not compute in float32.* \(at test_acceptance.py:\d+\)"),
        (boom, r"failed on images.*RuntimeError: boom \(at test_acceptance.py:\d+\)"),
        (lambda plain, _, x: plain(x) + torch.rand(1), "is random"),
        (lambda plain, _, x: plain(x + np.random.rand()), "is random"),
        (lambda plain, _, x: plain(x) + random.random(), "is random"),
        (lambda plain, _, x: nn.functional.dropout(plain(x)), "is random"),
        (counting, "does not repeat itself"),
        (adapting, "writes to its norm.running_mean"),
        (in_batch, "does not look at each image alone"),
        (lambda plain, _, x: plain(x - x.mean()), "does not look at each image alone"),
        (lambda plain, _, x: plain(x / x.max()), "does not look at each image alone"),
        (lambda plain, _, x: plain(x) * len(x), "does not look at each image alone"),
        (without_graph, "no gradient"),
        (lambda plain, _, x: plain(x.detach()), "no gradient"),
        (
            lambda plain, _, x: plain(x if x.requires_grad else x.sub_(0.2)),
            "other logits where gradients are wanted",
        ),
        (lambda plain, _, x: plain(x).log(), "not finite"),
    ],
)
def test_what_has_no_accuracy_is_refused_in_one_line(forward, said, dataset):
    network, before = of(forward), torch.get_rng_state()
    with pytest.raises(BenchError, match=said) as caught:
        shown(network, dataset)
    assert str(caught.value).startswith("classifier 'Other-")
    assert "\n" not in str(caught.value)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_member_of_an_ensemble_is_named(dataset):
    members = [wrap_module(network, dataset=dataset) for network in (Net(), of(in_batch))]
    with pytest.raises(BenchError, match=r"classifier 'Other-\w+' does not look"):
        accept(ensemble(members), dataset.images("test", torch.arange(2)), dataset)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: torch.jit.script(nn.Linear(2, 2)), "is a TorchScript program"),
        (
            lambda: torch.ao.quantization.quantize_dynamic(tiny.network(), {nn.Linear}),
            "keeps a .* among its weights",
        ),
        (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(4)), "copying it failed"),
    ],
)
def test_a_module_that_cannot_be_frozen_is_refused(make, said, dataset):
    with pytest.raises(BenchError, match=said):
        wrap_module(make(), dataset=dataset)


class Broken(Defense):
    """A purifier that breaks down, for a reason of its own or torch's."""

    name = "broken"
    stochastic = False
    gradient = Derivative.EXACT

    def __init__(self, *, failure: str = "boom") -> None:
        self.failure = failure

    def purify(self, x, *, draws):
        if self.failure == "boom":
            raise RuntimeError("boom")
        return nn.functional.linear(x, torch.ones(3, 3))


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("boom", r"failed on images.*RuntimeError: boom \(at test_acceptance.py:\d+\)"),
        ("shape", r"does not take images of shape \(1, 4, 4\) of 'tiny-\w+': .*multiplied"),
    ],
)
def test_a_purifier_that_breaks_down_is_named_with_its_cause(tmp_path, failure, said):
    request = tiny.request(tmp_path, defense=Broken(failure=failure))
    with pytest.raises(BenchError, match=said) as caught:
        probe(prepare(request))
    assert str(caught.value).startswith("defense 'broken")
    assert ("does not take" in str(caught.value)) == (failure == "shape")


def test_taps_of_a_network_that_returns_a_container_are_those_of_its_logits(dataset):
    network = of(lambda plain, _, x: {"logits": plain(x), "features": x})
    classifier = wrap_module(network, dataset=dataset)
    place = classifier.positions(dataset.shape)["logits"]
    x = dataset.images("test", torch.arange(2))
    logits, taps = classifier.features(x, [place.tap])
    assert torch.equal(taps[place.tap], logits)
    assert place.channels == tiny.CLASSES
