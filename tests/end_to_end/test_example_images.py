"""Example images of whole runs: the very images that the verdict saw, made of finished shards."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.cli import main
from benchmark.engine.randomness import Draws
from benchmark.errors import BenchError
from benchmark.evaluation.execute import run as running
from benchmark.evaluation.execute.examples import fallen
from benchmark.evaluation.execute.run import Listener, run, run_shown
from benchmark.evaluation.execute.store import Store
from benchmark.evaluation.prepare.slices import Slice
from benchmark.records.entry_files import read_entry
from benchmark.records.example_sheets import read_sheet, sheet_path
from benchmark.records.examples import BARE, WHOLE
from tests.helpers.tiny_task import Noise, dataset, request

pytestmark = pytest.mark.slow

PROTOCOL = """
name: brief
version: 1
summary: one attack
criterion: {draws: 1, vote: 1, any_of: 1}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [bpda], arguments: {steps: 5}}
"""


def tile(sheet, examples, row, column):
    """One picture of a sheet, `(h, w)`."""
    pixels = np.asarray(Image.open(io.BytesIO(sheet)))
    (h, w), gap = examples.tile, examples.gap
    top, left = row * (h + gap), examples.columns.index(column) * (w + gap)
    return pixels[top : top + h, left : left + w, 0]


def bytes_of(x):
    return (x.squeeze() * 255).round().to(torch.uint8).numpy()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of a random purifier with its pictures, and where its shards are."""
    runs = tmp_path_factory.mktemp("runs")
    entry, sheet, _ = run_shown(request(runs))
    assert entry.examples
    assert sheet
    return entry, sheet, runs


def kept(runs, entry, example):
    """The image that the shard of an example's row kept, `(c, h, w)`."""
    key = next(row.job_key for row in entry.attacks if row.id == example.attack)
    at = entry.per_image.indices.index(example.index)
    start = at - at % 4
    content = (runs / key[:2] / key / f"{start:06d}-{start + 4:06d}.shard").read_bytes()
    from safetensors.torch import load

    return load(content[65:])["images"][at - start, 0]


def test_the_pictures_are_the_images_of_the_dataset_and_of_the_shards(made):
    entry, sheet, runs = made
    shown = entry.examples
    assert shown.columns == WHOLE
    for i, example in enumerate(shown.rows):
        clean = dataset()._images[example.index].double()
        adversarial = kept(runs, entry, example)
        assert (tile(sheet, shown, i, "clean") == bytes_of(clean)).all()
        assert (tile(sheet, shown, i, "adversarial") == bytes_of(adversarial)).all()
        change = (0.5 + shown.scale * (adversarial - clean)).clamp(0, 1)
        assert (tile(sheet, shown, i, "change") == bytes_of(change)).all()


def test_purified_is_the_adversarial_image_at_the_first_draw_that_was_scored(made):
    entry, sheet, runs = made
    shown = entry.examples
    for i, example in enumerate(shown.rows):
        draws = (
            Draws.of(0, torch.tensor([example.index]), entry.dataset.name, "test")
            .at("score")
            .repeat(6)
        )
        x = kept(runs, entry, example)[None]
        purified = Noise().purify(x, draws=draws.take(torch.tensor([0])).at("stage", 0))[0]
        assert (tile(sheet, shown, i, "purified") == bytes_of(purified)).all()


def test_those_that_fell_first_in_the_order_come_first_and_say_what_the_verdict_says(made):
    entry, _, _ = made
    images, rows = entry.per_image, entry.examples.rows
    fell = [row for row in rows if row.predicted_adversarial != row.label]
    assert list(rows[: len(fell)]) == fell
    assert [row.index for row in fell] == [images.indices[i] for i in fallen(images)[: len(fell)]]
    assert len(fell) >= 2
    for row in rows:
        at = images.indices.index(row.index)
        assert row.attack == images.chosen[at]
        assert (row.predicted_adversarial == row.label) == (images.worst[at][0] == "1")


