"""Static adversarial sets: made once for every training image, kept by what decides them, and reused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from benchmark.classifiers.ensemble import MeanOf
from benchmark.engine.dataset import Dataset, images_of, labels_of, pixels_sha256
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.plugin_ids import harness_sha256, plugin_of
from benchmark.files.atomic import write_whole
from benchmark.files.parsing import DAMAGED
from benchmark.files.user_folders import static_folder
from benchmark.recipe import Crafting, Recipe
from benchmark.records.job import canonical
from benchmark.training.attacks import made_attack, training_attack

CHUNK = 512
"""Images in one file."""
_PROBED = 256
"""Images whose pixels enter the key."""

Report = Callable[[int, int, None], None]


@dataclass(frozen=True, slots=True)
class StaticSet:
    """The images of some craftings on disk: a folder for each, whose files hold `CHUNK` images each.

    A file's name ends in the sha256 of its content.

    Args:
        folders: By the crafting's name.
        place: Of each training image among those that were attacked, `(n,)`; -1 where it was not.
    """

    folders: dict[str, Path]
    place: Tensor

    def images(self, name: str, indices: Tensor) -> Tensor:
        """Images `(b, c, h, w)` float32 in [0, 1], for indices `(b,)` into the training split.

        Raises:
            BenchError: There is no such crafting, an image was not attacked, or a file has gone or changed.
        """
        if name not in self.folders:
            raise BenchError(
                f"no static set is called {name!r}; there is {', '.join(self.folders)}"
            )
        places = self.place[indices.cpu()].tolist()
        if min(places, default=0) < 0:
            raise BenchError(f"the static set {name!r} does not hold all of these training images")
        found = torch.stack([_row(self.folders[name], at) for at in places])
        return found.float() / 255 if found.dtype == torch.uint8 else found

    @property
    def keys(self) -> dict[str, str]:
        """What names each crafting's folder, for a training record."""
        return {name: folder.name for name, folder in self.folders.items()}


def craft(
    recipe: Recipe,
    setting: Setting,
    dataset: Dataset,
    *,
    seed: int,
    chosen: Tensor | None = None,
    progress: Report | None = None,
) -> StaticSet | None:
    """The static sets of a recipe, of which only what is missing is made; None where it names none.

    Interrupted, it goes on with the next file.

    Args:
        recipe: Whose craftings they are.
        setting: With the defended classifier and the companions.
        dataset: Where images and labels come from.
        seed: Of every draw.
        chosen: Indices `(m,)` of the training images that are used; None for those that the recipe selects.
        progress: `(files done, files in all, None)`, called after every file that is made.

    Raises:
        BenchError: A crafting names a classifier or an attack that there is not, or a file cannot be written.
    """
    craftings = recipe.craftings(setting)
    if not craftings:
        return None
    labels = labels_of(dataset, "train")
    chosen = recipe.select(labels) if chosen is None else chosen
    place = torch.full((len(labels),), -1, dtype=torch.int64)
    place[chosen] = torch.arange(len(chosen))
    makers = [_Maker(crafting, setting, dataset, chosen, seed) for crafting in craftings]
    tasks = [(maker, i) for maker in makers for i in maker.missing()]
    for done, (maker, i) in enumerate(tasks):
        maker.make(i)
        if progress is not None:
            progress(done + 1, len(tasks), None)
    return StaticSet({maker.crafting.name: maker.folder for maker in makers}, place)


