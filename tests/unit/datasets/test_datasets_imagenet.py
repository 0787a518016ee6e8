"""ImageNet: one index and one label an image in every layout, and RobustBench's list of 5,000."""

import logging
import os

import pytest
import torch

from benchmark.classifiers.zoo import robustbench_module
from benchmark.datasets.imagenet import ImageNet, wnid_labels
from benchmark.errors import BenchError
from benchmark.evaluation.execute.run import run
from benchmark.evaluation.prepare.loading import load_dataset
from tests.helpers.image_folders import (
    imagenet_wnids,
    put,
    put_devkit,
    put_imagenet,
    put_kaggle,
    robustbench_list,
)
from tests.helpers.tiny_task import request

LIST = robustbench_list()
FIRST = LIST[:6]


def test_labels_are_the_places_of_the_sorted_wordnet_ids():
    labels = wnid_labels()
    assert len(labels) == 1000
    assert [labels[wnid] for wnid in sorted(labels)] == list(range(1000))


@pytest.mark.parametrize("layout", ["folders", "kaggle", "flat+kaggle", "flat+devkit"])
def test_every_layout_gives_the_same_indices_labels_and_pixels(tmp_path, layout):
    reference, data = tmp_path / "reference", tmp_path / layout
    put_imagenet(reference, FIRST)
    if layout == "kaggle":
        put_kaggle(data, FIRST)
    else:
        put_imagenet(data, FIRST, is_flat=layout != "folders")
    if layout == "flat+devkit":
        put_devkit(data, FIRST)
    elif layout == "flat+kaggle":
        put_kaggle(data, FIRST)
    expected = load_dataset("imagenet", folder=reference)
    found = load_dataset("imagenet", folder=data)
    known = wnid_labels()
    labels = sorted(known[name.split("/")[0]] for name in FIRST)
    assert found.labels("test").tolist() == expected.labels("test").tolist() == labels
    every = torch.arange(len(FIRST))
    assert torch.equal(found.images("test", every), expected.images("test", every))
    assert torch.equal(found.listed(), expected.listed())
    assert (found.shape, found.classes, found.threat) == ((3, 224, 224), 1000, "linf:4/255")


@pytest.fixture(scope="module")
def robustbench():
    """RobustBench's own loader of ImageNet."""
    return robustbench_module("robustbench.loaders").CustomImageFolder


def test_the_first_n_are_robustbenchs_images_labels_and_pixels(tmp_path, robustbench):
    val = put_imagenet(tmp_path, FIRST)
    for wnid in imagenet_wnids():
        (val / wnid).mkdir(exist_ok=True)  # its loader wants all classes
    theirs = robustbench(
        str(val), robustbench_module("robustbench.data").PREPROCESSINGS["Res256Crop224"]
    )
    ours = load_dataset("imagenet", folder=tmp_path)
    indices = ours.listed("test")[: len(FIRST)]
    images = ours.images("test", indices)
    for i in range(len(FIRST)):
        image, label, path = theirs[i]
        assert path.endswith(FIRST[i])
        assert ours.labels("test")[indices[i]] == label
        assert torch.equal(images[i], image)


def test_the_whole_list_is_robustbenchs_with_its_labels(tmp_path, robustbench, caplog):
    val = put_imagenet(tmp_path, LIST[:1])
    for wnid in imagenet_wnids():
        (val / wnid).mkdir(
            exist_ok=True
        )  # its loader wants all classes, of which the list lacks some
    for name in LIST[1:]:
        os.link(val / LIST[0], val / name)
    theirs = robustbench(str(val)).samples
    ours = load_dataset("imagenet", folder=tmp_path)
    indices, listing = ours.listed("test"), ours.listing("test")
    assert [listing.paths[i] for i in indices.tolist()] == LIST
    assert ours.labels("test")[indices].tolist() == [label for _, label in theirs]
    assert len(theirs) == 5000
    assert not caplog.records


