"""The harness's part of a key: all source from which a shard reaches a number, and no other."""

import ast
from pathlib import Path

import pytest

from attacks.pgd import PGD
from attacks.square import Square
from benchmark.compute.own_packages import ROOT
from benchmark.evaluation.prepare.plugin_ids import _ROOTS, harness_sha256, plugin_of
from benchmark.identity import source
from benchmark.identity.closure import closure_of
from benchmark.identity.source import source_of
from benchmark.plugins import ATTACKS, DATASETS, DEFENSES

FILES = closure_of(_ROOTS).files
PLUGINS = {
    path.partition(":")[0]
    for shelf in (ATTACKS, DEFENSES, DATASETS)
    for path in shelf.paths().values()
} | {"benchmark.datasets.given", "benchmark.datasets.class_folders"}
NAMED = {
    *("benchmark", "benchmark.former_names", "benchmark.compute.imports"),
    "benchmark.classifiers.zoo_robustbench",
}
"""Where modules are imported by a text: the face, modules by former names, plugins by `module:Class`,
RobustBench's architectures.

What they import is in the key by the types of what is made of it.
"""


class Mutant(ast.NodeTransformer):
    """Changes the first operator or constant of a module that is no prose."""

    def __init__(self):
        self.is_done = False

    def visit_Expr(self, node):
        return node if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Constant(self, node):
        if self.is_done or node.value is None or node.value is ...:
            return node
        self.is_done = True
        return ast.Constant(not node.value if isinstance(node.value, bool) else node.value * 2 or 1)

    def visit_FormattedValue(self, node):
        return node


def mutated(content):
    mutant = Mutant()
    tree = mutant.visit(ast.parse(content))
    if not mutant.is_done:
        tree.body.append(ast.parse("changed = 1").body[0])
    return ast.unparse(ast.fix_missing_locations(tree)).encode()


@pytest.mark.parametrize("module", sorted(FILES))
def test_another_constant_in_any_reachable_file_asks_for_another_key(module, monkeypatch):
    before, path = harness_sha256(), FILES[module]
    original = source.read
    text = mutated(path.read_bytes())
    monkeypatch.setattr(source, "read", lambda file: text if file == path else original(file))
    changed = source._source.__wrapped__(path, None)
    monkeypatch.setattr(
        "benchmark.identity.closure.source_of",
        lambda file: changed if file == path else source_of(file),
    )
    assert harness_sha256() != before


def test_another_constant_in_an_attack_or_its_tools_asks_for_another_key(monkeypatch):
    for module in ("attacks.pgd", "benchmark.engine.attacking.targeted"):
        before = plugin_of(PGD(), label="pgd")
        path = closure_of(["attacks.pgd"]).files[module]
        changed = source.Source("0" * 64, source_of(path).imports)
        with monkeypatch.context() as patch:
            patch.setattr(
                "benchmark.identity.closure.source_of",
                lambda file, path=path, changed=changed: (
                    changed if file == path else source_of(file)
                ),
            )
            after = plugin_of(PGD(), label="pgd")
            assert (after.source, after.harness) != (before.source, before.harness)


def test_what_an_attack_alone_uses_is_in_no_other_attacks_key():
    assert "benchmark.engine.attacking.queries" in closure_of([Square.__module__]).files
    assert "benchmark.engine.attacking.queries" not in {
        **FILES,
        **closure_of([PGD.__module__]).files,
    }


def test_what_decides_a_number_is_in_every_key():
    expected = """
        classifiers.alignment classifiers.ensemble classifiers.file classifiers.fitting
        classifiers.state classifiers.zoo compute.determinism compute.memory compute.sandbox
        datasets.preparation engine.attacker_images engine.attacking.attack engine.attacking.mixed_precision
        engine.attacking.target engine.criterion engine.dataset engine.judging.verdict engine.randomness
        engine.threat engine.victims.classifier engine.victims.defense engine.victims.logits
        engine.victims.purified engine.victims.setting engine.victims.taps engine.victims.victim
        evaluation.execute.shard evaluation.prepare.bench evaluation.prepare.given_networks
        evaluation.prepare.loading
    """
    assert {f"benchmark.{name}" for name in expected.split()} <= set(FILES)


def test_what_publishes_plans_or_prints_is_in_no_key():
    reached = set(closure_of([*_ROOTS, *PLUGINS]).files)
    others = ("audit", "challenge", "cli", "contract", "estimate", "evaluation", "publishing")
    others += ("scoring", "selftest", "training")
    found = {name for name in reached if name.split(".")[1:2] and name.split(".")[1] in others}
    assert found == {
        *("benchmark.evaluation", "benchmark.evaluation.execute", "benchmark.evaluation.prepare"),
        *("benchmark.evaluation.execute.shard", "benchmark.evaluation.prepare.bench"),
        *("benchmark.evaluation.prepare.given_networks", "benchmark.evaluation.prepare.loading"),
    }


def test_every_import_of_a_reachable_file_is_written_as_one():
    files = closure_of([*_ROOTS, *PLUGINS]).files
    assert {name for name, path in files.items() if source_of(path).is_open} <= NAMED


def test_only_files_of_this_project_are_the_harnesss():
    assert all(ROOT in Path(path).parents for path in FILES.values())
