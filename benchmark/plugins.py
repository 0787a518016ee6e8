"""The shelves: every plugin by name, listed without importing torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.registry import Registry

if TYPE_CHECKING:
    from benchmark.engine.attacking.attack import Attack
    from benchmark.engine.dataset import Dataset
    from benchmark.engine.victims.defense import Defense
    from benchmark.recipe import Recipe

DEFENSES: Registry[Defense] = Registry(
    "defense", base="benchmark.engine.victims.defense:Defense", group="purifybench.defenses"
)
for _name, _path, _note in (
    ("none", "none:Identity", "no purifier: the undefended classifier"),
    ("gaussian", "gaussian:Gaussian", "Gaussian noise on the input (Cohen et al. 2019)"),
    ("jpeg", "jpeg:Jpeg", "JPEG compression; not differentiable (Guo et al. 2018)"),
    (
        "aid",
        "aid.aid:AID",
        "AID-Purifier: a discriminator's signed ascent on the input (Hwang et al. 2021)",
    ),
    ("atop", "atop.atop:AToP", "adversarial training on purification (Lin et al. 2024)"),
    ("atop-mae", "atop.mae:AToPMAE", "AToP on a denoising masked auto-encoder (Lin et al. 2024)"),
    (
        "trust-no-pixel",
        "atop.trust_no_pixel:TrustNoPixel",
        "inpainting of every pixel from the others (Ughini et al. 2022)",
    ),
    ("hgd", "hgd.hgd:HGD", "high-level representation guided denoiser (Liao et al. 2018)"),
    ("advae", "advae.advae:AdvAE", "adversarially trained auto-encoder (Li et al. 2019)"),
    ("add", "add.add:ADD", "ADD-Defense: perturbation-invariant representation (Zhou et al. 2021)"),
    ("add-s", "add.add:ADDS", "ADD-Defense-S: trained on spatial attacks (Zhou et al. 2021)"),
):
    DEFENSES.add(_name, f"defenses.{_path}", _note)

ATTACKS: Registry[Attack] = Registry(
    "attack", base="benchmark.engine.attacking.attack:Attack", group="purifybench.attacks"
)
for _name, _path, _note in (
    ("clean", "Clean", "the clean image itself"),
    ("noise", "RandomNoise", "random signs, or a random direction, of the full budget"),
    ("fgsm", "FGSM", "one signed step (Goodfellow et al. 2015)"),
    ("pgd", "PGD", "projected gradient descent, EOT in one batch (Madry et al. 2018)"),
    ("apgd", "APGD", "Auto-PGD: CE, DLR, targeted DLR (Croce and Hein 2020)"),
    (
        "deepfool",
        "DeepFool",
        "steps to the nearest linearised boundary (Moosavi-Dezfooli et al. 2016)",
    ),
    ("cw", "CW", "smallest l2 change, in tanh space (Carlini and Wagner 2017)"),
    ("auxiliary", "AuxiliaryAware", "auxiliary-aware PGD, A1 and A2 (Hwang et al. 2021)"),
    ("transfer", "Transfer", "images that other jobs made on other classifiers"),
    (
        "autoattack",
        "AutoAttack",
        "pyautoattack, unchanged, in its own process (Croce and Hein 2020)",
    ),
    (
        "fast-autoattack",
        "FastAutoAttack",
        "what AutoAttack standard tries, faster; fixed victims only; not AutoAttack",
    ),
    ("stadv", "StAdv", "spatially transformed images: a bounded flow field (Xiao et al. 2018)"),
    (
        "rotation-translation",
        "RotationTranslation",
        "rotations and shifts: grid search and worst-of-k (Engstrom et al. 2019)",
    ),
    (
        "wasserstein",
        "Wasserstein",
        "brightness carried to near pixels, Frank-Wolfe (Wu et al. 2020)",
    ),
    ("rp2", "RP2", "one painted sticker (Eykholt et al. 2018)"),
    (
        "local-search",
        "LocalSearch",
        "a few pixels, by outputs alone (Narodytska and Kasiviswanathan 2017)",
    ),
    ("ifgsm", "IFGSM", "k signed steps of eps / k, no random start (Kurakin et al. 2017)"),
    ("mim", "MIM", "signed steps along a momentum of gradients (Dong et al. 2018)"),
    ("ddn", "DDN", "smallest l2 change, direction and length apart (Rony et al. 2019)"),
    (
        "cw-linf",
        "CWLinf",
        "smallest linf change, under a shrinking bound (Carlini and Wagner 2017)",
    ),
    (
        "nes",
        "NES",
        "a gradient out of answers alone, guided by any that there is (Ilyas et al. 2018)",
    ),
    ("square", "Square", "random search by squares, for any victim (Andriushchenko et al. 2020)"),
    ("hopskipjump", "HopSkipJump", "along the boundary by labels alone (Chen et al. 2020)"),
    (
        "boundary",
        "Boundary",
        "a random walk along the boundary by labels alone (Brendel et al. 2018)",
    ),
    (
        "substitute",
        "Substitute",
        "PGD on a network taught by the victim's labels (Papernot et al. 2017)",
    ),
    ("random-points", "RandomPoints", "many random points of the budget"),
    (
        "frozen-draw",
        "FrozenDraw",
        "PGD on one fixed draw an image: a diagnosis of what randomness alone does",
    ),
):
    ATTACKS.add(_name, f"attacks.{_name.replace('-', '_')}:{_path}", _note)

RECIPES: Registry[Recipe] = Registry(
    "recipe", base="benchmark.recipe:Recipe", group="purifybench.recipes"
)

DATASETS: Registry[Dataset] = Registry(
    "dataset",
    base="benchmark.engine.dataset:Dataset",
    group="purifybench.datasets",
    files={".npz": "npz:{}"},
)
for _name, _path, _note in (
    ("digits", "digits:Digits", "8x8 grey, 10 classes, ships with this package"),
    ("mnist", "vision:MNIST", "28x28 grey, 10 classes"),
    ("fashion_mnist", "vision:FashionMNIST", "28x28 grey, 10 classes"),
    ("cifar10", "vision:CIFAR10", "32x32 colour, 10 classes"),
    ("cifar100", "vision:CIFAR100", "32x32 colour, 100 classes"),
    ("svhn", "vision:SVHN", "32x32 colour, 10 classes: house numbers"),
    ("imagenette", "imagenette:Imagenette", "224x224 colour, 10 classes of ImageNet"),
    ("tiny_imagenet", "tiny_imagenet:TinyImageNet", "64x64 colour, 200 classes of ImageNet"),
    (
        "imagenet",
        "imagenet:ImageNet",
        "224x224 colour (or as the model wants it), 1,000 classes; not downloaded",
    ),
):
    DATASETS.add(_name, f"benchmark.datasets.{_path}", _note)
DEFAULT_DATASET = "digits"
