"""File formats that people take for weights: recognised by their first bytes, with what to do about each."""

from __future__ import annotations

import codecs
import zipfile
from pathlib import Path, PurePosixPath

_STATE = "save the network's state_dict() instead, best as safetensors"
_UNPACK = "unpack it, and name the weights file inside"
_EXPORT = f"load it with {{}} where it was made, and {_STATE}"

_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file itself",
        "fetch it with git lfs pull",
    ),
    (b"\x89HDF\r\n", "an HDF5 file, as Keras writes it", _STATE),
    (b"\x93NUMPY", "a numpy array", _STATE),
    (b"GGUF", "a GGUF model", _STATE),
    (b"\x1f\x8b", "packed with gzip", _UNPACK),
    (b"BZh", "packed with bzip2", _UNPACK),
    (b"\xfd7zXZ", "packed with xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", _UNPACK),
    (b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"%PDF", "a PDF document", "download the weights again"),
    (b"\x89PNG", "a PNG image", "name the weights file"),
    (b"\xff\xd8\xff", "a JPEG image", "name the weights file"),
)
"""What a file begins with, what it is, and what to do."""


def other_format(path: Path, first: bytes) -> tuple[str, str] | None:
    """What a file is that cannot be plain weights, and what to do; None where it may be some.

    Args:
        path: The file.
        first: Its first 512 bytes, or all.
    """
    if first.startswith(b"PK"):
        return _zip(path)
    if first[8:9] == b"{" or first.startswith(b"\x80"):
        return None  # safetensors (a length, then a JSON header), or a pickle
    found = next(((kind, mend) for magic, kind, mend in _MAGIC if first.startswith(magic)), None)
    if found is not None:
        return found
    if first[257:262] == b"ustar":
        return "a tar archive", _UNPACK
    if path.suffix == ".onnx" or (first[:1] == b"\x08" and first[2:3] == b"\x12"):
        return "an ONNX model", f"{_STATE}, where it was exported from"
    if first[4:8] == b"TFL3":
        return "a TensorFlow Lite model", _STATE
    return _text(first)


def _zip(path: Path) -> tuple[str, str] | None:
    try:
        with zipfile.ZipFile(path) as archive:
            files = [PurePosixPath(name) for name in archive.namelist()]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return None  # damaged, which its reader says better
    names = {file.name for file in files}
    folders = {part for file in files for part in file.parts[:-1]}
    if "serialized_exported_program.json" in names or "archive_format" in names:
        return "a program of torch.export", _EXPORT.format("torch.export.load")
    if "constants.pkl" in names or ("code" in folders and "data.pkl" in names):
        return "a TorchScript program (torch.jit.save)", _EXPORT.format("torch.jit.load")
    if "data.pkl" in names:
        return None  # torch.save
    if files and all(file.suffix == ".npy" for file in files):
        return "a numpy archive (.npz)", _STATE
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"a zip archive of other files ({', '.join(sorted(names)[:3])}{rest})", _UNPACK


def _text(first: bytes) -> tuple[str, str] | None:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(first)  # it may end amid a character
    except UnicodeDecodeError:
        return None
    line = text.strip().split("\n")[0].strip()[:60]
    if not all(character.isprintable() or character in "\n\r\t" for character in text):
        return None
    return f"text, which begins {line!r}", "name the weights file, or download it again"
