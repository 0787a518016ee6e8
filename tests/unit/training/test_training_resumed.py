"""Training that was cut short: it goes on to the same bits, and no other or damaged checkpoint is taken."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmark.engine.threat import Threat
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.files.known_hashes import file_sha256
from benchmark.training.checkpoint import (
    Curves,
    Progress,
    checkpoint_path,
    read_checkpoint,
    save_checkpoint,
)
from benchmark.training.loop import train
from tests.helpers.small_training import SETTING, Bars, Small, eager

ROOT = Path(__file__).parents[3]


class Stopping(Small):
    """Interrupted in the middle, as by Ctrl-C."""

    stop_at = 25

    def step(self, x, y, *, step, draws):
        if step == self.stop_at:
            raise KeyboardInterrupt
        return super().step(x, y, step=step, draws=draws)


@pytest.fixture
def bars(tmp_path):
    return Bars(folder=tmp_path)


def test_an_interrupted_run_goes_on_to_the_same_weights(bars, tmp_path):
    whole = train(unstopped(), SETTING, bars, out=tmp_path / "whole.safetensors")
    out = tmp_path / "cut.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(Stopping(), SETTING, bars, out=out, options=eager())
    assert checkpoint_path(out).exists()
    assert not out.exists()
    seen = []
    continued = Stopping()
    continued.stop_at = -1
    train(
        continued, SETTING, bars, out=out, options=eager(), progress=lambda d, n, _: seen.append(d)
    )
    assert seen == list(range(26, 41))
    assert file_sha256(out) == file_sha256(whole)
    records = [json.loads(o.with_suffix(".json").read_text()) for o in (whole, out)]
    assert records[0]["losses"] == records[1]["losses"]
    assert not checkpoint_path(out).exists()


def unstopped():
    recipe = Stopping()
    recipe.stop_at = -1
    return recipe


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(bars, tmp_path):
    recipe = {"pause": 0.005, "steps": 60}
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    train(Small(**recipe), SETTING, bars, out=whole)
    program = (
        "import torch\n"
        "from pathlib import Path\n"
        "from benchmark.training.loop import train\n"
        "from tests.helpers.small_training import SETTING, Bars, Small, eager, eager\n"
        f"torch.set_num_threads({torch.get_num_threads()})\n"  # other threads, other rounding
        f"train(Small(**{recipe}), SETTING, Bars(folder=None), out=Path({str(cut)!r}), "
        "options=eager(), progress=lambda d, n, _: print(d, flush=True))\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) == 37:
                os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not cut.exists()
    seen = []
    train(Small(**recipe), SETTING, bars, out=cut, progress=lambda d, n, _: seen.append(d))
    assert 36 < seen[0] < 60
    assert file_sha256(cut) == file_sha256(whole)
    assert not checkpoint_path(cut).exists()


def interrupted(bars, out):
    with pytest.raises(KeyboardInterrupt):
        train(Stopping(), SETTING, bars, out=out, options=eager())
    return checkpoint_path(out)


@pytest.mark.parametrize("change", ["seed", "argument", "recipe", "threat"])
def test_the_checkpoint_of_another_run_is_refused(bars, tmp_path, change):
    out = tmp_path / "w.safetensors"
    checkpoint = interrupted(bars, out)
    recipe = {"argument": Stopping(rate=1e-3), "recipe": Small()}.get(change, Stopping())
    setting = SETTING
    if change == "threat":
        setting = Setting(
            dataset="bars",
            shape=(1, 4, 4),
            classes=4,
            threat=Threat.parse("linf:0.2"),
            device=torch.device("cpu"),
        )
    before = checkpoint.read_bytes()
    with pytest.raises(BenchError, match="another run") as caught:
        train(recipe, setting, bars, out=out, options=eager(seed=int(change == "seed")))
    said = {
        "seed": "(seed was 0, now 1)",
        "argument": "(rate was 0.01, now 0.001)",
        "recipe": "now tests.helpers.small_training:Small, different source)",
        "threat": "(threat was linf:0.1, now linf:51/255)",
    }
    for part in (str(checkpoint), said[change], "--restart"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize("damage", [None, b"not a checkpoint"])
def test_restart_begins_anew_and_ends_with_the_weights_of_a_run_that_never_stopped(
    bars, tmp_path, damage
):
    whole = train(Small(rate=1e-3), SETTING, bars, out=tmp_path / "whole.safetensors")
    out = tmp_path / "w.safetensors"
    checkpoint = interrupted(bars, out)
    if damage:
        checkpoint.write_bytes(damage)
    seen = []
    train(
        Small(rate=1e-3),
        SETTING,
        bars,
        out=out,
        options=eager(restart=True),
        progress=lambda done, *_: seen.append(done),
    )
    assert seen == list(range(1, 41))
    assert file_sha256(out) == file_sha256(whole)
    assert not checkpoint.exists()


def test_another_runs_checkpoint_is_refused_before_anything_is_built(bars, tmp_path):
    out = tmp_path / "w.safetensors"
    interrupted(bars, out)

    class Unbuilt(Small):
        def build(self, setting, attacks):
            raise AssertionError

    with pytest.raises(BenchError, match="another run"):
        train(Unbuilt(), SETTING, bars, out=out)


def test_a_changed_source_and_another_version_are_named(bars, tmp_path):
    recipe, progress = Small(), Progress(Curves(40), step=1)
    recipe.build(SETTING, {})
    path = tmp_path / "c"
    save_checkpoint(path, recipe, progress, '{"seed": 0, "source_sha256": "a", "torch": "2.1"}')
    with pytest.raises(BenchError, match=r"\(different source, torch was 2\.1, now 2\.2\)"):
        read_checkpoint(path, '{"seed": 0, "source_sha256": "b", "torch": "2.2"}')
    save_checkpoint(path, recipe, Progress(Curves(40)), '{"seed": 1}')
    assert read_checkpoint(path, '{"seed": 0}') is None, "no step of it is lost"
    save_checkpoint(path, recipe, progress, "of old")
    with pytest.raises(BenchError, match=r"\(of another version of purifybench\)"):
        read_checkpoint(path, '{"seed": 0}')


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


@pytest.mark.parametrize("damage", ["truncated", "malicious", "text"])
def test_a_damaged_or_malicious_checkpoint_is_refused_and_runs_nothing(
    bars, tmp_path, damage, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "w.safetensors"
    checkpoint = interrupted(bars, out)
    if damage == "truncated":
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    elif damage == "malicious":
        torch.save({"identity": Bomb()}, checkpoint)
    else:
        checkpoint.write_text("not a checkpoint")
    with pytest.raises(BenchError, match=r"damaged.*--restart"):
        train(Stopping(), SETTING, bars, out=out, options=eager())
    assert not (tmp_path / "exploded").exists()
