"""What parsers raise on a file that is damaged, or made to upset them: one tuple for every reader of files."""

from __future__ import annotations

import pickle
import struct
import tokenize
import zipfile
import zlib

from safetensors import SafetensorError

DAMAGED: tuple[type[Exception], ...] = (
    SafetensorError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,  # a header that promises more than there is
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Found by changing bytes of whole files; to be caught around the parser's call and nothing else."""
