"""The command `slidestream`: its subcommands, and how every error ends."""

from __future__ import annotations

import shlex
import sys
import traceback
from pathlib import Path

import typer

from ..errors import SlidestreamError, UsageError
from ..features.disk import full_disk_named
from ..text import printable
from . import (
    again,
    demo,
    doctor,
    encoding,
    evaluating,
    exchanging,
    inspecting,
    pooling,
    predicting,
    running,
    staining,
    tissue,
    training,
)
from .output import note

INTERRUPTED = 130

app = typer.Typer(
    name="slidestream",
    help="From gigapixel slides to slide-level grades, in true microns. Start with: slidestream demo -o demo",
    no_args_is_help=True,
    rich_markup_mode="markdown",  # rich's own markup would swallow "[default: 64]"
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 internal error, 2 usage, 3 some inputs failed, 4 verification failed, "
    "5 environment (disk, GPU, model), 130 interrupted.",
)
app.command()(demo.demo)
app.command()(running.run)
app.command()(running.plan)
app.command()(again.explain)
app.command()(again.retry)
app.command()(inspecting.info)
app.command()(inspecting.status)
app.command()(inspecting.verify)
app.command()(tissue.tissue)
app.command()(staining.stain_report)
app.add_typer(encoding.app, name="encoders")
app.command()(doctor.doctor)
app.command()(training.train)
app.command()(predicting.predict)
app.command()(evaluating.evaluate)
app.command()(predicting.heatmap)
app.command()(pooling.pool)
app.command()(exchanging.export)
app.command(name="import")(exchanging.import_)


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"slidestream {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_version, help="Print the version."
    ),
) -> None:
    """Options of the command itself."""


def main() -> None:
    """Run the command line and leave with the documented exit code."""
    sys.exit(_run())


def _run() -> int:
    try:
        with full_disk_named(Path("the results")):
            app()
    except SystemExit as ended:  # typer ends so, also after a usage error (2) and Ctrl-C (130)
        code = ended.code if isinstance(ended.code, int) else 0
        if code == INTERRUPTED:
            note(f"Interrupted. What is finished is kept. To go on: {_this_command()}")
        return code
    except SlidestreamError as error:
        note(f"{error.code}: {error.cause}")
        if error.fix:
            note(f"Fix: {error.fix}")
        return error.exit_code
    except (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        note(f"USAGE: {printable(str(error.filename))} cannot be used ({type(error).__name__}).")
        note("Fix: name another place, for example with -o, or change who may write there.")
        return UsageError.exit_code
    except Exception as error:  # noqa: BLE001 - the last place that can turn a defect into exit code 1
        # Never the message: it may quote what stands in a patient's file.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        note(f"INTERNAL: {type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}.")
        note("Fix: this is a defect of slidestream; please report it with the line above.")
        return 1
    return 0


def _this_command() -> str:
    return shlex.join(["slidestream", *sys.argv[1:]])
