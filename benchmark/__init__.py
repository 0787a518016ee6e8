"""The harness: vocabulary, interfaces, running, keeping, publishing, the command line.

What third parties import from here stands in the stub beside this file. `import benchmark` starts no torch:
each name is imported when it is first used.
"""

from __future__ import annotations

import lazy_loader

from benchmark.compute.own_packages import put_first
from benchmark.former_names import know_former_names

put_first()
know_former_names()
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
