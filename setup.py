"""The one compiled module; all else is in pyproject.toml. Without a compiler it is left out."""

import os
import sysconfig

from setuptools import Extension, setup

STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")
"""One build serves every Python from 3.11 on, but for those without the global lock."""

setup(
    ext_modules=[
        Extension(
            "slidestream.wsi._cubic",
            ["wsi/_cubic.c"],
            extra_compile_args=["/O2"] if os.name == "nt" else ["-std=c11", "-O3"],
            optional=True,
            py_limited_api=STABLE_ABI,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE_ABI else {},
)
