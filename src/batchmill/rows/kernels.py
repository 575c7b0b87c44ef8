"""Arrow's compute functions; they are made at import, so no type checker knows them."""

from typing import Any

import pyarrow.compute

pc: Any = pyarrow.compute
