"""How AdvAE is trained: adversarial images of the whole pipeline, and the classifier's loss on them (Eq. 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.recipe import Length, Recipe, TrainingAttack, descend
from defenses.advae.losses import cross_entropy
from defenses.advae.network import Purifier
from defenses.advae.presets import Preset, preset_for, residual_for
from defenses.advae.schedule import Plateau
from defenses.presets import AUTO, with_arguments

LABELS = ("true", "predicted")


class Pipeline(nn.Module):
    """`F(AE(x))`: what is attacked in training, with gradients through both."""

    def __init__(self, purifier: Purifier, classifier: Classifier) -> None:
        super().__init__()
        self.purifier = purifier
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(b, k)` of images `(b, c, h, w)` in [0, 1]."""
        logits: Tensor = self.classifier(self.purifier(x).sigmoid())
        return logits


@dataclass(kw_only=True, eq=False, repr=False)
class AdvAERecipe(Recipe):
    """Adversarial training of the auto-encoder before frozen classifiers (Li et al. 2019, Eqs. 7 and 8).

    For each classifier F it minimises `CE(F(AE(x')), y) + reconstruction * D(AE(x), x)`, summed over them, with
    x' of highest cross-entropy for the whole pipeline `F(AE(.))`, found by PGD in eval mode and taken as a
    constant. D is the mean sigmoid cross-entropy of a pixel. The loss on held-out images, attacked as well,
    halves the learning rate, stops training, and chooses the weights that are kept.

    Args:
        preset: Size of the network; `auto` takes the one that is made for the images' shape.
        residual: As in the defense; None is the preset's.
        companions: Further classifiers for Eq. 8: the purifier is trained before all of them at once; None for
            the dataset's surrogates.
        reconstruction: Lambda of Eq. 7; None is the preset's.
        labels: What the attack is given: `true` labels, or what the pipeline predicts on the clean image, as
            the code of the paper's time does (`predicted`). The loss always has the true ones.
        attack: The training attack, as the attack registry reads it; None is the preset's.
        epochs: At the most; None is the preset's.
        batch_size: Images in a step; None is the preset's.
        learning_rate: Of Adam, in the beginning; None is the preset's.
        least_rate: Below which the learning rate does not fall.
        patience: Epochs without progress before it is halved.
        endurance: Epochs without progress before training stops.
        validation_share: Share of the training images that is held out; 0 keeps the last weights.
        warmup: Epochs over which the budget rises from nothing to the threat's; None is the preset's.
    """

    steps = None

    preset: str = AUTO
    residual: str | None = None
    companions: Sequence[str] | None = ()
    reconstruction: float | None = None
    labels: str = "true"
    attack: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    least_rate: float = 5e-5
    patience: int = 4
    endurance: int = 10
    validation_share: float = 0.1
    warmup: int | None = None

    def length(self, setting: Setting, images: int) -> Length:
        """So many epochs of so many images."""
        preset = self._preset(setting)
        self._epoch = max(1, images // max(1, preset.batch_size))
        return Length(preset.epochs * self._epoch, preset.batch_size)

    def attacks_for(self, setting: Setting) -> Sequence[str]:
        """The one training attack."""
        return (self._preset(setting).attack,)

    def build(self, setting: Setting, attacks: Mapping[str, TrainingAttack]) -> None:
        """Makes the purifier, its optimiser and its schedule."""
        self._refuse_arguments()
        preset = self._preset(setting)
        self._weight = preset.reconstruction
        self._warm_steps = preset.warmup * self._epoch
        self._threat = setting.threat
        (self._perturb,) = attacks.values()
        purifier = Purifier(setting.shape[0], preset, residual_for(self.residual, preset))
        self._purifier = purifier.to(setting.device, setting.dtype)
        classifiers = (setting.defended(), *setting.companions.values())
        self._pipelines = [Pipeline(self._purifier, classifier) for classifier in classifiers]
        self._adam = Adam(self._purifier.parameters(), lr=preset.learning_rate, eps=1e-7)
        self._plateau = Plateau(
            self._purifier,
            rate=preset.learning_rate,
            least=self.least_rate,
            patience=self.patience,
            endurance=self.endurance,
        )

    def modules(self) -> dict[str, nn.Module]:
        """The purifier, and the schedule with the best weights so far."""
        return {"purifier": self._purifier, "plateau": self._plateau}

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam, with Keras's epsilon."""
        return {"adam": self._adam}

    def step(self, x: Tensor, y: Tensor, *, step: int, draws: Draws) -> dict[str, float]:
        """One update on the adversarial images of each classifier."""
        threat = self._budget(step)
        shown = [self._attacked(i, x, y, threat, draws) for i in range(len(self._pipelines))]
        self._purifier.train()
        parts = self._losses(x, y, shown)
        descend(self._adam, self._total(parts), rate=float(self._plateau.rate))
        return {name: float(part.detach()) for name, part in parts.items()}

    def validate(self, x: Tensor, y: Tensor, *, draws: Draws) -> float:
        """The loss of training on held-out images, attacked within the whole budget, in eval mode."""
        shown = [self._attacked(i, x, y, self._threat, draws) for i in range(len(self._pipelines))]
        with torch.no_grad():
            return float(self._total(self._losses(x, y, shown)))

    def end_epoch(self, loss: float) -> None:
        """Judges the epoch."""
        self._plateau.judge(loss, self._purifier)

    def is_done(self) -> bool:
        """Whether the loss on held-out images has stopped falling."""
        return self._plateau.is_over

    def product(self) -> dict[str, Tensor]:
        """The best weights, or the last where nothing was held out."""
        kept = self._plateau.best if self._plateau.was_judged else self._purifier
        return dict(kept.state_dict())

    def _attacked(self, i: int, x: Tensor, y: Tensor, threat: Threat, draws: Draws) -> Tensor:
        """Images x' for one classifier; the purifier is in eval mode, as it will be when it is attacked."""
        pipeline = self._pipelines[i]
        self._purifier.eval()
        if self.labels == "predicted":
            with torch.no_grad():
                y = pipeline(x).argmax(1)
        return self._perturb(pipeline, x, y, draws.at("attack", i), threat=threat)

    def _losses(self, x: Tensor, y: Tensor, shown: Sequence[Tensor]) -> dict[str, Tensor]:
        """The terms of Eqs. 7 and 8 by name, without their weights."""
        pairs = zip(self._pipelines, shown, strict=True)
        terms = [functional.cross_entropy(pipeline(x_adv), y) for pipeline, x_adv in pairs]
        parts = {"ce": torch.stack(terms).sum()}
        if self._weight:
            parts["reconstruction"] = cross_entropy(self._purifier(x), x).mean()
        return parts

    def _total(self, parts: Mapping[str, Tensor]) -> Tensor:
        total = parts["ce"]
        if self._weight:
            total = total + self._weight * parts["reconstruction"]
        return total

    def _budget(self, step: int) -> Threat:
        """The threat, or a smaller one while it is warming up."""
        if step + 1 >= self._warm_steps:
            return self._threat
        return replace(self._threat, eps=self._threat.eps * (step + 1) / self._warm_steps)

    def _preset(self, setting: Setting) -> Preset:
        return with_arguments(
            preset_for(self.preset, setting.shape),
            self,
            *("reconstruction", "attack", "epochs", "batch_size", "learning_rate", "warmup"),
        )

    def _refuse_arguments(self) -> None:
        if self.labels not in LABELS:
            raise BenchError(f"advae's labels are {' or '.join(LABELS)}; got {self.labels!r}")
        wrong = {
            "learning_rate": self.learning_rate is not None and self.learning_rate <= 0,
            "reconstruction": self.reconstruction is not None and self.reconstruction < 0,
            "patience": self.patience < 1,
            "endurance": self.endurance < 1,
            "warmup": self.warmup is not None and self.warmup < 0,
        }
        for name, is_wrong in wrong.items():
            if is_wrong:
                raise BenchError(
                    f"advae's {name} is out of range: {getattr(self, name)!r}; a learning rate, a patience "
                    f"and an endurance are above 0, a reconstruction and a warmup at least 0"
                )
