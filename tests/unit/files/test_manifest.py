"""Manifests of weights: shipped files are held to their entries; what is listed is found, fetched, checked."""

import hashlib
import json
import sys
from types import ModuleType
from urllib.parse import quote

import pytest
import torch
import yaml
from huggingface_hub import constants
from safetensors.torch import save

from benchmark.errors import BenchError
from benchmark.files import downloads
from benchmark.files import locations as remote
from benchmark.files.known_hashes import file_sha256
from benchmark.files.locations import cache_place
from benchmark.files.manifest import NAME, plugin_weights, read_manifest
from benchmark.files.user_folders import weights_folder
from benchmark.files.weights import default_weights_path, file_name, find_weights, save_safetensors
from tests.helpers.fake_hub import COMMIT, publish
from tests.helpers.servers import body, serving

NAMES = {"label": "mine[28px]", "classifier": "mnist-cnn", "dataset": "mnist"}
FILE = file_name(**NAMES)
CONTENT = save({"w": torch.arange(9.0)})


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A class of a package of somebody else's, whose weights folder is empty."""
    module = ModuleType("their_defense")
    module.__file__ = str(tmp_path / "theirs" / "defense.py")
    (tmp_path / "theirs" / "weights").mkdir(parents=True)
    monkeypatch.setitem(sys.modules, "their_defense", module)
    monkeypatch.setattr(downloads, "PAUSES", (0.01,))
    for name in ("BENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return type("Theirs", (), {"__module__": "their_defense"})


@pytest.fixture
def folder(plugin, tmp_path):
    return tmp_path / "theirs" / "weights"


@pytest.fixture
def server(plugin):
    remote.hub_file.cache_clear()
    with serving() as served:
        yield served


def entry(**changes):
    found = {
        "kind": "defense",
        **NAMES,
        "file": FILE,
        "urls": ["https://example.com/w.safetensors"],
        "sha256": file_sha256_of(CONTENT),
        "bytes": len(CONTENT),
        "licence": "MIT",
        "source": "them",
    }
    return {name: value for name, value in (found | changes).items() if value is not None}


def file_sha256_of(content):
    return hashlib.sha256(content).hexdigest()


def write(folder, *entries, **others):
    text = yaml.safe_dump({"schema_version": 1, "weights": list(entries), **others})
    (folder / NAME).write_text(text)


def refused(plugin):
    with pytest.raises(BenchError) as caught:
        find_weights(plugin, **NAMES)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_listed_weights_are_downloaded_once_checked_and_before_the_users_own(
    plugin, folder, server
):
    own = default_weights_path(**NAMES)
    save_safetensors({"w": torch.ones(2)}, own)
    assert find_weights(plugin, **NAMES) == own
    server.answers["/w"] = body(CONTENT)
    write(folder, entry(urls=[f"{server.url}/gone", f"{server.url}/w"]))
    found = find_weights(plugin, **NAMES)
    assert found.read_bytes() == CONTENT
    assert found == cache_place(file_sha256(found), FILE)
    assert find_weights(plugin, **NAMES) == found
    assert [path for path, _ in server.asked] == ["/gone", "/w"]
    assert find_weights(plugin, **NAMES | {"dataset": "digits"}) is None


def test_shipped_weights_come_before_downloads_and_a_changed_one_is_refused(plugin, folder, server):
    (folder / FILE).write_bytes(CONTENT)
    assert find_weights(plugin, **NAMES) == folder / FILE
    write(folder, entry(urls=[f"{server.url}/w"]))
    assert find_weights(plugin, **NAMES) == folder / FILE
    (folder / FILE).write_bytes(CONTENT[:-1] + b"!")
    assert "not the file that its manifest lists" in refused(plugin)
    assert server.asked == []


@pytest.mark.parametrize("content", [b"\x80\x02not yet", CONTENT[:-1] + b"!"])
def test_what_has_another_sha256_is_refused_before_anything_parses_it(
    plugin, folder, server, monkeypatch, content
):
    monkeypatch.setattr(
        "benchmark.files.weights.load_file", lambda path: pytest.fail("it was parsed")
    )
    server.answers["/w"] = body(content)
    write(folder, entry(urls=[f"{server.url}/w"]))
    assert f"should be {file_sha256_of(CONTENT)}" in refused(plugin)
    assert not [path for path in weights_folder().rglob("*") if path.is_file()]


def test_a_pickle_under_the_name_of_safetensors_is_never_loaded_for_a_defense(
    plugin, folder, server, tmp_path
):
    torch.save({"w": torch.ones(2)}, tmp_path / "w.pt")
    pickled = (tmp_path / "w.pt").read_bytes()
    server.answers["/w"] = body(pickled)
    write(folder, entry(urls=[f"{server.url}/w"], sha256=file_sha256_of(pickled)))
    assert "are a pickle" in refused(plugin)
    assert not [path for path in weights_folder().rglob("*") if path.is_file()]


def test_a_cached_file_that_was_damaged_since_is_refused(plugin, folder, server):
    server.answers["/w"] = body(CONTENT)
    write(folder, entry(urls=[f"{server.url}/w"]))
    find_weights(plugin, **NAMES).write_bytes(b"damaged")
    assert "delete it, and it will be downloaded again" in refused(plugin)


def test_offline_what_is_listed_and_absent_says_where_it_belongs(
    plugin, folder, server, monkeypatch
):
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    write(folder, entry(urls=[f"{server.url}/w"]))
    line = refused(plugin)
    place = cache_place(file_sha256_of(CONTENT), FILE)
    assert str(place.parent) in line
    assert FILE in line
    assert server.asked == []
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert find_weights(plugin, **NAMES) == place


def test_a_manifest_may_list_files_of_the_hub(plugin, folder, server, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    publish(server, "they/theirs", {"w.safetensors": CONTENT})
    write(folder, entry(urls=[f"hf:they/theirs@{COMMIT}/w.safetensors"]))
    assert find_weights(plugin, **NAMES).read_bytes() == CONTENT
    write(folder, entry(urls=[f"hf:they/theirs@{COMMIT}/w.safetensors"], sha256="0" * 64))
    assert "not the file that its manifest lists" in refused(plugin)


def test_a_classifier_of_another_package_is_listed_the_same_way(plugin, folder, server):
    server.answers["/w"] = body(CONTENT)
    names = {"label": "their-net", "dataset": "mnist"}
    write(
        folder,
        entry(**names, kind="classifier", classifier=None, urls=[f"{server.url}/w"], file="n.pt"),
    )
    found = plugin_weights(plugin, "classifier", **names)
    assert found.name == "n.pt"
    assert found.read_bytes() == CONTENT
    assert plugin_weights(plugin, "defense", **names) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"colour": "red"}, "colour"),
        ({"sha256": "12"}, "sha256"),
        ({"sha256": None}, "sha256"),
        ({"bytes": "12"}, "bytes"),
        ({"bytes": 0}, "bytes"),
        ({"licence": ""}, "licence"),
        ({"kind": "attack"}, "kind"),
        ({"file": "../w.safetensors"}, "without folders"),
        ({"file": "/w.safetensors"}, "without folders"),
        ({"file": ".w.safetensors"}, "without folders"),
        ({"file": "w.pt"}, ".safetensors"),
        ({"classifier": None}, "name their classifier"),
        ({"urls": ["http://example.com/w"]}, "only on this machine"),
        ({"urls": ["/home/me/w"]}, "expected"),
        ({"urls": ["https://example.com/w#sha256=" + "0" * 64]}, "a field of its own"),
        ({"urls": ["hf:me"]}, "expected"),
    ],
)
def test_what_a_manifest_may_not_say_is_one_line_with_its_place(plugin, folder, changes, reason):
    write(folder, entry(**changes))
    line = refused(plugin)
    assert str(folder / NAME) in line
    assert reason in line


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("weights: []", "schema_version"),
        ("schema_version: 2\nweights: []", "schema_version"),
        ("[1, 2", "not plain YAML"),
        ("\x00", "not plain YAML"),
        ("", "Input should be"),
        ("a: &a [1]\nb: *a", "aliases"),
        ("#" * 200_001, "at most"),
        ("[" * 1500, "inside each other"),
    ],
)
def test_what_is_no_manifest_is_one_line(plugin, folder, text, reason):
    (folder / NAME).write_text(text)
    assert reason in refused(plugin)


