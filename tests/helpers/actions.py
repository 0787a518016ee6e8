"""A small stand-in for GitHub: runs the scripts of a workflow as its runners do, against a `gh` of our own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

GH = Path(__file__).with_name("fake_gh.py")
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
PLACE = re.compile(r"\b(?:github|needs|steps)(?:\.[\w-]+)+")


@dataclass
class Hub:
    """What GitHub knows: requests, comments, statuses and artifacts, in a folder that `gh` reads and writes."""

    folder: Path

    @property
    def state(self) -> dict[str, Any]:
        return json.loads((self.folder / "hub.json").read_text())

    def set(self, **values: Any) -> None:
        path = self.folder / "hub.json"
        known = self.state if path.exists() else {}
        path.write_text(json.dumps({"comments": {}, "statuses": {}} | known | values))

    def artifact(self, run: int, name: str, folder: Path) -> None:
        """Packs a folder as the artifact of a run."""
        packed = self.folder / f"{run}-{name}.zip"
        with zipfile.ZipFile(packed, "w") as archive:
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                archive.write(file, file.relative_to(folder))


@dataclass
class Runner:
    """Runs a workflow's jobs one after the other, each in an empty workspace.

    Args:
        hub: GitHub.
        folder: For workspaces and what jobs hand on.
        checkout: Fills a folder with what `actions/checkout` would bring for a `with:`.
        event: The event, as `github.event` has it.
    """

    hub: Hub
    folder: Path
    checkout: Callable[[Path, Mapping[str, Any]], None]
    event: Mapping[str, Any]
    done: dict[str, Any] = field(default_factory=dict)

    def run(self, workflow: Path) -> dict[str, str]:
        """The result of each job: `success`, `failure` or `skipped`."""
        content = yaml.safe_load(workflow.read_text())
        for name, job in content["jobs"].items():
            needs = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
            went_well = all(self.done[need]["result"] == "success" for need in needs)
            context = self._context(needs={need: self.done[need] for need in needs})
            asked = str(job.get("if", "success()"))
            runs = (went_well or "always()" in asked) and self._holds(asked, context, went_well)
            self.done[name] = {"result": "skipped", "outputs": {}}
            if runs:
                self.done[name] = self._job(name, job, content.get("env", {}), context)
        return {name: found["result"] for name, found in self.done.items()}

    def _context(self, **more: Any) -> dict[str, Any]:
        github = {"event": self.event, "token": "a token", "run_id": "7", "run_attempt": "1"}
        github |= {"server_url": "https://hub.example", "repository": "lab/purifier"}
        return {"github": github, "steps": {}, **more}

    def _job(self, name: str, job: Any, env: Mapping[str, str], context: Any) -> dict[str, Any]:
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        ok = True
        for i, step in enumerate(job["steps"]):
            if not self._holds(str(step.get("if", "success()")), context, ok):
                continue
            filled = {
                key: self._filled(str(value), context)
                for key, value in {**env, **step.get("env", {})}.items()
            }
            permissions = json.dumps(job.get("permissions", {}))
            filled |= {"FAKE_HUB": str(self.hub.folder), "FAKE_PERMISSIONS": permissions}
            worked, outputs = self._step(step, place, filled, context, i)
            context["steps"][step.get("id", f"step {i}")] = {"outputs": outputs}
            ok = ok and (worked or bool(step.get("continue-on-error")))
        outputs = {k: self._filled(v, context) for k, v in job.get("outputs", {}).items()}
        return {"result": "success" if ok else "failure", "outputs": outputs}

    def _step(
        self, step: Any, place: Path, env: Mapping[str, str], context: Any, i: int
    ) -> tuple[bool, dict[str, str]]:
        if "uses" in step:
            values = {k: self._filled(str(v), context) for k, v in step.get("with", {}).items()}
            return self._action(step["uses"].partition("@")[0], place, values), {}
        output, summary = place / f"output-{i}", self.folder / "summary.md"
        output.touch()
        asked = {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)}
        tools = self.folder / "bin"
        tools.mkdir(exist_ok=True)
        _program(tools / "gh", f'exec "{sys.executable}" "{GH}" "$@"')
        _program(tools / "pip", "true")
        ran = subprocess.run(
            ["bash", "-e", "-c", step["run"]],
            cwd=place,
            env=os.environ
            | {"PATH": f"{tools}:{os.environ['PATH']}", "GITHUB_REPOSITORY": "lab/purifier"}
            | asked
            | env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        pairs = [line.partition("=") for line in output.read_text().splitlines()]
        return ran.returncode == 0, {key: value for key, _, value in pairs}

    def _action(self, name: str, place: Path, values: Mapping[str, str]) -> bool:
        if name == "actions/checkout":
            self.checkout(place / values["path"], values)
        elif name == "actions/upload-artifact":
            kept = self.folder / "artifacts" / values["name"]
            kept.mkdir(parents=True, exist_ok=True)
            for path in values["path"].split():
                if (place / path).is_dir():
                    shutil.copytree(place / path, kept / Path(path).name)
                elif (place / path).is_file():
                    shutil.copy(place / path, kept)
        elif name == "actions/download-artifact":
            kept = self.folder / "artifacts" / values["name"]
            if not kept.exists():
                return False
            shutil.copytree(kept, place, dirs_exist_ok=True)
        else:
            assert name in ("actions/setup-python", "actions/cache/restore", "actions/cache/save")
        return True

    def _filled(self, text: str, context: Any) -> str:
        return EXPRESSION.sub(lambda found: str(_value(found[1], context)), text)

    def _holds(self, condition: str, context: Any, went_well: bool) -> bool:
        words = {"always()": "True", "success()": str(went_well), "&&": "and"}
        if "always()" not in condition and "success()" not in condition:
            condition = f"success() && {condition}"
        for old, new in words.items():
            condition = condition.replace(old, new)
        told = PLACE.sub(lambda found: repr(str(_value(found[0], context))), condition)
        return bool(eval(told, {"__builtins__": {}}))


def _value(place: str, context: Any) -> Any:
    for word in place.split("."):
        context = context.get(word, "") if isinstance(context, Mapping) else ""
    return context


def _program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
