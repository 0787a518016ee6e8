"""A server that stands for the Hugging Face Hub: the few answers that its library needs."""

from __future__ import annotations

import hashlib
import json

from tests.helpers.servers import Answer, Server, body

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def publish(
    server: Server, repo: str, files: dict[str, bytes], *, revisions: tuple[str, ...] = ("main",)
) -> None:
    """Puts a model repository on a server, all revisions at one commit; others and other files are 404."""
    listing = {
        "id": repo,
        "sha": COMMIT,
        "siblings": [{"rfilename": name, "size": len(files[name])} for name in files],
    }
    answer = body(json.dumps(listing).encode(), kind="application/json")
    server.answers[f"/api/models/{repo}"] = answer
    tree = [
        {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
        for name, content in files.items()
    ]
    for revision in (*revisions, COMMIT):
        server.answers[f"/api/models/{repo}/revision/{revision}"] = answer
        server.answers[f"/api/models/{repo}/tree/{revision}"] = body(
            json.dumps(tree).encode(), kind="application/json"
        )
        for name, content in files.items():
            server.answers[f"/{repo}/resolve/{revision}/{name}"] = body(
                content,
                ETag=f'"{hashlib.sha256(content).hexdigest()}"',
                X_Repo_Commit=COMMIT,
                X_Linked_Size=str(len(content)),
            )


def absent(
    repo: str, file: str, *, code: str, status: int = 404, revision: str = "main"
) -> dict[str, Answer]:
    """The Hub's way of saying that a repository, revision or file is not there, for one file's addresses."""
    answer = body(b"{}", code=status, kind="application/json", X_Error_Code=code)
    paths = [f"/{repo}/resolve/{revision}/{file}"]
    if code != "EntryNotFound":
        paths.append(f"/api/models/{repo}/tree/{revision}")
    return dict.fromkeys(paths, answer)
