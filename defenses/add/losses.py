"""The losses of ADD-Defense's Eqs. 2 to 7, each on tensors alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def prior_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, I)), summed over the coordinates, `(b,)` of `(b, latent)` (L_g)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


def sampled(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Latents `(b, latent)` drawn from the encoder's distribution at standard normal noise."""
    return mean + (log_variance / 2).exp() * noise


def mean_discrepancy(z: Tensor, domains: int, bandwidths: Sequence[float]) -> Tensor:
    """The biased squared MMD between all pairs of domains, over the number of pairs (L_mmd).

    `1 / D^2 sum_ij |mean of domain i - mean of domain j|^2` in the space of the kernel
    `sum_s exp(-d / (2 s^2))`, d being the mean over the coordinates of their squared differences: summed over
    2,048 coordinates it would leave a kernel of 0.

    Args:
        z: Latents `(domains * b, latent)`, one domain after the other.
        domains: D.
        bandwidths: The kernel's s.
    """
    z = z.float() if z.dtype is not torch.float64 else z
    length = z.square().sum(1)
    with torch.autocast(z.device.type, enabled=False):
        square = length[:, None] + length[None] - 2 * (z @ z.T)  # (D b, D b)
    distance = square.clamp_min(0) / z.shape[1]
    kernel = torch.stack([(-distance / (2 * s * s)).exp() for s in bandwidths]).sum(0)
    b = len(z) // domains
    means = kernel.view(domains, b, domains, b).mean((1, 3))  # (D, D)
    own = means.diagonal()
    return (own[:, None] + own[None] - 2 * means).mean()


def domain_loss(scores: Tensor, domains: int, *, is_bce: bool) -> Tensor:
    """How badly D_P tells the domains apart: its cross-entropy with the true ones (L_p, for D_P).

    Args:
        scores: Logits `(domains * b, domains)`, one domain after the other.
        domains: D.
        is_bce: Whether each logit is a yes or no of its own (ARN), not one of a softmax.
    """
    true = torch.arange(domains, device=scores.device).repeat_interleave(len(scores) // domains)
    if is_bce:
        one_hot = functional.one_hot(true, domains).to(scores.dtype)
        return functional.binary_cross_entropy_with_logits(scores, one_hot)
    return functional.cross_entropy(scores, true)


def confusion_loss(scores: Tensor, *, is_bce: bool) -> Tensor:
    """How far D_P is from calling every domain equally likely: the cross-entropy with 1/D (L_p, for E)."""
    even = torch.full_like(scores, 1 / scores.shape[1])
    if is_bce:
        return functional.binary_cross_entropy_with_logits(scores, even)
    return functional.cross_entropy(scores, even)


def real_or_fake(real: Tensor, fake: Tensor) -> Tensor:
    """D_I's binary cross-entropy over logits of original images and of generated ones (L_adv, for D_I)."""
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def passing_loss(fake: Tensor) -> Tensor:
    """The generator's, not saturating: `-log D_I(G(z))` over logits (L_adv, for G)."""
    return functional.softplus(-fake).mean()


def restoration_loss(images: Tensor, originals: Tensor, domains: int) -> Tensor:
    """Mean squared errors to the originals, summed over the domains (L_mse).

    Args:
        images: Generated ones `(domains * b, c, h, w)`, one domain after the other.
        originals: `(b, c, h, w)`.
        domains: D.
    """
    parts = images.chunk(domains)
    return torch.stack([functional.mse_loss(part, originals) for part in parts]).sum()


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """How far the gradient of a critic is from length 1 between real and fake images, squared.

    (Gulrajani et al., "Improved training of Wasserstein GANs", NeurIPS 2017, Eq. 3.)

    Args:
        critic: From images `(b, c, h, w)` to logits `(b, 1)`.
        real: Images.
        fake: Images.
        share: Of the real one in each mixture, `(b, 1, 1, 1)`.
    """
    mixed = (share * real + (1 - share) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    length: Tensor = gradient.flatten(1).norm(dim=1)
    return (length - 1).square().mean()
