"""The workflows of docs/ci, run against a GitHub of our own: what they say, where, and to whom they listen."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmark.engine.criterion import Outcome
from benchmark.records.entry_files import write_entry
from tests.helpers.actions import Hub, Runner
from tests.helpers.run_builder import Run

ROOT = Path(__file__).resolve().parents[2]
CI = ROOT / "docs" / "ci"
HEAD, NEXT, BASE = "a" * 40, "c" * 40, "b" * 40
MARK = "<!-- purifybench -->\n"

pytestmark = pytest.mark.skipif(shutil.which("jq") is None, reason="gh brings jq, and none is here")


def entry(worst):
    """An entry of the purifier that these workflows gate."""
    rows = {
        "clean": [Outcome(1.0, 2.0, "1")] * len(worst),
        "pgd": [Outcome(float(bit), 0.1, bit) for bit in worst],
    }
    return Run(rows=rows, label="my-purifier").entry()


class Lab:
    """A repository with the gate, and what evaluating a side of a pull request ends in."""

    def __init__(self, folder):
        self.folder = folder
        self.hub = Hub(folder / "hub")
        self.hub.folder.mkdir()
        self.hub.set(pulls=[self.pull()])
        self.found("base", worst="1" * 48 + "0" * 16)

    def pull(self, number=12, head=HEAD, state="open"):
        fork = {"sha": head, "ref": "$(touch owned)", "repo": {"full_name": "someone/purifier"}}
        return {"number": number, "state": state, "head": fork, "base": {"sha": BASE}}

    def found(self, side, *, worst=None, log=""):
        place = self.folder / "found" / side
        shutil.rmtree(place, ignore_errors=True)
        (place / "results").mkdir(parents=True)
        (place / "log.txt").write_text(log)
        if worst is not None:
            write_entry(entry(worst), place / "results" / "x.json")

    def checkout(self, path, values):
        """The tree of a commit: the gate's script, of which evaluating alone is replaced."""
        path.mkdir(parents=True)
        is_base = values.get("ref") == BASE
        if not is_base:
            assert path.name == "candidate"
            (path / "gate.sh").write_text("echo rewritten; exit 0\n")
            return
        shutil.copy(CI / "gate.sh", path / "real.sh")
        (path / "gate.sh").write_text(
            f'[ "$1" != --evaluate ] || {{ mkdir -p gate; cp -R {self.folder}/found/$2 gate; exit 0; }}\n'
            f'exec sh base/real.sh "$@"\n'
        )

    def request(self, head=HEAD, *, hand_in=None):
        """A push to the pull request: both workflows, one after the other."""
        if hand_in is None:
            first = self.runner("purifier", {"pull_request": {"number": 12, "base": {"sha": BASE}}})
            assert first.run(CI / "purifier.yml") == {"candidate": "success"}
            self.hub.artifact(5, "candidate", first.folder / "artifacts" / "candidate")
        else:
            shutil.copy(hand_in, self.hub.folder / "5-candidate.zip")
        about = {"id": 5, "event": "pull_request", "head_sha": head, "pull_requests": []}
        return self.runner("gate", {"workflow_run": about}).run(CI / "gate.yml")

    def runner(self, name, event):
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return Runner(self.hub, folder, self.checkout, event)

    def said(self, number=12):
        return [comment["body"] for comment in self.hub.state["comments"].get(str(number), [])]

    def status(self, head=HEAD):
        found = self.hub.state["statuses"].get(head, {})
        return found.get("state"), found.get("description")


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return Lab(tmp_path)


def test_a_forks_request_is_told_and_its_next_push_updates_the_one_comment(lab):
    """The event names no pull request; a comment of someone else is left alone, however it begins."""
    theirs = {"id": 1, "user": {"login": "someone"}, "body": f"{MARK}held, honestly"}
    lab.hub.set(comments={"12": [theirs]})
    lab.found("candidate", worst="1" * 48 + "0" * 16)
    assert set(lab.request().values()) == {"success"}
    other, said = lab.said()
    assert other == theirs["body"]
    assert said.startswith(f"{MARK}### ✅ my-purifier on net")
    assert lab.status() == ("success", "held")
    lab.hub.set(pulls=[lab.pull(head=NEXT)])
    lab.found("candidate", worst="0" * 64)
    assert set(lab.request(NEXT).values()) == {"success"}
    other, said = lab.said()
    assert other == theirs["body"]
    assert said.startswith(f"{MARK}### ❌ my-purifier on net")
    assert lab.status(NEXT) == ("failure", "fell")
    assert not list(lab.folder.rglob("owned"))


