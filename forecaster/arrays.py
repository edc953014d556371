"""Names for arrays in signatures; shapes and units stand in the docstrings."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

Floats = npt.NDArray[Any]
Ints = npt.NDArray[Any]
Flags = npt.NDArray[Any]
