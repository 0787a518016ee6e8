"""The modules that are mutated, and the tests that must notice."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parents[2]
_TESTS = ROOT / "tests/unit"

_SUBJECTS = (
    "benchmark/engine/{attacker_images,criterion,randomness,threat}.py",
    "benchmark/engine/attacking/{adam,gradient_steps,label_walk,losses,minimum_norm}.py",
    "benchmark/engine/attacking/{mixed_precision,perturbations,queries,rim,search}.py",
    "benchmark/engine/attacking/{target,targeted}.py",
    "benchmark/engine/judging/attack_batch.py",
    "benchmark/engine/judging/verdict.py",
    "benchmark/contract/slopes.py",
    "benchmark/engine/victims/{checkpointed,operations,purified,recovered,recovery_rules}.py",
    "benchmark/engine/victims/{twins,victim}.py",
    "benchmark/estimate/write_costs.py",
    "benchmark/evaluation/execute/shard.py",
    "benchmark/evaluation/prepare/{bench,plan}.py",
    "benchmark/publishing/leaderboard/{comparability,comparison,paired,ranking}.py",
    "benchmark/records/{rates,result}.py",
    "benchmark/scoring/{aggregate,diagnosis_flags,flag_parts,flags,statistics}.py",
    "attacks/*.py",
    "defenses/{add/add,add/losses,advae/advae,advae/losses,aid/aid,atop/atop,hgd/guidance,hgd/hgd}.py",
)
"""All that decides or derives a number."""

_FURTHER: dict[str, tuple[str, ...]] = {
    "benchmark.engine.attacking.minimum_norm": ("passes", "targeted"),
    "benchmark.publishing.leaderboard.comparability": ("comparability", "comparison"),
    "benchmark.estimate.write_costs": ("passes",),
    "benchmark.evaluation.prepare.bench": ("shard",),
    "benchmark.records.rates": ("entry",),
    **{
        f"benchmark.engine.victims.{name}": ("recovered",)
        for name in ("operations", "recovery_rules", "twins")
    },
}
"""Files of tests that reach a module without importing it."""
_PINNED = (
    *(
        f"benchmark.engine.attacking.{name}"
        for name in (
            *("adam", "gradient_steps", "label_walk", "losses", "minimum_norm", "perturbations"),
            *("queries", "rim", "search", "target", "targeted"),
        )
    ),
    *("benchmark.engine.randomness", "benchmark.engine.threat"),
    *(f"benchmark.engine.victims.{name}" for name in ("checkpointed", "purified", "victim")),
)
"""Modules that the attacks of tests/unit/attacks/test_pinned.py go through, beside the attacks themselves."""


def sources() -> dict[str, str]:
    """The source text of each mutated module, by its name."""
    found = sorted(path for glob in _SUBJECTS for each in _braces(glob) for path in ROOT.glob(each))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text() for path in found
    }


def file_of(module: str) -> Path:
    """Where a module stands."""
    return ROOT / f"{module.replace('.', '/')}.py"


def tests_of(module: str) -> list[Path]:
    """Files of unit tests that import a module, and those declared; the ones named after it first."""
    found = {path for path, imported in _imports().items() if module in imported}
    further = [f"test_{name}.py" for name in _FURTHER.get(module, ())]
    if module.startswith("attacks.") or module in _PINNED:
        further.append("test_pinned.py")
    found |= {path for path in _imports() if path.name in further}
    stem = module.rpartition(".")[2]
    return sorted(found, key=lambda path: (stem not in path.stem, path.stat().st_size, path))


@functools.cache
def _imports() -> dict[Path, set[str]]:
    """The modules that each file of unit tests imports."""
    found: dict[Path, set[str]] = {}
    for path in sorted(_TESTS.rglob("test_*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {
            alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names
        }
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        found[path] = names
    return found


def _braces(glob: str) -> list[str]:
    head, brace, rest = glob.partition("{")
    names, _, tail = rest.partition("}")
    return [f"{head}{name}{tail}" for name in names.split(",")] if brace else [glob]
