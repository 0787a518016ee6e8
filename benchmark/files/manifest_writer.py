"""Entries of a manifest made from weights files and the training records beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from pydantic import ValidationError

from benchmark.errors import BenchError
from benchmark.files.atomic import write_whole
from benchmark.files.known_hashes import file_sha256
from benchmark.files.manifest import NAME, SCHEMA, Manifest, WeightsEntry, read_manifest

HEAD = "# Made by `bench manifest`; docs/weights.md says what the fields mean.\n"


def update_manifest(
    folder: Path, *, licence: str = "", source: str = "", url: str = ""
) -> tuple[Path, Manifest]:
    """Writes the manifest of a folder of weights anew.

    Each weights file there needs its training record (`NAME.json`, as `bench train` writes it). What a record
    does not tell stays as the manifest had it; entries of files that are elsewhere stay as they are.

    Args:
        folder: Such as `my_package/weights`.
        licence: Of the files that the manifest did not know; such as `MIT`.
        source: Who made them.
        url: Where all files of the folder are published, with `{file}` for the name; empty for what ships.

    Returns:
        The manifest's path, and the manifest.

    Raises:
        BenchError: A file has no record or another one's, or a field is missing or wrong.
    """
    before = read_manifest(folder)
    known = {entry.file: entry for entry in before.weights}
    given = {"licence": licence, "source": source}
    made = []
    for file in sorted(folder.glob("*.safetensors")):
        old = known.pop(file.name, None)
        kept = {"licence": old.licence, "source": old.source, "urls": old.urls} if old else {}
        told = {name: value for name, value in given.items() if value}
        name = file.name if url.startswith("hf:") else quote(file.name)
        urls = {"urls": [url.replace("{file}", name)]} if url else {}
        made.append(_entry(file, kept | told | urls))
    manifest = Manifest(schema_version=SCHEMA, weights=[*made, *known.values()])
    path = folder / NAME
    plain = manifest.model_dump(mode="json", exclude_defaults=True)
    text = yaml.safe_dump(
        {"schema_version": SCHEMA} | plain, sort_keys=False, allow_unicode=True, width=110
    )
    write_whole(path, (HEAD + text).encode())
    return path, manifest


def _entry(file: Path, fields: dict[str, Any]) -> WeightsEntry:
    record = _record(file)
    setting, sha256 = record["setting"], file_sha256(file)
    if record["weights_sha256"] != sha256:
        raise BenchError(
            f"{file.with_suffix('.json')} is the record of other weights: {file.name} has sha256 {sha256}, "
            f"and the record says {record['weights_sha256']}; put the file and its record there together"
        )
    classifier = setting["classifier"] or ""
    values = {
        "kind": "defense" if classifier else "classifier",
        "label": file.name.partition("--")[0] if classifier else file.stem,
        "classifier": classifier,
        "dataset": setting["dataset"],
        "file": file.name,
        "sha256": sha256,
        "bytes": file.stat().st_size,
        "command": record["command"],
        "seed": record["seed"],
    }
    try:
        return WeightsEntry.model_validate(values | fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BenchError(
            f"{file.name}: {place}: {first['msg']}; give --licence and --source for new files"
        ) from error


def _record(file: Path) -> dict[str, Any]:
    path = file.with_suffix(".json")
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if {"setting", "weights_sha256", "command", "seed"} <= set(record):
            return record
    except (OSError, ValueError, TypeError) as error:
        raise BenchError(
            f"{file} has no training record {path.name!r} beside it; bench train writes one"
        ) from error
    raise BenchError(f"{path} is no training record; bench train writes one beside the weights")