def test_two_entries_for_one_thing_are_refused(plugin, folder):
    write(folder, entry(), entry(file="other.safetensors"))
    assert "more than once" in refused(plugin)
    write(folder, entry(), entry(dataset="digits"))
    assert "more than once" in refused(plugin)


def trained(folder, **changes):
    """Weights with their training record, in somebody's package."""
    (folder / FILE).write_bytes(CONTENT)
    record = {
        "command": "bench train --defense theirs:Mine",
        "seed": 3,
        "setting": {"dataset": "mnist", "classifier": "mnist-cnn"},
        "weights_sha256": file_sha256_of(CONTENT),
    }
    (folder / FILE).with_suffix(".json").write_text(json.dumps(record | changes))


def test_bench_manifest_lists_what_a_package_publishes(plugin, folder, server, capsys):
    from benchmark.cli import main

    trained(folder)
    options = ["--licence", "MIT", "--source", "them", "--url", f"{server.url}/{{file}}"]
    assert main(["manifest", str(folder), *options]) == 0
    assert "1 weights files" in capsys.readouterr().out
    (made,) = read_manifest(folder).weights
    assert (made.label, made.seed, made.urls) == (
        NAMES["label"],
        3,
        [f"{server.url}/{quote(FILE)}"],
    )
    (folder / FILE).unlink()
    assert main(["manifest", str(folder)]) == 0
    assert read_manifest(folder).weights == [made]  # what lies elsewhere stays listed
    server.answers[f"/{quote(FILE)}"] = body(CONTENT)
    assert find_weights(plugin, **NAMES).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda folder: (folder / FILE).with_suffix(".json").unlink(), "no training record"),
        (
            lambda folder: (folder / FILE).with_suffix(".json").write_text("{}"),
            "no training record",
        ),
        (lambda folder: trained(folder, weights_sha256="0" * 64), "record of other weights"),
        (lambda folder: None, "give --licence and --source"),
    ],
)
def test_bench_manifest_refuses_what_it_cannot_vouch_for(folder, capsys, break_it, reason):
    from benchmark.cli import main

    trained(folder)
    break_it(folder)
    assert main(["manifest", str(folder)]) == 2
    assert reason in capsys.readouterr().err
    assert not (folder / NAME).exists()
