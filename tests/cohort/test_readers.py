"""Reading in processes of its own: the same stores, and whatever a file does costs that file only."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest

from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import find_inputs
from slidestream.cohort.job import Outcome
from slidestream.cohort.plan import Step
from slidestream.cohort.run import RunOrder, Summary, run_cohort
from slidestream.errors import EnvironmentProblem
from slidestream.tiling.spec import PatchSpec
from slidestream.tiling.stream import Reading

SHARED = Path("/dev/shm")
"""Where Linux keeps shared memory."""
