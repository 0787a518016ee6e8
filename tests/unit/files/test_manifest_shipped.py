"""The manifests that ship: every weights file is held to its entry, and each entry can be made again."""

import shutil
from pathlib import Path

import pytest

import benchmark
import defenses
from benchmark.classifiers.catalog import CLASSIFIERS
from benchmark.files.known_hashes import file_sha256
from benchmark.files.manifest import NAME, read_manifest
from benchmark.files.manifest_writer import update_manifest
from benchmark.files.weights import file_name, find_weights
from benchmark.plugins import DEFENSES

SHIPPED = sorted(
    path.parent
    for package in (benchmark, defenses)
    for path in Path(next(iter(package.__path__))).rglob(f"weights/{NAME}")
)


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.parent.name)
def test_every_shipped_file_is_held_to_its_entry(folder):
    entries = {entry.file: entry for entry in read_manifest(folder).weights}
    assert {path.name for path in folder.glob("*.safetensors")} == {
        name for name, entry in entries.items() if not entry.urls
    }
    for path in folder.glob("*.safetensors"):
        entry = entries[path.name]
        assert entry.sha256 == file_sha256(path)
        assert entry.bytes == path.stat().st_size
        assert entry.command.startswith("bench train ")
        assert entry.seed is not None
        assert (entry.licence, entry.source) == ("MIT", "The PurifyBench authors")


def test_all_weights_that_ship_lie_beside_a_manifest():
    roots = [Path(next(iter(package.__path__))) for package in (benchmark, defenses)]
    assert {path.parent for root in roots for path in root.rglob("*.safetensors")} == set(SHIPPED)
    assert not [path for root in roots for kind in ("*.pt", "*.pth") for path in root.rglob(kind)]


def test_what_a_manifest_calls_its_weights_is_what_they_are_looked_up_by():
    for folder in SHIPPED:
        for entry in read_manifest(folder).weights:
            if entry.kind == "classifier":
                source = CLASSIFIERS.get(entry.label)()
                assert source.dataset == entry.dataset
                assert source.weights(Path()) == folder / entry.file
            else:
                defense = DEFENSES.get(entry.label.partition("[")[0])
                names = {name: getattr(entry, name) for name in ("label", "classifier", "dataset")}
                assert (
                    find_weights(defense, **names)
                    == folder / entry.file
                    == folder / file_name(**names)
                )


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.parent.name)
def test_a_manifest_made_again_is_the_one_that_ships(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "weights")
    path, _ = update_manifest(copy)
    assert path.read_bytes() == (folder / NAME).read_bytes()
    path.unlink()
    update_manifest(copy, licence="MIT", source="The PurifyBench authors")
    assert path.read_bytes() == (folder / NAME).read_bytes()
