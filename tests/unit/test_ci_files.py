"""The files of docs/ci: what each workflow may do, and that no job with rights runs what a request brings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from benchmark.identity.version import RELEASE

ROOT = Path(__file__).resolve().parents[2]
CI = ROOT / "docs" / "ci"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(CI.glob("*.yml"))}
TRIGGER = True
"""YAML reads the word `on` as true."""


def steps(workflow):
    return [(name, step) for name, job in workflow["jobs"].items() for step in job["steps"]]


def test_there_are_two_workflows_of_which_one_follows_the_other():
    assert set(WORKFLOWS) == {"purifier", "gate"}
    assert WORKFLOWS["purifier"][TRIGGER] == "pull_request"
    assert WORKFLOWS["gate"][TRIGGER] == {
        "workflow_run": {"workflows": [WORKFLOWS["purifier"]["name"]], "types": ["completed"]}
    }


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_action_is_pinned_by_the_hash_of_a_commit_with_its_version_beside_it(name):
    lines = [line for line in (CI / f"{name}.yml").read_text().splitlines() if " uses: " in line]
    assert lines
    for line in lines:
        assert re.search(r"uses: actions/[a-z-]+(/[a-z]+)?@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), (
            line
        )


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_script_has_anything_filled_in(name):
    """What GitHub would paste into a script, whoever wrote it, reaches it by a variable."""
    scripts = [step["run"] for _, step in steps(WORKFLOWS[name]) if "run" in step]
    assert scripts
    assert not [script for script in scripts if "${{" in script]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_job_has_a_time_limit_and_no_checkout_leaves_a_token(name):
    assert all(job["timeout-minutes"] <= 90 for job in WORKFLOWS[name]["jobs"].values())
    for _, step in steps(WORKFLOWS[name]):
        if "actions/checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


def test_what_runs_the_requests_code_may_read_and_has_no_secret():
    workflow = WORKFLOWS["purifier"]
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in workflow["jobs"]["candidate"]
    text = (CI / "purifier.yml").read_text()
    assert "secrets." not in text
    assert "github.token" not in text


def test_rights_are_given_job_by_job_and_the_one_that_writes_runs_nobodys_code():
    workflow = WORKFLOWS["gate"]
    assert workflow["permissions"] == {}
    rights = {name: job["permissions"] for name, job in workflow["jobs"].items()}
    assert rights == {
        "find": {"pull-requests": "read"},
        "judge": {"actions": "read", "contents": "read"},
        "comment": {"pull-requests": "write", "statuses": "write"},
    }
    used = [step.get("uses", "") for name, step in steps(workflow) if name == "comment"]
    assert not [action for action in used if "checkout" in action or "setup" in action]
    assert not [s for n, s in steps(workflow) if n == "comment" and "gate.sh" in s.get("run", "")]


def test_the_job_that_compares_checks_out_the_base_alone():
    workflow = WORKFLOWS["gate"]
    found = [
        step["with"] for _, step in steps(workflow) if "actions/checkout" in step.get("uses", "")
    ]
    assert [(values["path"], values["ref"]) for values in found] == [
        ("base", "${{ needs.find.outputs.base }}")
    ]


def test_the_script_comes_from_the_base_everywhere():
    for name in WORKFLOWS:
        for _, step in steps(WORKFLOWS[name]):
            scripts = re.findall(r"\S*gate\.sh", step.get("run", ""))
            assert set(scripts) <= {"base/gate.sh"}


def test_finished_shards_are_kept_whatever_came_of_the_run():
    for name, place in (("purifier", "gate/candidate/runs"), ("gate", "gate/base/runs")):
        saved = [s for _, s in steps(WORKFLOWS[name]) if "cache/save" in s.get("uses", "")]
        assert [(s["if"], s["with"]["path"]) for s in saved] == [("always()", place)]
        uses = [s.get("uses", "") for _, s in steps(WORKFLOWS[name])]
        assert not [action for action in uses if re.match(r"actions/cache@", action)]


def test_both_sides_are_evaluated_alike_by_this_version():
    one, other = (WORKFLOWS[name]["env"] for name in ("purifier", "gate"))
    assert one == other
    assert one["PURIFYBENCH"] == f"purifybench=={RELEASE}"
