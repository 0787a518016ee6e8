"""Estimates: what is said of passes, disk and time, against what a run then does."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from attacks.pgd import PGD
from benchmark.cli import main
from benchmark.cli.estimate import to_text
from benchmark.datasets.given import Given
from benchmark.engine.attacking.attack import Passes
from benchmark.engine.criterion import Criterion
from benchmark.engine.judging.verdict import judge
from benchmark.estimate.estimate import estimate, verdict_passes
from benchmark.estimate.report import Expense, RowExpense
from benchmark.evaluation.execute.run import Listener, run
from benchmark.records.missing_rows import Missing, Why
from benchmark.records.protocol_files import parse_protocol
from benchmark.selftest.closed_forms import LinearTask
from tests.helpers import tiny_task as tiny
from tests.helpers.toy_plugins import Noise, Same, image_draws, linear_target

TASK = LinearTask.make(n=4)


class Mine(PGD):
    """A third party's attack, which does not say what it costs."""

    name = "mine"

    def passes(self, **_):
        return None


UNKNOWN = tiny.PROTOCOL.replace(
    b"attack: auxiliary, gradients: [best], eot: 2,\n     arguments: {variant: A2, steps: 2, lambdas: [1]}",
    b'attack: "tests.unit.estimate.test_estimate:Mine", gradients: [best], arguments: {steps: 1}',
)


def finished(request):
    """Runs a request; its results by row."""
    results = {}

    def keep(task, result, cached):
        results.setdefault(task.row.id, []).append(result)

    run(request, Listener(on_done=keep))
    return results


@pytest.mark.parametrize("defense", [tiny.Noise(), Same()], ids=["random", "fixed"])
def test_a_run_asks_no_more_than_was_said_and_a_random_victim_exactly_that(tmp_path, defense):
    request = tiny.request(tmp_path, defense=defense)
    said = estimate(request)
    results = finished(request)
    assert {row.id for row in said.rows} == set(results)
    for row in said.rows:
        forwards = sum(result.cost.forwards for result in results[row.id])
        backwards = sum(result.cost.backwards for result in results[row.id])
        bound = (row.passes.forwards * row.left, row.passes.backwards * row.left)
        if defense.stochastic:
            assert (forwards, backwards) == bound
        else:
            assert forwards <= bound[0]
            assert backwards <= bound[1]


def test_what_is_finished_is_counted_and_the_rest_is_left(tmp_path):
    finished(tiny.request(tmp_path, samples=4))
    said = estimate(tiny.request(tmp_path))
    assert {(row.images, row.done, row.left) for row in said.rows} == {(12, 4, 8)}
    finished(tiny.request(tmp_path))
    said = estimate(tiny.request(tmp_path))
    assert {row.left for row in said.rows} == {0}
    assert said.hours == said.wall_hours == 0
    assert said.to_json()["forwards_left"] == said.to_json()["disk_left"] == 0


def test_other_images_are_not_taken_for_finished(tmp_path):
    finished(tiny.request(tmp_path))
    same = tiny.dataset()
    images = same.images("test", torch.arange(12)) * 0.9
    changed = Given(
        images=images, labels=same.labels("test"), classes=tiny.CLASSES, title=same.name
    )
    said = estimate(tiny.request(tmp_path, dataset=changed))
    assert {row.done for row in said.rows} == {0}


@pytest.mark.parametrize("defense", [tiny.Noise(), Same()], ids=["random", "fixed"])
def test_the_disk_is_what_the_store_then_writes_or_a_little_more(tmp_path, defense):
    request = tiny.request(tmp_path, defense=defense)
    said = estimate(request)
    finished(request)
    written = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert written <= sum(row.disk * row.images for row in said.rows) <= 1.6 * written


