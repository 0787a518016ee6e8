"""Attacks inside training: registered attacks handed to recipes as plain callables on a module."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from torch import Tensor, nn

from benchmark.engine.attacking.attack import Attack
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.setting import Setting
from benchmark.engine.victims.victim import GradientMode, Victim
from benchmark.errors import BenchError, quoted
from benchmark.plugins import ATTACKS
from benchmark.recipe import TrainingAttack

_LONGEST = 500
"""Characters of an attack with its arguments."""


class ModuleVictim(Victim):
    """A module in the midst of its training, as an attack sees it; the module keeps its own mode.

    Args:
        module: From images `(b, c, h, w)` in [0, 1] to logits `(b, k)`.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    @property
    def stochastic(self) -> bool:
        """A module that takes no draws is taken for deterministic."""
        return False

    @property
    def classifiers(self) -> list[Classifier]:
        """There is none to be attacked by itself.

        Raises:
            BenchError: Always; an oblivious attack makes no sense here.
        """
        raise BenchError(
            "a network in training has no bare classifier behind a purifier; train against an attack "
            "on the whole, such as pgd"
        )

    def logits(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """Logits `(b, k)` of the module, of the dtype of `x`, differentiable in `x`."""
        del draws, mode
        logits: Tensor = self.module(x)
        return logits.to(x.dtype)  # autocast may have put them out in bfloat16

    def auxiliary_loss(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """Zero for each image, `(b,)`: no purifier declares itself inside."""
        del draws, mode
        return x.new_zeros(len(x))


def training_attack(text: str, setting: Setting) -> TrainingAttack:
    """A registered attack as a recipe calls it, inside the setting's threat unless another is given.

    Args:
        text: A name in the registry, or a name with arguments for its constructor, `pgd(steps=10)`.
        setting: Whose threat and classes hold.

    Returns:
        `(module, x, y, draws) -> x_adv`, detached; of several candidates an image, the first.

    Raises:
        BenchError: No attack has that name, or it does not take these arguments.
    """
    attack = made_attack(text)

    def perturb(
        module: nn.Module,
        x: Tensor,
        y: Tensor,
        draws: Draws,
        *,
        threat: Threat | None = None,
    ) -> Tensor:
        rows = max(1, len(x))
        target = Target(ModuleVictim(module), classes=setting.classes, batch_size=rows)
        if module.training:
            target.room.least = rows  # batch statistics are those of the whole batch
        return attack(target, x, y, threat=threat or setting.threat, draws=draws)[:, 0]

    return perturb


def training_attacks(names: Sequence[str], setting: Setting) -> dict[str, TrainingAttack]:
    """All the attacks that a recipe names, each under the text that named it."""
    return {name: training_attack(name, setting) for name in names}


def made_attack(text: str) -> Attack:
    """A registered attack with its arguments, out of a text such as `pgd(steps=10)`.

    Raises:
        BenchError: No attack has that name, or it does not take these arguments.
    """
    match = re.fullmatch(r"([^()]+)(?:\((.*)\))?", text.strip())
    if match is None or len(text) > _LONGEST:
        raise BenchError(
            f"training attack {quoted(text)} is not understood; write pgd or pgd(steps=10)"
        )
    name, inside = match.group(1), match.group(2) or ""
    attack_class = ATTACKS.get(name)
    try:
        call = ast.parse(f"f({inside})", mode="eval").body
        keywords = call.keywords if isinstance(call, ast.Call) and not call.args else []
        arguments = {str(k.arg): ast.literal_eval(k.value) for k in keywords}
        if inside.strip() and not arguments:
            raise ValueError("arguments must be given by name")
        return attack_class(**arguments)
    except (SyntaxError, TypeError, ValueError) as error:
        raise BenchError(
            f"training attack {text!r} cannot be made: {error}; write it as pgd(steps=10)"
        ) from error
