"""Memory in large pages, where the system offers them."""

from __future__ import annotations

import os

ASKED = "THP_MEM_ALLOC_ENABLE"
"""What torch reads at its first allocation: 1 has Linux back large tensors by pages of 2 MB."""


def ask_for_large_pages() -> None:
    """Before torch allocates: an epoch over large bags touches many GB anew, 4 kB at a time otherwise.

    Processes that are started from this one inherit it. Whoever has set it keeps what they chose.
    """
    os.environ.setdefault(ASKED, "1")
