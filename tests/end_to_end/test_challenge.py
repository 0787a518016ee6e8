"""`bench challenge` as a person uses it: from an entry and a file of images to a lower entry and its page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.cli import main
from benchmark.evaluation.prepare.reproduce import Where, originals, remake
from benchmark.records.entry_files import entry_text, read_entry

pytestmark = pytest.mark.slow

PROTOCOL = """
name: weak
version: 1
summary: one step of a twentieth of the budget
samples: 12
shard_size: 5
criterion: {draws: 8, vote: 4, any_of: 4}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: noise, column: adaptive, knowledge: black-box, attack: noise}
"""
BOARDS = Path("results/digits/linf-0.15")


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    """A folder with the entries of a deterministic and a stochastic victim under a weak protocol."""
    folder = tmp_path_factory.mktemp("boards")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("weak.yaml").write_text(PROTOCOL)
        words = ["run", "--defense", "none", "--defense", "gaussian", "--protocol", "weak.yaml"]
        assert main([*words, "--workers", "1", "--device", "cpu"]) == 0
    return folder


@pytest.fixture
def here(boards, tmp_path, monkeypatch):
    """A copy of it, as the current folder."""
    shutil.copytree(boards, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def entry_of(defense: str) -> Path:
    return BOARDS / f"{defense}--digits-cnn--weak.json"


def attacked(entry: Path, n: int = 12, steps: int = 10, scale: float = 1.0):
    """Images, indices and labels of plain signed steps on the victim, as somebody outside would make them."""
    found = read_entry(entry)
    ready = remake(found, Where(device="cpu"))
    x, y, indices = originals(ready, torch.arange(n))
    eps = scale * found.threat.eps
    x_adv = x.clone()
    for _ in range(steps):
        x_adv.requires_grad_()
        loss = nn.functional.cross_entropy(ready.victim(x_adv), y)
        (gradient,) = torch.autograd.grad(loss, x_adv)
        x_adv = x_adv.detach() + eps / 4 * gradient.sign()
        x_adv = (x + (x_adv - x).clamp(-eps, eps)).clamp(0, 1)
    return {"x_adv": x_adv.numpy(), "indices": indices.numpy(), "labels": y.numpy()}


@pytest.mark.parametrize("defense", ["none", "gaussian"])
def test_a_challenge_lowers_the_entry_and_marks_its_page(defense, here, capsys):
    path = entry_of(defense)
    before = read_entry(path)
    np.savez_compressed("x.npz", **attacked(path))
    words = ["challenge", str(path), "x.npz", "--credit", "Ada", "--device", "cpu"]

    assert main([*words, "--dry-run", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["lowered"], said["written"]) == (True, False)
    assert read_entry(path) == before

    assert main(words) == 0
    assert "falls from" in capsys.readouterr().out
    after = read_entry(path)
    assert before.worst is not None
    assert after.worst is not None
    assert after.worst.single.value < before.worst.single.value - 0.3
    assert after.worst.single.value == said["worst_after"]["single"]["value"]
    assert after.challenges[0].credit == "Ada"
    assert "§" in (BOARDS / "README.md").read_text()

    assert main([*words, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert not again["lowered"]
    assert "challenge 1" in again["reason"]
    assert read_entry(path) == after


@pytest.mark.parametrize("defense", ["none", "gaussian"])
def test_clean_images_lower_nothing(defense, here, capsys):
    path = entry_of(defense)
    content = path.read_bytes()
    np.savez_compressed("x.npz", **attacked(path, steps=0))
    assert main(["challenge", str(path), "x.npz", "--device", "cpu"]) == 0
    assert "Nothing is lowered" in capsys.readouterr().out
    assert path.read_bytes() == content


def of_other_source(e):
    stages = [e["defense"]["stages"][0] | {"source_sha256": "0" * 64}]
    return e | {"defense": e["defense"] | {"stages": stages}}


@pytest.mark.parametrize(
    ("tampered", "expected"),
    [
        (lambda e: e | {"seed": 1}, "come out otherwise"),
        (lambda e: e | {"criterion": e["criterion"] | {"draws": 4}}, "come out otherwise"),
        (lambda e: e | {"classifier": e["classifier"] | {"sha256": "0" * 64}}, "classifier"),
        (lambda e: e | {"dataset": e["dataset"] | {"pixels_sha256": "0" * 64}}, "other pixels"),
        (lambda e: e | {"command": "bench run --defense jpeg"}, "its defense is"),
        (lambda e: e | {"command": "sh -c true"}, "none that bench run writes"),
        (lambda e: e | {"status": "gaps"}, "exactly where gaps are named"),
        (
            lambda e: e | {"threat": e["threat"] | {"eps": 0.3, "text": "linf:0.3"}},
            "under linf:0.3",
        ),
        (lambda e: of_other_source(e), "source of 'gaussian'"),
    ],
)
def test_what_cannot_be_made_again_is_refused(tampered, expected, here, capsys):
    path = entry_of("gaussian")
    np.savez_compressed("x.npz", **attacked(path, n=4, steps=0))
    path.write_text(json.dumps(tampered(json.loads(path.read_text()))))
    assert main(["challenge", str(path), "x.npz", "--device", "cpu"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert expected in said[0]


def test_an_entry_of_earlier_keys_is_challenged_by_weights_and_predictions_and_its_source_noted(
    here, capsys, caplog
):
    path = entry_of("gaussian")
    np.savez_compressed("x.npz", **attacked(path))
    earlier = of_other_source(json.loads(path.read_text())) | {"key_version": 2}
    path.write_text(json.dumps(earlier))
    assert main(["challenge", str(path), "x.npz", "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lowered"]
    assert "version 2 of keys" in caplog.text
    assert "source of 'gaussian'" in caplog.text
    weights = earlier["defense"]["stages"][0] | {"weights_sha256": "1" * 64}
    path.write_text(json.dumps(earlier | {"defense": earlier["defense"] | {"stages": [weights]}}))
    assert main(["challenge", str(path), "x.npz", "--device", "cpu"]) == 2
    assert "weights of 'gaussian'" in capsys.readouterr().err


def test_images_outside_the_budget_are_refused_and_rounding_is_not(here, capsys):
    path = entry_of("none")
    np.savez("far.npz", **attacked(path, scale=1.01))
    assert main(["challenge", str(path), "far.npz", "--device", "cpu"]) == 2
    assert "left the budget: linf 0.1515" in capsys.readouterr().err
    rounded = attacked(path, scale=1 + 1e-7)
    np.savez("near.npz", **rounded | {"x_adv": rounded["x_adv"].astype(np.float64)})
    assert main(["challenge", str(path), "near.npz", "--device", "cpu", "--dry-run"]) == 0


def test_the_same_challenge_gives_the_same_bytes(here, tmp_path):
    path = entry_of("none")
    np.savez("x.npz", **attacked(path))
    shutil.copy(path, tmp_path / "copy.json")
    for entry in (path, tmp_path / "copy.json"):
        assert main(["challenge", str(entry), "x.npz", "--device", "cpu"]) == 0
    assert entry_text(read_entry(path)).encode() == path.read_bytes()
    assert path.read_bytes() == (tmp_path / "copy.json").read_bytes()
    assert not (tmp_path / "README.md").exists(), "a lone file has no page"


def test_a_new_run_keeps_what_challenges_found(here):
    path = entry_of("gaussian")
    np.savez("x.npz", **attacked(path))
    assert main(["challenge", str(path), "x.npz", "--device", "cpu"]) == 0
    lowered = read_entry(path)
    words = ["run", "--defense", "gaussian", "--protocol", "weak.yaml", "--device", "cpu"]
    assert main([*words, "--workers", "1"]) == 0
    assert read_entry(path) == lowered
    assert main([*words, "--workers", "1", "--seed", "1"]) == 0
    assert read_entry(path) == lowered
    (other,) = path.parent.glob("gaussian*seed1.json")
    assert read_entry(other).challenges == ()