def test_estimating_writes_nothing(tmp_path):
    estimate(tiny.request(tmp_path / "runs"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("candidates", [1, 3])
@pytest.mark.parametrize("defense", [Noise(), Same()], ids=["random", "fixed"])
def test_a_verdict_asks_no_more_than_was_said(monkeypatch, defense, candidates):
    target = linear_target(TASK, defense)
    asked = []
    inner = target.victim.logits
    monkeypatch.setattr(
        target.victim, "logits", lambda x, **given: asked.append(len(x)) or inner(x, **given)
    )
    criterion = Criterion(draws=6, vote=3, any_of=2)
    images = image_draws(4, "images").uniform((candidates, *TASK.x.shape[1:]), dtype=TASK.x.dtype)
    judge(target.victim, images, TASK.y, draws=image_draws(4), criterion=criterion)
    said = verdict_passes(
        replace(tiny.job(), criterion=criterion), candidates, is_stochastic=defense.stochastic
    )
    assert sum(asked) <= 4 * said
    if candidates == 1 or not defense.stochastic:
        assert sum(asked) == 4 * said


def test_seconds_grow_with_the_passes_and_an_attack_that_asks_nothing_takes_the_verdicts_alone(
    tmp_path,
):
    said = {row.id: row for row in estimate(tiny.request(tmp_path)).rows}
    assert 0 < said["clean"].seconds < said["pgd:exact"].seconds
    assert said["oblivious"].passes == Passes(forwards=0, backwards=0)


def test_an_attack_that_does_not_say_is_unknown_and_named_and_in_no_total(tmp_path):
    protocol = parse_protocol(UNKNOWN, where="tiny")
    said = estimate(tiny.request(tmp_path, protocol=protocol))
    assert said.unknown == ("aware",)
    row = said.rows[-1]
    assert (row.passes, row.verdict, row.seconds, row.hours) == (None, None, None, None)
    assert "forwards_left" not in row.to_json()
    text = to_text(said)
    assert "not in the totals, because the attack does not say what it costs: aware" in text
    assert "unknown" in text


def made(workers, *, images=10, size=2):
    rows = [
        RowExpense(
            id=str(i),
            column="adaptive",
            attack="pgd",
            gradient="exact",
            eot=1,
            images=images,
            done=0,
            passes=Passes(forwards=1, backwards=1),
            verdict=2,
            disk=100.0,
            seconds=seconds,
        )
        for i, seconds in enumerate((360.0, 36.0))
    ]
    return Expense(
        title=dict.fromkeys(("defense", "classifier", "dataset", "threat", "protocol"), "x"),
        is_stochastic=False,
        rows=tuple(rows),
        skipped={"transfer": Missing(Why.NO_SURROGATES, "no surrogates")},
        shard_size=size,
        workers=workers,
        hardware="a machine",
    )


def test_workers_share_shards_and_none_is_faster_than_its_longest_one():
    assert made(1).wall_hours == pytest.approx(1.1)
    assert made(2).wall_hours == pytest.approx(0.6)  # three of the long shards
    assert made(100).wall_hours == pytest.approx(0.2)
    assert made(2, size=64).wall_hours == pytest.approx(1.0)
    assert made(2).hours == pytest.approx(1.1)


def test_the_table_says_totals_and_what_bounds_it():
    text = to_text(made(2))
    assert "1.1 h" in text
    assert "36 min with 2 workers on a machine, in shards of 2 images" in text
    assert "Upper bounds" in text
    assert "left out: transfer: no surrogates" in text
    assert "2 kB" in text


def test_the_command_prints_what_a_program_may_read(tmp_path, capsys):
    words = ["estimate", "--defense", "none", "--defense", "gaussian", "--samples", "4", "--json"]
    assert main([*words, "--runs", str(tmp_path / "runs")]) == 0
    fixed, random = json.loads(capsys.readouterr().out)
    assert (fixed["defense"], random["defense"]) == ("none", "gaussian")
    assert random["is_stochastic"]
    rows = {row["id"]: row for row in random["rows"]}
    assert rows["apgd-ce"]["passes"]["forwards"] == 10 * (51 + 5)
    assert rows["autoattack"]["passes"]["forwards"] == 4047
    assert rows["pgd:exact"]["forwards_left"] == 4 * 400
    assert all(row["seconds"] > 0 for row in rows.values())


def test_a_mistake_in_the_command_is_one_line(capsys):
    assert main(["estimate", "--defense", "atp"]) == 2
    assert "Did you mean 'atop'" in capsys.readouterr().err


def test_its_help_starts_no_torch():
    code = (
        "import sys; from benchmark.cli import main; status = main(['estimate', '--help']); "
        "sys.exit(status if 'torch' not in sys.modules else 99)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--protocol" in done.stdout
