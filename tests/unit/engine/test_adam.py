"""Adam of attacks against torch's own, and images that leave while others stay."""

import torch

from benchmark.engine.attacking.adam import Adam

GRADIENTS = torch.randn(
    6, 3, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5)
)
ALL, SOME = torch.arange(3), torch.tensor([0, 2])


def test_steps_are_those_of_torchs_adam():
    ours = torch.full((3, 1, 2, 2), 0.5, dtype=torch.float64)
    theirs = ours.clone().requires_grad_()
    adam, reference = Adam(ours), torch.optim.Adam([theirs], lr=0.03, maximize=True)
    for gradient in GRADIENTS:
        mean, root = adam.moments(ALL, gradient)
        ours = ours + 0.03 * mean / root
        theirs.grad = gradient.clone()
        reference.step()
    torch.testing.assert_close(ours, theirs.detach())


def test_images_that_stay_go_on_as_if_none_had_left():
    alone, together = Adam(GRADIENTS[0]), Adam(GRADIENTS[0])
    for gradient in GRADIENTS[:3]:
        alone.moments(ALL, gradient)
        together.moments(ALL, gradient)
    for gradient in GRADIENTS[3:]:
        expected = together.moments(ALL, gradient)
        for ours, theirs in zip(alone.moments(SOME, gradient[SOME]), expected, strict=True):
            assert torch.equal(ours, theirs[SOME])
