"""One virtual environment per peer, made once and kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class NotInstallable(Exception):
    """A peer's environment cannot be made; the message says why in one line."""


@dataclass(frozen=True)
class Environment:
    """What to install for a peer.

    Attributes:
        packages: requirements, resolved together.
        tools: what building a package from source needs on the PATH, installed first.
    """

    packages: tuple[str, ...]
    tools: tuple[str, ...] = ()

    def python(self, folder: Path) -> Path:
        """The interpreter, in an environment under `folder` that is made if need be.

        Raises:
            NotInstallable: a package does not resolve, build or install.
        """
        key = hashlib.sha256(repr((PYTHON, self.packages, self.tools)).encode()).hexdigest()[:12]
        home = folder.absolute() / f"{self.packages[0].split('=')[0].split('[')[0]}-{key}"
        complete = home / "complete"
        if not complete.exists():
            shutil.rmtree(home, ignore_errors=True)
            self._make(home)
            complete.touch()
        return home / "bin" / "python"

    def _make(self, home: Path) -> None:
        print(f"making {home.name}", file=sys.stderr)
        uv = shutil.which("uv")
        install = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        if uv:
            _call([uv, "venv", "--quiet", "--python", sys.executable, str(home)], home)
            install = [uv, "pip", "install", "--quiet", "--python", str(home / "bin" / "python")]
        else:
            _call([sys.executable, "-m", "venv", str(home)], home)
        for requirements in filter(None, (self.tools, self.packages)):
            _call([*install, *requirements], home)


def _call(command: list[str], home: Path) -> None:
    path = f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PATH": path}, check=False
    )
    if ended.returncode:
        raise NotInstallable(_reason(ended.stderr))


def _reason(text: str) -> str:
    """The line of an installer's complaint that says most."""
    lines = [line.strip(" \t│├╰─▶") for line in text.splitlines() if line.strip()]
    telling = [
        line for line in lines if any(word in line.lower() for word in ("error:", "because", "failed"))
    ]
    return (telling or lines or ["no message"])[-1][:160]
