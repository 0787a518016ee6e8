"""Images at hand: an entry's indices and labels against the dataset's own, where that is here."""

from __future__ import annotations

from collections.abc import Iterator

from benchmark.engine.dataset import indices_of, labels_of
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.loading import load_dataset
from benchmark.files.downloads import offline
from benchmark.files.user_folders import data_folder
from benchmark.plugins import DATASETS
from benchmark.records.entry import Entry


def problems_of_images(entry: Entry) -> Iterator[str]:
    """Which images they are follows from their number, order and classes; nothing where files are missing.

    Only datasets of this project are looked at, and nothing is downloaded.
    """
    about = entry.dataset
    if about.name not in DATASETS.own() or about.split != "test":
        if about.split != "test":
            yield f"dataset.split is {about.split!r}; a run evaluates the test split"
        return
    try:
        with offline():
            dataset = load_dataset(about.name, folder=data_folder(None))
            order = indices_of(dataset, "test", about.order)
            labels = labels_of(dataset, "test").tolist()
    except BenchError:
        return
    if about.classes != dataset.classes and not dataset.has_open_classes:
        yield f"dataset.classes is {about.classes}; {about.name} has {dataset.classes}"
    if tuple(dataset.shape) != entry.threat.input_shape and not about.preparation:
        yield f"threat.input_shape is {entry.threat.input_shape}; images of {about.name} are {dataset.shape}"
    wanted = [i for i in order if not about.only_classes or labels[i] in about.only_classes]
    images = entry.per_image
    if images.indices != tuple(wanted[: about.n]):
        yield f"per_image.indices are not the first {about.n} images of {about.name}"
    elif images.labels != tuple(labels[i] for i in images.indices):
        yield f"per_image.labels are not those of {about.name}"
