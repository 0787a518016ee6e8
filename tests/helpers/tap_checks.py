"""What the tests of taps share: what must hold of the positions of any classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.taps import POSITIONS, Position


def hooks(classifier: Classifier) -> int:
    """How many hooks are registered."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in classifier.modules())


def classifier_of(network: nn.Module, classes: int = 10) -> Classifier:
    """The network in eval mode as a classifier."""
    return Classifier(network.eval(), name="n", classes=classes, sha256="")


def disturbed(
    classifier: Classifier, x: Tensor, places: dict[str, Position], at: str
) -> dict[str, Tensor]:
    """All taps while the output of one position's module is shifted."""
    module = dict(classifier.network.named_modules())[places[at].tap]
    handle = module.register_forward_hook(lambda _module, _inputs, output: output + 0.5)
    try:
        with torch.no_grad():
            return classifier.features(x, [place.tap for place in places.values()])[1]
    finally:
        handle.remove()


def check_taps(classifier: Classifier, x: Tensor) -> dict[str, Position]:
    """What must hold of the positions of any classifier; gives the positions."""
    _, c, h, w = x.shape
    places = classifier.positions((c, h, w))
    assert tuple(places) == POSITIONS
    x = x.clone().requires_grad_()
    logits, taps = classifier.features(x, [place.tap for place in places.values()])
    assert torch.equal(logits, classifier(x))
    assert torch.equal(taps[places["logits"].tap], logits)
    for name, place in places.items():
        tap = taps[place.tap]
        assert tap.shape == (len(x), *place.shape), name
        assert place.pooled(tap).shape == (len(x), place.channels), name
        if name in ("stem", "2/3", "pooled"):
            (g,) = torch.autograd.grad(tap.square().mean(), x, retain_graph=True)
            assert g.abs().max() > 0, name
    for at in ("stem", "2/3") if x.shape[-1] <= 32 else ("2/3",):
        other = disturbed(classifier, x, places, at)
        names = [name for name in POSITIONS if places[name].tap != places[at].tap]
        for name in names:
            path = places[name].tap
            is_later = POSITIONS.index(name) > POSITIONS.index(at)
            assert torch.equal(other[path], taps[path]) is not is_later, (at, name)
    assert hooks(classifier) == 0
    return places
