"""A `gh api` that answers from a folder, and refuses what a job has no right to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HUB = Path(os.environ["FAKE_HUB"])
RIGHTS = json.loads(os.environ["FAKE_PERMISSIONS"])
OURS = "github-actions[bot]"


def asked(words: list[str]) -> tuple[str, dict[str, str], str, str]:
    """Path, fields, method and filter of a command line."""
    fields: dict[str, str] = {}
    path = method = chosen = ""
    rest = iter(words)
    for word in rest:
        if word in ("--field", "--raw-field"):
            name, _, value = next(rest).partition("=")
            from_file = word == "--field" and value.startswith("@")
            fields[name] = Path(value[1:]).read_text() if from_file else value
        elif word == "--jq":
            chosen = next(rest)
        elif word == "--method":
            method = next(rest)
        elif word != "--paginate":
            path = word
    return path, fields, method or ("POST" if fields else "GET"), chosen


def need(right: str, level: str) -> None:
    """Ends with 403 where the job has no such right."""
    if RIGHTS.get(right) not in (level, "write"):
        sys.exit(f"HTTP 403: {right}: {level} is needed")


def answer(state: dict[str, Any], path: str, fields: dict[str, str], method: str) -> Any:
    """What GitHub says, after doing it."""
    words = path.partition("?")[0].removeprefix("repos/lab/purifier/").split("/")
    match (method, *words):
        case ("GET", "pulls"):
            need("pull-requests", "read")
            return [pull for pull in state["pulls"] if pull["state"] == "open"]
        case ("GET", "pulls", number):
            need("pull-requests", "read")
            return next(pull for pull in state["pulls"] if pull["number"] == int(number))
        case ("GET", "issues", number, "comments"):
            need("pull-requests", "read")
            return state["comments"].get(number, [])
        case ("POST", "issues", number, "comments"):
            need("pull-requests", "write")
            made = {"id": 1000 + len(state["comments"]), "user": {"login": OURS}, **fields}
            state["comments"].setdefault(number, []).append(made)
            return made
        case ("PATCH", "issues", "comments", which):
            need("pull-requests", "write")
            found = [
                c for all_ in state["comments"].values() for c in all_ if c["id"] == int(which)
            ]
            found[0].update(fields)
            return found[0]
        case ("POST", "statuses", sha):
            need("statuses", "write")
            state["statuses"][sha] = fields
            return fields
        case ("GET", "actions", "runs", run, "artifacts"):
            need("actions", "read")
            files = [(file, file.stat().st_size) for file in sorted(HUB.glob(f"{run}-*.zip"))]
            listed = [
                {"id": int(run), "name": file.stem.partition("-")[2], "size_in_bytes": size}
                for file, size in files
            ]
            return {"artifacts": listed}
        case ("GET", "actions", "artifacts", run, "zip"):
            need("actions", "read")
            return (HUB / f"{run}-candidate.zip").read_bytes()
    sys.exit(f"HTTP 404: {method} {path}")


def main() -> None:
    """Answers one `gh api`."""
    if sys.argv[1:2] != ["api"] or not os.environ.get("GH_TOKEN"):
        sys.exit("expected gh api, and a token")
    path, fields, method, chosen = asked(sys.argv[2:])
    state = json.loads((HUB / "hub.json").read_text())
    found = answer(state, path, fields, method)
    (HUB / "hub.json").write_text(json.dumps(state))
    if isinstance(found, bytes):
        sys.stdout.buffer.write(found)
    elif chosen:
        subprocess.run(["jq", "-r", chosen], input=json.dumps(found), text=True, check=True)
    else:
        sys.stdout.write(json.dumps(found))


main()
