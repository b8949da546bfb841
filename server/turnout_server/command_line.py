"""What the commands share: how they end when something is wrong, progress, tables, options and their values."""

from __future__ import annotations

import contextlib
import getpass
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from turnout_server.settings import LoadedSettings

FAILED = 1
MISUSED = 2
# In place of a folder: the bundle that ships.
SHIPPED = "default"
# Characters of a table's line, where it is not written to a terminal.
WIDTH = 180

BundleArgument = Annotated[
    str, typer.Argument(metavar="BUNDLE", help="A bundle; default: the one that ships.")
]
BundleOption = Annotated[
    Path | None, typer.Option("--bundle", metavar="FOLDER", help="Bundle; without it, the one that ships.")
]
PolicyOption = Annotated[
    Path | None, typer.Option("--policy", metavar="FILE", help="Policy file; without it, the one that ships.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def fail(lines: Sequence[str], code: int = FAILED) -> NoReturn:
    """Says what is wrong, a line each, and ends the process."""
    for line in lines:
        typer.echo(f"turnout: {line}", err=True)
    raise typer.Exit(code)


def warn(text: str) -> None:
    """Says what is odd, and goes on."""
    typer.echo(f"turnout: warning: {text}", err=True)


def user_name() -> str:
    """Who runs the command; the number of the user where the machine has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        import os

        return str(os.getuid())


@contextlib.contextmanager
def failing(needing: str = "this command needs") -> Iterator[None]:
    """Ends the process with a line for each thing that is wrong with what a command was given.

    Args:
        needing: who needs a package that is not installed, as the line on it says.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("turnout"):
            raise
        fail([f"no package {error.name}: {needing} pip install 'turnout[train]'"])
    except OSError as error:
        fail([f"{error.filename}: {error.strerror}" if error.filename else str(error)])
    except (ValueError, RuntimeError) as error:
        if not type(error).__module__.startswith("turnout"):
            raise
        fail(str(error).splitlines())


@contextlib.contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal's error stream; nothing where that is no terminal."""
    with stages() as begin:
        yield begin(what, total)


@contextlib.contextmanager
def stages() -> Iterator[Callable[[str, int | None], Callable[[int], None]]]:
    """Bars one after the other, as `progress`: each begins with its name and how many steps it has, if that is known."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        # Else lines for a pipe would end on the terminal.
        redirect_stdout=sys.stdout.isatty(),
    ) as bar:

        def begin(what: str, total: int | None) -> Callable[[int], None]:
            for earlier in bar.task_ids:
                bar.remove_task(earlier)
            task = bar.add_task(what, total=total)
            return lambda n: bar.advance(task, n) if task in bar.task_ids else None

        yield begin


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table on standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    # A pipe or a file has no width of its own.
    console = Console()
    Console(width=console.width if console.is_terminal else max(console.width, WIDTH)).print(table)
    typer.echo("")


def settings_in_force(options: Mapping[str, object] | None = None) -> LoadedSettings:
    """The settings, with what the command line says of them; ends the process if they cannot be used."""
    from turnout_server.settings import SettingsError, load_settings

    try:
        return load_settings(options)
    except SettingsError as error:
        fail(error.defects, MISUSED)


def bundle_folder(bundle: str) -> Path | None:
    """The folder that an argument names; None: the bundle that ships."""
    return None if bundle == SHIPPED else Path(bundle)


def parse_share(option: str, text: str) -> float:
    """A share such as 30% or 0.3, from 0 to 1; ends the process if it is none."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        fail([f"{option}: {text!r}, needed: a share such as 30% or 0.3, from 0 to 1"], MISUSED)
    return share


def parse_numbers(option: str, text: str) -> dict[str, float]:
    """Numbers by name, such as small=1,frontier=12; ends the process if they are none."""
    numbers = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            numbers[name.strip()] = float(value)
        except ValueError:
            fail([f"{option}: {part!r}, needed: a name and a number, such as small=1"], MISUSED)
    return numbers