@dataclass
class _Maker:
    """One crafting at work."""

    crafting: Crafting
    setting: Setting
    dataset: Dataset
    chosen: Tensor
    seed: int

    def __post_init__(self) -> None:
        crafting, setting = self.crafting, self.setting
        if not crafting.threats:
            raise BenchError(
                f"static set {crafting.name!r} has no budget; give at least one threat"
            )
        known = {setting.defended().name: setting.defended(), **setting.companions}
        names = crafting.against or (setting.defended().name,)
        missing = [name for name in names if name not in known]
        if missing:
            raise BenchError(
                f"static set {crafting.name!r} is made on {', '.join(missing)}, which is none of "
                f"{', '.join(known)}; name it among the recipe's companions"
            )
        self.classifiers = [known[name] for name in names]
        self.folder = static_folder() / self._key()

    def missing(self) -> list[int]:
        """The files that are not there yet."""
        count = -(-len(self.chosen) // CHUNK)
        return [i for i in range(count) if _file(self.folder, i) is None]

    def make(self, i: int) -> None:
        """Makes and writes one file."""
        indices = self.chosen[i * CHUNK : (i + 1) * CHUNK]
        found = torch.cat([self._attacked(part) for part in torch.split(indices, self._rows())])
        if self.crafting.is_8bit:
            found = (255 * found).round().to(torch.uint8)
        content = save({"images": found.contiguous()})
        name = f"{i:06d}-{hashlib.sha256(content).hexdigest()}.safetensors"
        write_whole(self.folder / name, content)

    def _attacked(self, indices: Tensor) -> Tensor:
        """Adversarial images `(b, c, h, w)` on the CPU."""
        setting, crafting = self.setting, self.crafting
        x = images_of(self.dataset, "train", indices).to(setting.device, setting.dtype)
        module = MeanOf(self.classifiers)
        y = labels_of(self.dataset, "train")[indices].to(setting.device)
        if crafting.labels == "predicted":
            with torch.no_grad():
                y = module(x).argmax(1)
        draws = Draws.of(self.seed, indices.to(setting.device), "static", crafting.name)
        attack = training_attack(crafting.attack, setting)
        which = draws.at("threat").integers(len(crafting.threats))  # (b,)
        x_adv = x.clone()
        for t, threat in enumerate(crafting.threats):
            at = (which == t).nonzero().flatten()
            if len(at):
                x_adv[at] = attack(module, x[at], y[at], draws.take(at), threat=threat)
        return x_adv.cpu()

    def _rows(self) -> int:
        """Images in one batch: what a classifier for large images has room for."""
        pixels = self.setting.shape[1] * self.setting.shape[2]
        return CHUNK if pixels <= 4096 else 64

    def _key(self) -> str:
        """sha256 of all that decides the images, hex."""
        setting, dataset = self.setting, self.dataset
        probe = self.chosen[:_PROBED]
        labels = labels_of(dataset, "train")
        attack = made_attack(self.crafting.attack)
        identity = {
            "crafting": {
                **asdict(self.crafting),
                "threats": [str(t) for t in self.crafting.threats],
            },
            "attack": asdict(plugin_of(attack, label=attack.name)),
            "engine": harness_sha256(),
            "classifiers": [[c.name, c.sha256] for c in self.classifiers],
            "dataset": [dataset.name, dataset.preparation, list(setting.shape)],
            "pixels": pixels_sha256(images_of(dataset, "train", probe), labels[probe].tolist()),
            "labels": hashlib.sha256(labels.numpy().tobytes()).hexdigest(),
            "chosen": hashlib.sha256(self.chosen.numpy().tobytes()).hexdigest(),
            "dtype": str(setting.dtype),
            "seed": self.seed,
        }
        return hashlib.sha256(canonical(identity).encode()).hexdigest()


def _files(folder: Path, i: int) -> Iterator[Path]:
    return folder.glob(f"{i:06d}-*.safetensors")


def _file(folder: Path, i: int) -> Path | None:
    """A file whose content is what its name says; one that is not is deleted."""
    for path in sorted(_files(folder, i)):
        if hashlib.sha256(path.read_bytes()).hexdigest() == path.stem.partition("-")[2]:
            return path
        path.unlink(missing_ok=True)
    return None


@lru_cache(maxsize=256)
def _opened(folder: Path, i: int) -> safe_open:
    path = next(_files(folder, i), None)
    mend = "start the training again, which makes it anew"
    if path is None:
        raise BenchError(f"file {i} of the static set {str(folder)!r} has gone; {mend}")
    try:
        return safe_open(path, framework="pt")
    except DAMAGED as error:
        raise BenchError(f"the static set's file {str(path)!r} is damaged; {mend}") from error


def _row(folder: Path, at: int) -> Tensor:
    """One image as it is stored, `(c, h, w)`, without reading the rest of its file."""
    images = _opened(folder, at // CHUNK).get_slice("images")  # type: ignore[no-untyped-call]
    found: Tensor = images[at % CHUNK]
    return found
