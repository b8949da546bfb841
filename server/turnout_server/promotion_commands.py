"""`turnout promote`, `rollback`, `challenger`, `history`: which bundle of a store decides, and who said so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turnout_server.command_line import (
    MISUSED,
    JsonOption,
    bundle_folder,
    fail,
    settings_in_force,
    user_name,
)

if TYPE_CHECKING:
    from turnout_fastpath.bundle import Bundle

    from turnout_server.bundle_store import BundleStore, Entry

BundleArgument = Annotated[
    str, typer.Argument(metavar="BUNDLE", help="Folder of a bundle; default: the one that ships.")
]
StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="FOLDER",
        envvar="TURNOUT_STORE",
        help="Folder of the bundle store; without it, that of TURNOUT_BUNDLE if it is a store's `current`.",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(promote)
    app.command()(rollback)
    app.command()(challenger)
    app.command()(history)


def promote(
    bundle: BundleArgument,
    *,
    store: StoreOption = None,
    gate: Annotated[
        Path | None,
        typer.Option(
            "--gate", metavar="FILE", help="The gate's record; without it, BUNDLE.gate.json beside BUNDLE."
        ),
    ] = None,
    force: Annotated[
        str, typer.Option("--force", metavar="REASON", help="Promote without a passed gate; recorded.")
    ] = "",
) -> None:
    """Make a bundle the one that decides; refused without a gate that it passed against the current one."""
    from turnout_server.bundle_store import StoreError
    from turnout_server.gate_record import GateRecordError, check_record, read_record, record_path

    loaded, place = _load(bundle), _store(store)
    record = None
    try:
        found = read_record(record_path(loaded.path) if gate is None else gate)
        record = found.to_json()
        check_record(found, bundle_revision=loaded.revision.hex(), current_revision=place.current_revision())
    except GateRecordError as error:
        if not force:
            fail([f"not promoted: {error}", "run `turnout gate` first, or say why not by --force REASON"])
    try:
        entry = place.promote(loaded, who=user_name(), gate=record, forced=force)
    except (StoreError, OSError) as error:
        fail([f"not promoted: {error}"])
    typer.echo(_describe(entry))


def rollback(*, store: StoreOption = None) -> None:
    """Make the bundle decide again that did so before the last promotion."""
    from turnout_server.bundle_store import StoreError

    try:
        entry = _store(store).rollback(who=user_name())
    except (StoreError, OSError) as error:
        fail([f"not rolled back: {error}"])
    typer.echo(_describe(entry))


def challenger(
    bundle: Annotated[
        str | None, typer.Argument(metavar="BUNDLE", help="Folder of the bundle that is to score unseen.")
    ] = None,
    *,
    store: StoreOption = None,
    end: Annotated[bool, typer.Option("--end", help="Take the challenger away.")] = False,
) -> None:
    """Let a second bundle score live requests, unseen by callers: serve --challenger STORE/challenger."""
    from turnout_server.bundle_store import StoreError

    if (bundle is None) != end:
        fail(["give a BUNDLE, or --end to take the challenger away"], MISUSED)
    place = _store(store)
    try:
        if bundle is None:
            entry = place.end_challenge(who=user_name())
        else:
            entry = place.challenge(_load(bundle), who=user_name())
    except (StoreError, OSError) as error:
        fail([str(error)])
    typer.echo(_describe(entry))


def history(
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what was promoted, rolled back and challenged, when and by whom."""
    import json

    from turnout_server.bundle_store import StoreError

    place = _store(store)
    try:
        entries = place.history()
    except (StoreError, OSError) as error:
        fail([str(error)])
    if as_json:
        document = {
            "current": place.current_revision(),
            "challenger": place.challenger_revision(),
            "steps": [entry.__dict__ for entry in entries],
        }
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False))
        return
    for entry in entries:
        typer.echo(f"{entry.at}  {entry.who}  {_describe(entry)}")
    typer.echo(f"current: {place.current_revision() or 'none'}")


def _load(bundle: str) -> Bundle:
    from turnout_fastpath.bundle import BundleError, load_bundle

    try:
        return load_bundle(bundle_folder(bundle))
    except BundleError as error:
        fail([str(error)])


def _store(folder: Path | None) -> BundleStore:
    from turnout_server.bundle_store import CURRENT, BundleStore

    if folder is None:
        serving = settings_in_force().settings.bundle
        if serving is None or serving.name != CURRENT:
            fail([f"no store: give --store FOLDER, or set TURNOUT_BUNDLE to a store's {CURRENT!r}"], MISUSED)
        folder = serving.parent
    return BundleStore(folder)


def _describe(entry: Entry) -> str:
    parts = [entry.step.replace("_", " "), entry.revision]
    if entry.replaced:
        parts.append(f"(before: {entry.replaced})")
    if entry.forced:
        parts.append(f"by force: {entry.forced}")
    return " ".join(part for part in parts if part)
