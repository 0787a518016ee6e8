"""Plugins that crash, print, exit or meddle: one line that names them, and nobody else's outcome is another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest
import torch

from benchmark.cli import main
from benchmark.compute.sandbox import exits_raised, fresh_global_state, sandboxed, settings_kept
from benchmark.errors import BenchError
from benchmark.evaluation.execute.run import run
from benchmark.records.entry import without_timing
from benchmark.registry import Registry, imported
from tests.helpers.malicious_plugins import mini, one_line, plugin
from tests.helpers.tiny_task import Noise, request


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("raise RuntimeError('two\\nlines')", "two lines"),
        ("def broken(:", "line 3"),
        ("import nowhere_at_all", "nowhere_at_all"),
        ("sys.exit(0)", "sys.exit(0)"),
        ("sys.exit('bye')", "sys.exit('bye')"),
        ("os._exit(0)", "os._exit(0)"),
    ],
)
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_plugin_that_fails_when_imported_is_one_line_that_names_it(
    tmp_path, monkeypatch, capfd, code, said, command
):
    name = plugin(tmp_path, monkeypatch, at_import=code)
    monkeypatch.chdir(tmp_path)
    words = ["run", "--defense", name] if command == "run" else ["check", name]
    assert main(words) == 2
    line = one_line(capfd.readouterr().err)
    assert "hostile" in line
    assert said in line


@pytest.mark.slow
def test_with_v_its_traceback_is_shown(tmp_path, monkeypatch):
    plugin(tmp_path, monkeypatch, at_import="raise RuntimeError('no luck')")
    done = subprocess.run(
        [sys.executable, "-m", "benchmark", "-v", "check", "hostile:Mine"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "hostile.py" in done.stderr


@pytest.mark.parametrize("where", ["in_prepare", "in_purify"])
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise KeyError('no luck')", "KeyError: 'no luck'"),
        ("sys.exit(0)", "sys.exit(0)"),
        ("os._exit(0)", "os._exit(0)"),
        ("raise SystemExit", "sys.exit(None)"),
    ],
)
def test_a_plugin_that_fails_before_anything_ran_is_one_line_and_status_2(
    tmp_path, monkeypatch, capfd, where, code, said
):
    name = plugin(tmp_path, monkeypatch, **{where: code})
    monkeypatch.chdir(tmp_path)
    assert main([*mini(tmp_path), "--defense", name]) == 2
    line = one_line(capfd.readouterr().err)
    assert "mine" in line
    assert said in line
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("code", "workers"),
    [
        ("sys.exit(0)", "1"),
        ("os._exit(0)", "1"),
        ("raise KeyError('no luck')", "1"),
        ("sys.exit(0)", "2"),
        ("os._exit(0)", "2"),
    ],
)
@pytest.mark.slow
def test_a_plugin_that_ends_its_process_during_an_attack_is_a_gap_and_status_1(
    tmp_path, monkeypatch, capfd, code, workers
):
    name = plugin(tmp_path, monkeypatch, in_purify=f"if x.requires_grad: {code}")
    monkeypatch.chdir(tmp_path)
    words = [*mini(tmp_path), "--defense", name, "--workers", workers, "--json"]
    assert main(words) == 1
    captured = capfd.readouterr()
    (entry,) = json.loads(captured.out)
    assert entry["status"] == "gaps"
    assert {gap["row"] for gap in entry["gaps"]} == {"pgd"}
    assert "a gap" in captured.err


def test_sys_exit_in_an_outside_attacks_own_process_is_no_answer():
    from benchmark.engine.attacking.own_process import call_alone

    with pytest.raises(RuntimeError, match=r"sys\.exit\(0\)"):
        call_alone(sys.exit, 0)


@pytest.mark.slow
def test_what_a_plugin_prints_goes_to_standard_error(tmp_path, monkeypatch, capfd):
    noise = "print('NOISE'); os.write(1, b'NOISE'); os.system('echo NOISE')"
    name = plugin(tmp_path, monkeypatch, at_import=noise, in_prepare=noise, in_purify=noise)
    monkeypatch.chdir(tmp_path)
    for workers in ("1", "2"):
        words = [*mini(tmp_path), "--defense", name, "--workers", workers, "--json"]
        assert main([*words, "--runs", f"runs{workers}"]) == 0
        captured = capfd.readouterr()
        assert json.loads(captured.out)[0]["status"] == "complete"
        assert "NOISE" in captured.err
    assert main(["check", name, "--json"]) in (0, 1)
    assert len(json.loads(capfd.readouterr().out)) == 16


def test_listing_imports_no_plugin_however_slow_or_hostile(tmp_path, monkeypatch, capfd):
    about = tmp_path / "theirs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[purifybench.defenses]\nslow = slow_and_hostile:Mine\n<b>|x = slow_and_hostile:Mine\n"
    )
    (tmp_path / "slow_and_hostile.py").write_text("import os, time; time.sleep(60); os._exit(0)")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["list", "defenses", "--json"]) == 0
    names = [row["name"] for row in json.loads(capfd.readouterr().out)]
    assert {"slow", "<b>|x"} <= set(names)


def test_a_slow_import_is_said(tmp_path, monkeypatch, caplog):
    (tmp_path / "slow_one.py").write_text("import time; time.sleep(0.5); Mine = int")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("benchmark.compute.imports.SLOW_SECONDS", 0.05)
    imported("slow_one:Mine", what="defense")
    assert "still importing defense 'slow_one:Mine'" in caplog.text


@pytest.mark.parametrize(
    "name",
    [
        ":",
        "a:",
        ":b",
        ".a:B",
        "a..b:C",
        "a:b:c",
        "a:b.c",
        "../x:Y",
        "<b>:c",
        "a b:c",
        "-:-",
        "os:path",
    ],
)
def test_a_name_that_is_no_module_and_class_is_one_line(name):
    registry: Registry[object] = Registry("thing", base="builtins:int", group="none.such")
    with pytest.raises(BenchError) as caught:
        registry.get(name)
    assert "\n" not in str(caught.value)


class Meddling(Noise):
    """Changes every process-wide setting it can reach, whenever it is asked, and leaves them so."""

    name = "noise-under-test"

    def prepare(self, setting):
        meddle()

    def purify(self, x, *, draws):
        out = super().purify(x, draws=draws)
        meddle()
        return out


def meddle():
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("medium")
    torch.manual_seed(7)
    if not torch.is_grad_enabled():  # within the attack's own no_grad, as a careless plugin would
        torch.set_grad_enabled(True)


def test_what_a_plugin_leaves_changed_alters_no_other_job(tmp_path):
    alone = run(request(tmp_path / "alone", defense="none"))
    with settings_kept():
        run(request(tmp_path / "meddling", defense=Meddling()))
        assert torch.get_default_dtype() is torch.float32
        assert torch.get_default_device() == torch.device("cpu")
        after = run(request(tmp_path / "after", defense="none"))
    assert without_timing(after) == without_timing(alone)


def test_settings_and_generators_are_put_back():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with settings_kept():
        meddle()
    assert torch.equal(torch.rand(2), expected)
    assert torch.get_default_dtype() is torch.float32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("place", ["cuda.matmul", "cudnn.conv"])
def test_a_precision_that_was_set_by_its_newer_name_is_put_back_and_is_no_error(place):
    """torch's own reading of the older name fails then."""
    first, _, rest = place.partition(".")
    owner = getattr(getattr(torch.backends, first), rest)
    with settings_kept():
        owner.fp32_precision = "tf32"
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32 or place == "cuda.matmul"
    with settings_kept():
        pass


def test_global_generators_depend_on_the_place_alone():
    drawn = []
    for _ in range(2):
        torch.rand(3)
        with fresh_global_state("job", 0):
            drawn.append(torch.rand(2))
    with fresh_global_state("job", 1):
        assert not torch.equal(torch.rand(2), drawn[0])
    assert torch.equal(*drawn)


def test_an_interrupt_passes_through_containment():
    with pytest.raises(KeyboardInterrupt), sandboxed("it"):
        raise KeyboardInterrupt


def test_os_exit_is_itself_again_afterwards_and_in_forked_children():
    real = os._exit
    with exits_raised():
        with pytest.raises(SystemExit):
            os._exit(0)
        if threading.active_count() == 1:  # forking beside threads is warned about
            child = os.fork()
            if child == 0:
                os._exit(41)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 41
    assert os._exit is real
