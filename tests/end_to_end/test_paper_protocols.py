"""The papers' protocols as whole runs on digits: every row of the cheap ones is measured, none is a gap."""

from __future__ import annotations

import pytest

from benchmark.evaluation.execute.run import run
from benchmark.evaluation.prepare.request import Request
from benchmark.records.protocol_files import load_protocol, protocol_names

pytestmark = pytest.mark.slow

CHEAP = {  # a protocol, a purifier with weights for digits or without any, and a threat of its kind
    "add-table1": ("add", "linf:0.15"),
    "add-table1-local": ("add", "pixels:64"),
    "add-table2": ("add-s", "stadv:0.1"),
    "advae-table3": ("advae", "linf:0.15"),
    "aid-table10": ("aid", "linf:0.15"),
    "aid-table8": ("aid", "linf:0.15"),
    "aid-table8-cw": ("aid", "l2:3"),
    "aid-table8-svhn": ("aid", "linf:0.15"),
    "atop-table6-stadv": ("gaussian", "stadv:0.05"),
    "atop-table7-cw": ("gaussian", "l2:8"),
    "atop-table8": ("gaussian", "l2:1"),
    "hgd-athalye2018": ("hgd", "linf:0.15"),
    "hgd-table3": ("hgd", "linf:0.15"),
}
COSTLY = {
    "add-table1-l2": "C&W of 2,700 steps and 5,000 of the boundary attack",
    "add-table2-wasserstein": "300 steps, each with the best plan for every image",
    "add-table5": "AutoAttack",
    "advae-table1": "a substitute is taught",
    "advae-table1-cw": "1,000 steps of C&W",
    "advae-table4": "a substitute is taught",
    "aid-croce2022": "AutoAttack, and APGD of 1,000 steps",
    "atop-table2": "AutoAttack",
    "atop-table3": "AutoAttack",
    "atop-table5": "AutoAttack",
    "atop-table6": "AutoAttack",
    "atop-table7": "PGD of 1,000 steps",
}


def test_of_each_it_is_said_whether_it_is_run_here():
    assert set(CHEAP) | set(COSTLY) == {
        name for name in protocol_names() if load_protocol(name).paper
    }


@pytest.mark.parametrize("name", CHEAP)
def test_every_row_of_it_is_measured_on_digits(name, tmp_path):
    defense, threat = CHEAP[name]
    wanted = {"protocol": name, "dataset": "digits", "threat": threat, "samples": 2}
    where = {"runs": tmp_path, "device": "cpu", "workers": 1}
    entry = run(Request(defense=defense, **wanted, **where))
    assert (entry.status, entry.gaps) == ("complete", ())
    measured = {row.id.partition(":")[0]: row for row in entry.attacks}
    assert set(measured) == {row.id for row in load_protocol(name).attacks}
    assert all(row.status == "ok" and row.rates for row in measured.values())
    assert entry.preliminary
