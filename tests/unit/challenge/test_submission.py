"""What comes from outside: which files of images are read, which commands, and what is refused."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmark.challenge.judge import refuse_made_for_draws
from benchmark.challenge.submission import read_outside
from benchmark.engine.criterion import Outcome, Rule
from benchmark.engine.threat import Norm, Threat
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.reproduce import Where, request_of
from benchmark.records.entry import Entry
from tests.helpers.run_builder import Run, deterministic


def fixed() -> Entry:
    """Six images of a deterministic victim: right in the worst case are the first three."""
    return Run(rows=deterministic(clean="111110", pgd="111000")).entry()


def npz(path: Path, **arrays) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def pixels(n: int = 2, dtype=np.float32):
    return np.full((n, 1, 8, 8), 0.5, dtype=dtype)


def test_a_file_is_read_with_its_originals_and_its_hash(tmp_path):
    path = npz(tmp_path / "x.npz", x_adv=pixels(), indices=np.array([104, 101]), labels=[4, 1])
    found = read_outside(path, fixed())
    assert found.positions.tolist() == [4, 1]
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.x_adv.shape == (2, 1, 8, 8)
    whole = read_outside(npz(tmp_path / "w.npz", x_adv=pixels(6, np.dtype(">f8"))), fixed())
    assert whole.positions.tolist() == list(range(6))


def _raw(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def _huge(path: Path) -> Path:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 1, 8, 8)}\n"
    return _raw(path, {"x_adv.npy": _header(header) + b"\0" * 9999})


def _pickled(path: Path) -> Path:
    content = io.BytesIO()
    np.save(content, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return _raw(path, {"x_adv.npy": content.getvalue()})


def _bomb(path: Path) -> Path:
    return _raw(path, {"x_adv.npy": b"\0" * 3_000_000})


NAN = pixels()
NAN[0, 0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda p: p, "cannot be read"),
        (lambda p: p.write_bytes(b"no zip") and p, "damaged or no .npz"),
        (lambda p: npz(p, images=pixels()), "expected x_adv"),
        (lambda p: npz(p, x_adv=pixels(), extra=[1]), "expected x_adv"),
        (lambda p: npz(p, x_adv=pixels()), "no indices"),
        (lambda p: npz(p, x_adv=pixels(7)), "n from 1 to 6"),
        (lambda p: npz(p, x_adv=pixels(0), indices=np.array([], int)), "n from 1 to 6"),
        (lambda p: npz(p, x_adv=np.zeros((2, 8, 8, 1), np.float32)), "expected"),
        (lambda p: npz(p, x_adv=pixels().astype(np.uint8), indices=[100, 101]), "bytes over 255"),
        (lambda p: npz(p, x_adv=pixels().astype(np.float16), indices=[100, 101]), "as float16"),
        (lambda p: npz(p, x_adv=NAN, indices=[100, 101]), "values from nan"),
        (lambda p: npz(p, x_adv=pixels() + 1, indices=[100, 101]), r"expected \[0, 1\]"),
        (lambda p: npz(p, x_adv=pixels(), indices=[100, 99]), "image 99"),
        (lambda p: npz(p, x_adv=pixels(), indices=[100, 100]), "twice"),
        (lambda p: npz(p, x_adv=pixels(), indices=[100]), "1 indices for 2"),
        (lambda p: npz(p, x_adv=pixels(), indices=[100.0, 101.0]), "expected integers"),
        (lambda p: npz(p, x_adv=pixels(), indices=[100, 101], labels=[1, 0]), "other labels"),
        (_pickled, "Python objects"),
        (_huge, "other bytes"),
        (_bomb, "larger than"),
        (lambda p: _raw(p, {"x_adv.npy": _header("{'descr': 1}\n")}), "damaged"),
    ],
)
def test_a_file_of_another_form_is_refused_with_its_reason(made, expected, tmp_path):
    path = made(tmp_path / "x.npz")
    with pytest.raises(BenchError, match=expected) as refused:
        read_outside(path, fixed())
    assert "\n" not in str(refused.value)


def test_a_command_becomes_the_request_that_it_was():
    entry = fixed().model_copy(
        update={
            "command": "bench run --defense 'atop+jpeg' --model digits-mlp --dataset digits --threat linf:0.1 "
            "--protocol my.yaml --samples 6 --seed 0 --order robustbench --classes 1,2 --precision float64 "
            "--weights w.safetensors --defense-arg jpeg.quality=50"
        }
    )
    request = request_of(entry, Where(device="cpu"))
    assert (request.defense, request.model, request.dataset) == (
        "atop+jpeg",
        "digits-mlp",
        "digits",
    )
    assert (request.threat, request.samples, request.seed) == ("linf:0.1", 6, 0)
    assert (request.order, request.only_classes, request.precision) == (
        "robustbench",
        (1, 2),
        "float64",
    )
    assert request.weights == "w.safetensors"
    assert request.defense_args == {"jpeg.quality": 50}
    assert request_of(entry, Where(weights="other")).weights == "other"


def test_a_budget_is_the_entrys_to_its_last_digit():
    entry = Run(rows=deterministic(clean="11", pgd="10"), threat="l2:0.12345678").entry()
    command = "bench run --defense none --threat l2:0.123457"
    request = request_of(entry.model_copy(update={"command": command}), Where())
    assert request.threat == Threat(Norm.L2, 0.12345678)


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf /",
        "bench train --defense atop",
        "bench run --defense",
        "bench run --defense a --defense b",
        "bench run --runs somewhere",
        "bench run defense a",
        "bench run --defense 'a",
        "bench run --defense a --classes x",
    ],
)
def test_a_command_that_bench_run_does_not_write_is_refused(command):
    with pytest.raises(BenchError, match="none that bench run writes"):
        request_of(fixed().model_copy(update={"command": command}), Where())


def shares(*counts: int) -> dict[int, dict[Rule, Outcome]]:
    """Images of 20 draws each, so many of which are right."""
    return {
        i: dict.fromkeys(Rule, Outcome(0.0, 0.0, "1" * n + "0" * (20 - n)))
        for i, n in enumerate(counts)
    }


def test_images_made_for_the_draws_that_count_are_refused_and_chance_is_not():
    refuse_made_for_draws(shares(8, 12, 10), shares(12, 10, 13))
    refuse_made_for_draws(shares(20, 20), shares(0, 20))
    refuse_made_for_draws(shares(0, 20), shares(0, 20))
    with pytest.raises(BenchError, match="made for the very draws"):
        refuse_made_for_draws(shares(0), shares(14))
    with pytest.raises(BenchError, match="made for the very draws"):
        refuse_made_for_draws(shares(*[8] * 20), shares(*[14] * 20))