def test_robustbenchs_list_is_cut_where_an_image_is_missing_and_says_so(tmp_path, caplog):
    put_imagenet(tmp_path, [*FIRST[:2], *FIRST[3:]])
    dataset = ImageNet(folder=tmp_path)
    with caplog.at_level(logging.WARNING):
        assert len(dataset.listed("test")) == 2
    assert "cut after 2 images" in caplog.text
    assert FIRST[2] in caplog.text


def test_without_its_first_image_robustbenchs_list_is_refused(tmp_path):
    put_imagenet(tmp_path, FIRST[1:])
    with pytest.raises(BenchError, match=f"first image {FIRST[0]} is not in"):
        ImageNet(folder=tmp_path).listed("test")


def test_labels_that_contradict_robustbenchs_are_refused(tmp_path):
    wnid = next(wnid for wnid in imagenet_wnids() if not FIRST[0].startswith(wnid))
    put_imagenet(tmp_path, [f"{wnid}/{FIRST[0].split('/')[1]}"])
    with pytest.raises(BenchError, match="RobustBench says"):
        ImageNet(folder=tmp_path).listed("test")


def test_training_images_are_read_from_folders(tmp_path):
    wnids = imagenet_wnids()
    train = tmp_path / "imagenet" / "train"
    for i in (3, 1):
        put(train / wnids[i] / f"{wnids[i]}_7.JPEG", i)
    dataset = ImageNet(folder=tmp_path)
    assert dataset.labels("train").tolist() == [1, 3]
    with pytest.raises(BenchError, match="test split"):
        dataset.listed("train")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("unsorted", "says nothing of their classes"),
        ("stranger", "none of ImageNet's 1,000 classes"),
        ("unknown", "gives 'ILSVRC2012_val_.*' of .* no class"),
        ("damaged csv", "damaged or of another form"),
        ("damaged mat", "damaged or of another form"),
    ],
)
def test_what_is_no_imagenet_is_one_line(tmp_path, case, message):
    val = put_imagenet(tmp_path, FIRST, is_flat=case != "stranger")
    base = tmp_path / "imagenet"
    if case == "stranger":
        (val / "tabby cat").mkdir()
    elif case == "unknown":
        put_devkit(tmp_path, FIRST)
        put(val / "ILSVRC2012_val_00099999.JPEG", 0)
    elif case == "damaged csv":
        (base / "LOC_val_solution.csv").write_text("<html>\nno</html>\n")
    elif case == "damaged mat":
        put_devkit(tmp_path, FIRST)
        (base / "ILSVRC2012_devkit_t12" / "data" / "meta.mat").write_bytes(b"<html></html>" * 100)
    with pytest.raises(BenchError, match=message) as caught:
        ImageNet(folder=tmp_path).labels("test")
    assert "\n" not in str(caught.value)


def small_network():
    """Any classifier of 1,000 classes."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return torch.nn.Sequential(
            torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(12, 1000)
        )


@pytest.mark.parametrize("order", ["nested", "robustbench"])
def test_an_evaluation_names_preparation_and_order_and_holds_a_part_of_imagenet(tmp_path, order):
    put_imagenet(tmp_path, FIRST)
    dataset = ImageNet(folder=tmp_path).prepared_for("resize:32,crop:24")
    entry = run(
        request(
            tmp_path / "runs", dataset=dataset, model=small_network(), defense="none", order=order
        )
    )
    assert entry.status == "complete"
    assert (entry.dataset.name, entry.dataset.n) == ("imagenet", len(FIRST))
    assert entry.dataset.preparation == "resize:32,crop:24"
    assert entry.dataset.order == order
    assert entry.threat.input_shape == (3, 24, 24)
    if order == "robustbench":
        assert list(entry.per_image.indices) == dataset.listed().tolist()
        known = wnid_labels()
        assert list(entry.per_image.labels) == [known[name.split("/")[0]] for name in FIRST]