def test_a_finished_run_makes_its_pictures_without_any_attack(made, tmp_path):
    entry, sheet, runs = made
    cached = []
    listener = Listener(on_done=lambda task, result, before: cached.append(before))
    assert run_shown(request(runs), listener) == (entry, sheet, None)
    assert all(cached)


def test_the_batch_size_changes_no_picture(made, tmp_path):
    entry, sheet, _ = made
    again, other, _ = run_shown(request(tmp_path, batch_size=7))
    assert (again.examples, other) == (entry.examples, sheet)


def test_an_entry_from_python_has_no_pictures_since_nothing_is_written(made):
    assert run(request(made[2])).examples is None


def test_an_undefended_classifier_has_no_purified_picture(tmp_path):
    entry, sheet, _ = run_shown(request(tmp_path, defense="none"))
    assert sheet
    assert entry.examples.columns == BARE


def test_several_victims_together_have_no_one_purified_picture(tmp_path):
    wanted = "mean(gaussian>digits-cnn, none>digits-mlp)"
    entry, sheet, _ = run_shown(
        request(tmp_path, defense=wanted, model=None, dataset="digits", samples=4)
    )
    assert sheet
    assert entry.examples.columns == BARE


class Grumbling(Noise):
    """Refuses to purify once its attacks are done."""

    name = "grumbling"
    is_done = False

    def purify(self, x, *, draws):
        if type(self).is_done:
            raise RuntimeError("no pictures, please")
        return super().purify(x, draws=draws)


def test_a_purifier_that_fails_at_its_pictures_loses_them_and_nothing_else(
    tmp_path, caplog, monkeypatch
):
    def assembled(evaluated, real=running.assemble):
        monkeypatch.setattr(Grumbling, "is_done", True)
        return real(evaluated)

    monkeypatch.setattr(running, "assemble", assembled)
    entry, sheet, _ = run_shown(request(tmp_path, defense=Grumbling()))
    assert (entry.examples, sheet) == (None, None)
    assert entry.status == "complete"
    assert "its example images failed: RuntimeError: no pictures, please" in caplog.text


def test_a_shard_that_is_gone_again_costs_the_pictures_alone(tmp_path, caplog, monkeypatch):
    def gone(*words):
        raise BenchError("expected a finished shard")

    def assembled(evaluated, real=running.assemble):
        monkeypatch.setattr(Store, "images", gone)
        return real(evaluated)

    monkeypatch.setattr(running, "assemble", assembled)
    entry, sheet, _ = run_shown(request(tmp_path))
    assert (entry.examples, sheet) == (None, None)
    assert "no example images: expected a finished shard" in caplog.text


def test_a_slice_has_no_pictures(tmp_path):
    with pytest.raises(BenchError, match="makes shards and no entry"):
        run_shown(request(tmp_path, slice=Slice(1, 2)))


def test_bench_run_writes_the_sheet_beside_the_entry_and_again_where_it_is_gone(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "brief.yaml").write_text(PROTOCOL)
    words = ["run", "--defense", "jpeg", "--samples", "4", "--workers", "1", "--json"]
    words += ["--protocol", "brief.yaml"]
    assert main(words) == 0
    (path,) = tmp_path.glob("results/digits/*/jpeg*.json")
    entry, first = read_entry(path), sheet_path(path).read_bytes()
    assert entry.examples.tile == (8, 8)
    assert json.loads(capsys.readouterr().out)[0]["examples"]["sha256"] == entry.examples.sha256
    sheet_path(path).unlink()
    assert main(["validate", str(path)]) == 2
    assert main(words) == 0
    assert read_sheet(path, read_entry(path)) == first
    assert main(["validate", str(path)]) == 0
    assert main(["publish", "results", "--out", "site"]) == 0
    (copied,) = tmp_path.glob("site/*/*.png")
    assert copied.read_bytes() == first