def test_a_crash_is_told_with_its_cause_as_text(lab):
    lab.found(
        "candidate",
        log="x\n" * 100 + "RuntimeError: out of ideas\x1b[0m\n```\n<img src=x> @everyone ‮\n",
    )
    assert set(lab.request().values()) == {"success"}
    (said,) = lab.said()
    assert "my-purifier: the candidate could not be evaluated" in said
    assert "\n    RuntimeError: out of ideas[0m\n    ```\n    <img src=x> @everyone \n" in said
    assert said.count("\n    x") < 40
    assert lab.status() == ("error", "cannot be compared")


@pytest.mark.parametrize(
    ("pulls", "result"),
    [
        ([], "success"),
        ([{"head": NEXT}], "success"),
        ([{"state": "closed"}], "success"),
        ([{"number": 12}, {"number": 13}], "failure"),
    ],
    ids=["none", "head moved on", "closed", "two of one head"],
)
def test_where_no_one_request_has_the_head_nothing_is_said(lab, tmp_path, pulls, result):
    lab.hub.set(pulls=[lab.pull(**fields) for fields in pulls])
    (tmp_path / "x.zip").write_bytes(b"")
    done = lab.request(hand_in=tmp_path / "x.zip")
    assert done == {"find": result, "judge": "skipped", "comment": "skipped"}
    assert lab.hub.state["comments"] == {}
    assert lab.hub.state["statuses"] == {}


def test_an_archive_that_is_none_is_a_candidate_without_evaluation(lab, tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK not really")
    lab.request(hand_in=tmp_path / "x.zip")
    (said,) = lab.said()
    assert "could not be evaluated" in said
    assert "    the archive of the candidate cannot be read: File is not a zip file" in said
    assert lab.status() == ("error", "cannot be compared")


def test_a_gate_that_fails_itself_says_so(lab):
    lab.found("candidate", worst="1" * 64)
    lab.checkout = lambda path, values: path.mkdir(parents=True)  # a base from before the gate
    about = {"id": 5, "event": "pull_request", "head_sha": HEAD}
    done = lab.runner("gate", {"workflow_run": about}).run(CI / "gate.yml")
    assert done == {"find": "success", "judge": "failure", "comment": "success"}
    assert lab.said() == [
        f"{MARK}### ⚠️ the gate itself failed: https://hub.example/lab/purifier/actions/runs/7\n"
    ]
    assert lab.status() == ("error", "cannot be compared")


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """Unpacks an archive as the gate does, and gives the files that this made."""

    def run(members):
        desk = tmp_path / "desk"
        shutil.rmtree(desk, ignore_errors=True)
        desk.mkdir()
        with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        script = ["sh", str(CI / "gate.sh"), "--unpack", str(tmp_path / "x.zip")]
        subprocess.run(
            script, cwd=desk, check=True, env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}
        )
        made = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "x.zip"]
        return {str(path.relative_to(desk)): path.read_text() for path in made}

    return run


def test_an_archive_is_taken_as_data_under_names_of_our_own(unpacked):
    found = unpacked(
        {
            "results/digits/x.json": "{}",
            "../../../evil.json": "[]",
            "gate.sh": "echo evil",
            "log.txt": "said",
            "results/schema.json": "{}",
        }
    )
    assert found == {
        "gate/candidate/results/0.json": "{}",
        "gate/candidate/results/1.json": "[]",
        "gate/candidate/log.txt": "said",
    }


def test_an_archive_that_unpacks_to_very_much_is_no_evaluation(unpacked):
    found = unpacked({"results/x.json": " " * 40_000_000})
    assert found == {
        "gate/candidate/log.txt": "the archive of the candidate cannot be read: it holds more than 16 MB\n"
    }
