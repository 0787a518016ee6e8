"""Downloads as a user meets them: --weights and --model from elsewhere, --offline, progress, exit statuses."""

import json
import os
import shlex
from pathlib import Path

import pytest
import requests
import torch
from huggingface_hub import constants

import benchmark
import defenses
from benchmark.classifiers.zoo_names import resolve
from benchmark.cli import main
from benchmark.cli.progress import RunProgress
from benchmark.files import downloads
from benchmark.files import locations as remote
from benchmark.files.downloads import fetch
from benchmark.files.known_hashes import file_sha256
from tests.helpers.fake_hub import COMMIT, publish
from tests.helpers.servers import body, in_turn, serving, status

pytestmark = pytest.mark.slow

ATOP = Path(defenses.__file__).parent / "atop/weights/atop[digits]--digits-cnn--digits.safetensors"
CNN = Path(benchmark.__file__).parent / "classifiers/weights/digits-cnn.safetensors"
R18 = "Gowal2021Improving_R18_ddpm_100m"
PROTOCOL = """
{name: tiny, version: 1, summary: a look, samples: 6, shard_size: 3,
 criterion: {draws: 2, vote: 1, any_of: 1},
 attacks: [{id: clean, column: clean, knowledge: oblivious, attack: clean}]}
"""


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(PROTOCOL)
    monkeypatch.setattr(downloads, "PAUSES", (0.01, 0.01))
    for name in ("BENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    remote.hub_file.cache_clear()
    with serving() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield served


def run(*words):
    return main(["run", "--protocol", "tiny.yaml", "--workers", "1", "--device", "cpu", *words])


def entry(capfd):
    (found,) = json.loads(capfd.readouterr().out)
    return found


def test_weights_under_a_url_are_used_and_the_entrys_command_uses_the_same_again(server, capfd):
    server.answers["/atop.safetensors"] = in_turn(status(503), body(ATOP.read_bytes()))
    url = f"{server.url}/atop.safetensors"
    assert run("--defense", "atop", "--weights", url, "--json") == 0
    first = entry(capfd)
    assert first["defense"]["stages"][0]["weights_sha256"] == file_sha256(ATOP)
    assert f"#sha256={file_sha256(ATOP)}" in first["command"]
    asked = len(server.asked)
    program, *words = shlex.split(first["command"])
    assert program == "bench"
    assert main([*words, "--json", "--offline"]) == 0
    assert entry(capfd)["per_image"] == first["per_image"]
    assert len(server.asked) == asked


def test_a_classifier_of_the_hub_is_used_and_its_commit_recorded(server, capfd):
    publish(server, "me/net", {"net.safetensors": CNN.read_bytes()})
    assert run("--defense", "none", "--model", "file:hf:me/net@digits-cnn", "--json") == 0
    found = entry(capfd)
    assert found["classifier"]["sha256"] == file_sha256(CNN)
    assert f"file:hf:me/net@{COMMIT}/net.safetensors@digits-cnn" in found["command"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--weights", "URL/absent.safetensors"], "404"),
        (["--weights", "URL/page.safetensors"], "web page"),
        (["--weights", "URL/cut.safetensors"], "truncated"),
        (["--weights", "URL/pickle.safetensors"], "are a pickle"),
        (["--weights", "http://example.com/x"], "only on this machine"),
        (["--weights", "hf:nobody"], "expected hf:org/name"),
        (["--model", "file:URL/absent.safetensors@digits-cnn"], "404"),
        (["--model", "file:hf:nobody@digits-cnn"], "expected hf:org/name"),
    ],
)
def test_weights_that_cannot_be_had_are_one_line_and_status_2(
    server, capfd, tmp_path, words, expected
):
    torch.save({"w": torch.ones(3)}, tmp_path / "w.pt")
    server.answers |= {
        "/page.safetensors": body(b"<html>sign in"),
        "/cut.safetensors": body(ATOP.read_bytes()[:999], of=10_000),
        "/pickle.safetensors": body((tmp_path / "w.pt").read_bytes()),
    }
    words = [word.replace("URL", server.url) for word in words]
    assert run("--defense", "atop", *words) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert expected in printed.err
    assert printed.err.startswith("bench: ")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["run", "--defense", "none", "--dataset", "mnist"], "train-images-idx3-ubyte"),
        (["check", "jpeg", "--dataset", "cifar10"], "cifar-10-python.tar.gz"),
        (
            ["train", "--defense", "atop", "--dataset", "cifar10", "--model", "Gowal2021"],
            "Gowal2021Improving_28_10_ddpm_100m.pt",
        ),
        (
            ["run", "--defense", "atop", "--weights", "https://example.com/w.safetensors"],
            "w.safetensors",
        ),
        (["check", "atop", "--weights", "hf:me/net/w.safetensors"], "hf:me/net/w.safetensors"),
    ],
)
def test_offline_nothing_is_asked_and_one_line_says_what_is_missing(
    server, capfd, tmp_path, words, named
):
    (tmp_path / "data").mkdir()
    assert main([*words, "--offline", "--data", str(tmp_path / "data")]) == 2
    printed = capfd.readouterr().err
    assert named in printed
    assert "offline mode" in printed
    assert printed.count("\n") == 1
    assert server.asked == []
    assert "BENCH_OFFLINE" not in os.environ  # the option ends with its command


def test_a_zoo_checkpoint_that_cannot_be_downloaded_names_its_file_and_folder(
    server, capfd, tmp_path, monkeypatch
):
    def refuse(**options):
        raise requests.ConnectionError("nobody listens")

    monkeypatch.setattr("gdown.download", refuse)
    (tmp_path / "data").mkdir()
    words = ["train", "--defense", "atop", "--dataset", "cifar10", "--model", R18]
    assert main([*words, "--data", str(tmp_path / "data")]) == 2
    (file,) = resolve(R18, "cifar10").files(tmp_path / "data")
    printed = capfd.readouterr().err
    assert "Google Drive cannot be reached" in printed
    assert file.name in printed
    assert str(file.parent) in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_download_shows_its_progress_on_a_terminal_and_nowhere_else(
    server, capfd, tmp_path, monkeypatch, is_terminal
):
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "120")
    server.answers["/net.pt"] = body(bytes(5 << 20))
    with RunProgress("run") as progress:
        fetch(f"{server.url}/net.pt", tmp_path / "net.pt", what="net")
        progress.download("other", 1 << 20, 4 << 20)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert ("download other" in printed.err) == is_terminal
