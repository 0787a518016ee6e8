"""Manifests of weights: `weights/manifest.yaml` beside a plugin's module says what there is and whence."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from benchmark.errors import BenchError
from benchmark.files.downloads import Accept, fetch
from benchmark.files.known_hashes import file_sha256
from benchmark.files.locations import cache_place, local_file, refuse_other_form
from benchmark.files.parsing import read_model
from benchmark.files.schema import Strict

NAME: Final = "manifest.yaml"
SCHEMA: Final = 1

Kind = Literal["defense", "classifier"]


def _plain(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._\[\]+=@()-]{0,239}", name):
        raise ValueError("a file is a plain name, without folders")
    return name


def _fetchable(url: str) -> str:
    try:
        refuse_other_form(url)
    except BenchError as error:
        raise ValueError(str(error)) from error
    if "#" in url:
        raise ValueError("the hash has a field of its own, sha256")
    return url


class WeightsEntry(Strict):
    """One weights file."""

    kind: Kind
    label: Annotated[str, Field(min_length=1)]
    """The defense's label, preset included, such as `atop[digits]`; a classifier's name."""
    classifier: str = ""
    """The classifier that a defense was trained for; empty for a classifier."""
    dataset: Annotated[str, Field(min_length=1)]
    file: Annotated[str, AfterValidator(_plain)]
    """Its name beside the manifest where it ships, and in the cache where it is downloaded."""
    urls: list[Annotated[str, AfterValidator(_fetchable)]] = Field(default_factory=list)
    """`https://...` or `hf:org/name@revision/file`, the first tried first; none for what ships."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(gt=0)]
    licence: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    """Who made it."""
    command: str = ""
    """The command that made it; empty where it was not `bench`."""
    seed: int | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> WeightsEntry:
        if (self.kind == "defense") != bool(self.classifier):
            raise ValueError("a defense's weights name their classifier, and a classifier's none")
        if self.kind == "defense" and not self.file.endswith(".safetensors"):
            raise ValueError("a defense's weights are a .safetensors file")
        return self

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is looked up by."""
        return self.kind, self.label, self.classifier, self.dataset


class Manifest(Strict):
    """All weights files of one plugin package."""

    schema_version: Literal[1]
    weights: list[WeightsEntry]

    @model_validator(mode="after")
    def _names_one_file_each(self) -> Manifest:
        for name in ("key", "file"):
            found = [getattr(entry, name) for entry in self.weights]
            twice = [value for value in found if found.count(value) > 1]
            if twice:
                raise ValueError(f"{twice[0]!r} occurs more than once")
        return self

    def find(
        self, kind: Kind, *, label: str, dataset: str, classifier: str = ""
    ) -> WeightsEntry | None:
        """The entry for these names; None where there is none."""
        key = (kind, label, classifier, dataset)
        return next((entry for entry in self.weights if entry.key == key), None)


def weights_beside(plugin: type) -> Path | None:
    """The folder `weights` beside the file of a class's module; None where the module has no file."""
    source = getattr(sys.modules.get(plugin.__module__), "__file__", None)
    return Path(source).parent / "weights" if source else None


def read_manifest(folder: Path | None) -> Manifest:
    """The manifest of a folder; an empty one where there is none.

    Raises:
        BenchError: It is no YAML, or not of the form of a manifest.
    """
    if folder is None or not (folder / NAME).is_file():
        return Manifest(schema_version=SCHEMA, weights=[])
    return _manifest((folder / NAME).read_bytes(), str(folder / NAME))


@lru_cache(maxsize=64)
def _manifest(content: bytes, where: str) -> Manifest:
    """Read once for each content: a run asks for the weights of each classifier again and again."""
    return read_model(content, Manifest, where=where)


def plugin_weights(
    plugin: type,
    kind: Kind,
    *,
    label: str,
    dataset: str,
    classifier: str = "",
    accept: Accept | None = None,
) -> Path | None:
    """The file that the manifest beside a plugin lists for these names; None where it lists none.

    It is beside the manifest, else in the cache, else downloaded into it.

    Args:
        plugin: The defense's or classifier's class.
        kind: Which of them it is.
        label: The defense's label, or the classifier's name.
        dataset: The dataset's name.
        classifier: Of a defense, the classifier's name.
        accept: Looks at a downloaded file, whose sha256 is right, before it enters the cache.

    Returns:
        The file, whose sha256 is that of its entry; None where it neither ships nor can be downloaded.

    Raises:
        BenchError: The manifest is damaged, or the file cannot be had or is another one.
    """
    folder = weights_beside(plugin)
    entry = read_manifest(folder).find(kind, label=label, dataset=dataset, classifier=classifier)
    if folder is None or entry is None:
        return None
    shipped = folder / entry.file
    if shipped.is_file():
        return _refused_other(shipped, entry, f"install again, or mend {folder / NAME}")
    failures = []
    for url in entry.urls:
        try:
            path = _downloaded(url, entry, accept)
        except BenchError as error:
            failures.append(error)
            continue
        return _refused_other(path, entry, "delete it, and it will be downloaded again")
    if failures:
        raise failures[0]
    return None


def _downloaded(url: str, entry: WeightsEntry, accept: Accept | None) -> Path:
    what = f"the weights {entry.label} for {entry.classifier or entry.dataset}"
    cached = cache_place(entry.sha256, entry.file)
    if cached.is_file():
        return cached
    if url.startswith("hf:"):
        return local_file(url, what=what)
    fetch(url, cached, what=what, sha256=entry.sha256, accept=accept)
    return cached


def _refused_other(path: Path, entry: WeightsEntry, mend: str) -> Path:
    """The file, whose sha256 is that of its entry."""
    found = file_sha256(path)
    if found != entry.sha256:
        raise BenchError(
            f"{str(path)!r} is not the file that its manifest lists: its sha256 is {found}, and should be "
            f"{entry.sha256}; {mend}"
        )
    return path
