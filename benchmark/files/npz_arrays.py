"""Arrays out of `.npz` archives that nobody has reason to trust."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import BenchError


def plain_array(
    stream: IO[bytes],
    name: str,
    *,
    check: Callable[[tuple[int, ...], np.dtype[Any]], None],
    wrong: Callable[[str], BenchError],
) -> NDArray[Any]:
    """An array out of a member of an `.npz` archive, of as many bytes as its header says, never unpickled.

    Args:
        stream: The member.
        name: Of the array.
        check: Refuses a shape and a dtype, before anything is unpacked.
        wrong: Makes an error out of a line.

    Raises:
        BenchError: It is of another form, or damaged.
    """
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise wrong(f"holds {name} in an unknown form; write it with numpy.savez_compressed")
    shape, is_fortran, dtype = read[version](stream)
    if dtype.hasobject:
        raise wrong(f"holds Python objects in {name}; expected an array of numbers")
    check(shape, dtype)
    size = math.prod(shape) * dtype.itemsize
    data = stream.read(size + 1)
    if len(data) != size:
        raise wrong(f"is damaged: {name} has other bytes than its header promises")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if is_fortran else "C")
