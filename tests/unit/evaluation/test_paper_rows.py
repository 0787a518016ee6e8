"""The rows of the five papers on docs/attacks.md, run from the first to the last on a task of random images."""

import re
from pathlib import Path

import pytest

from benchmark.evaluation.execute.run import run
from benchmark.plugins import ATTACKS
from benchmark.records.protocol import Column
from benchmark.records.protocol_files import parse_protocol
from tests.helpers.tiny_task import Noise, dataset, request

PAGE = (Path(__file__).parents[3] / "docs" / "attacks.md").read_text()
N = 2


def protocol(name, *, only=""):
    """A protocol of the page without AutoAttack, which takes a process of its own, or the rows of one kind."""
    found = re.search(rf"```yaml\n# {name}\.yaml\n(.*?)```", PAGE, re.DOTALL)
    whole = parse_protocol(found.group(1).encode(), where=name)
    rows = [row for row in whole.attacks if row.column is not Column.AUTOATTACK]
    rows = [row for row in rows if only in row.id or row.attack == "clean"]
    return whole.model_copy(update={"attacks": rows})


@pytest.mark.parametrize(
    ("name", "threat", "defense", "only"),
    [
        ("papers-linf", "linf:0.1", "none", ""),
        ("papers-l2", "l2:3", "none", ""),
        ("papers-l2", "l2:0.3", Noise(), "eot"),
    ],
    ids=["linf", "l2", "l2 with EOT 20"],
)
def test_every_row_runs_and_costs_what_its_attack_says(tmp_path, name, threat, defense, only):
    rows = protocol(name, only=only)
    entry = run(
        request(
            tmp_path,
            protocol=rows,
            threat=threat,
            defense=defense,
            dataset=dataset(N),
            samples=N,
            precision="float32",
        )
    )
    assert entry.status == "complete"
    assert not entry.gaps
    asked = {row.id: row for row in rows.attacks}
    for found in entry.attacks:
        row = asked[found.id.partition(":")[0]]
        attack = ATTACKS.get(row.attack)(**row.arguments)
        eot = row.eot if only else 1
        said = attack.passes(classes=4, eot=eot, stochastic=bool(only), shape=(1, 4, 4))
        assert found.cost.backwards_per_image <= said.backwards
        if row.arguments.get("keep") == "last":  # of full length
            assert found.cost.backwards_per_image == row.arguments["steps"] * eot


def test_every_attack_of_the_shelf_is_on_the_page():
    table = set(re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE, re.MULTILINE))
    assert set(ATTACKS._own) <= table
