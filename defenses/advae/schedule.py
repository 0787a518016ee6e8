"""The learning rate that halves on plateaus, and the early stop that keeps the best weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn


class Plateau(nn.Module):
    """What validation losses have decided so far, in buffers, so that a checkpoint holds it.

    Both rules are Keras's callbacks, as AdvAE uses them. The learning rate is multiplied by `factor` after
    `patience` epochs in which the loss has not fallen by more than `margin` below its lowest; training stops
    after `endurance` epochs in which it has not fallen at all, and the weights of its lowest are kept.

    Args:
        network: Whose weights are kept.
        rate: The learning rate in the beginning.
        least: Below which it does not fall.
        patience: Epochs without progress before it is cut.
        endurance: Epochs without progress before training stops.
        factor: By which it is multiplied.
        margin: What counts as progress for the learning rate.
    """

    rate: Tensor
    lowest: Tensor
    lowest_for_rate: Tensor
    waited: Tensor
    waited_for_rate: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        rate: float,
        least: float,
        patience: int,
        endurance: int,
        factor: float = 0.5,
        margin: float = 1e-4,
    ) -> None:
        super().__init__()
        self.best = copy.deepcopy(network).requires_grad_(False)
        self.least, self.factor, self.margin = least, factor, margin
        self.patience, self.endurance = patience, endurance
        self.register_buffer("rate", torch.tensor(rate, dtype=torch.float64))
        self.register_buffer("lowest", torch.tensor(math.inf, dtype=torch.float64))
        self.register_buffer("lowest_for_rate", torch.tensor(math.inf, dtype=torch.float64))
        self.register_buffer("waited", torch.tensor(0))
        self.register_buffer("waited_for_rate", torch.tensor(0))

    def judge(self, loss: float, network: nn.Module) -> None:
        """Takes an epoch's validation loss, and the network that has it."""
        if loss < float(self.lowest):
            self.lowest.fill_(loss)
            self.waited.zero_()
            self.best.load_state_dict(network.state_dict())
        else:
            self.waited += 1
        if loss < float(self.lowest_for_rate) - self.margin:
            self.lowest_for_rate.fill_(loss)
            self.waited_for_rate.zero_()
            return
        self.waited_for_rate += 1
        if int(self.waited_for_rate) >= self.patience:
            self.rate.fill_(max(self.least, float(self.rate) * self.factor))
            self.waited_for_rate.zero_()

    @property
    def is_over(self) -> bool:
        """Whether training has stopped early."""
        return int(self.waited) >= self.endurance

    @property
    def was_judged(self) -> bool:
        """Whether there are best weights at all."""
        return math.isfinite(float(self.lowest))
