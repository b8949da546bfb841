"""`turnout ...`: the command line, and the place where the service's parts are put together.

Each command imports what it needs: `turnout --help` reads neither the engine nor gRPC.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from turnout_server import (
    bucket_commands,
    budget_commands,
    collect_commands,
    evaluation_commands,
    export_commands,
    gate_commands,
    invoice_commands,
    price_commands,
    promotion_commands,
    store_commands,
)
from turnout_server.command_line import (
    MISUSED,
    BundleOption,
    JsonOption,
    PolicyOption,
    settings_in_force,
    warn,
)
from turnout_server.command_line import fail as _fail
from turnout_server.settings import (
    KNOBS,
    LoadedSettings,
    Settings,
    find_misspelt_variables,
)
from turnout_server.training_commands import register as register_training

app = typer.Typer(
    name="turnout",
    help="Routes each LLM request to the cheapest model tier that still meets its quality bar.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
register_training(app)
collect_commands.register(app)
export_commands.register(app)

app.add_typer(price_commands.app)
app.add_typer(store_commands.app)
app.command()(invoice_commands.invoice)
app.command()(budget_commands.budget)


def _with_knobs(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command an option for every knob, in place of its `**options`."""
    own = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    knobs = [
        inspect.Parameter(
            knob.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                str | None,
                typer.Option(
                    knob.option,
                    metavar="VALUE",
                    help=f"{knob.meaning.description} {knob.meaning.kind.limit}; "
                    f"{knob.variable}, default {knob.meaning.kind.show(knob.default)}.",
                ),
            ],
        )
        for knob in KNOBS
    ]
    command.__signature__ = inspect.Signature([*own, *knobs])  # type: ignore[attr-defined]
    return command


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        from turnout_server.version import package_version

        typer.echo(package_version())
        raise typer.Exit


@app.command()
@_with_knobs
def serve(
    *,
    decision_only: Annotated[
        bool,
        typer.Option("--decision-only", help="Serve the decision port alone, in one process, as a sidecar."),
    ] = False,
    **options: str | None,
) -> None:
    """Serve decisions over gRPC until SIGTERM; SIGHUP reads policy and bundle again."""
    settings = _settings(options).settings
    from turnout_server.lifecycle import StartError
    from turnout_server.observability.logs import configure_logs

    configure_logs(settings.log_level, settings.log_format)
    try:
        if decision_only:
            import uvloop

            from turnout_server.decision_serving import serve_decisions

            uvloop.run(serve_decisions(_without_main_port(settings)))
        else:
            _serve_main_port(settings)
    except StartError as error:
        _fail(str(error).splitlines())


def _serve_main_port(settings: Settings) -> None:
    from turnout_server.doors.polling import poll_directly

    poll_directly()
    if settings.workers == 1 and settings.decision_port is None:
        import uvloop

        from turnout_server.serving import serve as serve_here

        uvloop.run(serve_here(settings))
    else:
        import asyncio

        from turnout_server.workers import Supervisor

        asyncio.run(Supervisor(settings).run())


@app.command()
def route(
    prompt: Annotated[str, typer.Argument(help="The user's question; - reads it from standard input.")],
    *,
    system: Annotated[str | None, typer.Option("--system", metavar="TEXT", help="A system prompt.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what spoke for and against.")] = False,
    policy: PolicyOption = None,
    bundle: BundleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide one prompt here, without a server, and print the decision."""
    settings = _settings({"policy": policy, "bundle": bundle}).settings
    text = sys.stdin.read() if prompt == "-" else prompt
    from turnout_fastpath import Engine, Request, RouteError, StateBlock

    from turnout_server.reloading import ConfigurationError, Source

    try:
        engine = Engine(Source(settings.policy, settings.bundle).compile(StateBlock()))
        if system is None:
            request = Request(text, explain=explain)
        else:
            request = Request(messages=[("system", system), ("user", text)], explain=explain)
        # The second time, so that the time shown is a serving process's.
        engine.decide(request)
        decision = engine.decide(request)
    except (ConfigurationError, RouteError) as error:
        _fail(str(error).splitlines())
    from turnout_server.decision_view import print_decision, to_json

    if as_json:
        typer.echo(to_json(decision))
    else:
        print_decision(decision)


@app.command()
def check_config(policy: PolicyOption = None, bundle: BundleOption = None) -> None:
    """Check that policy and bundle can be used together; one line for each defect."""
    settings = _settings({"policy": policy, "bundle": bundle}).settings
    from turnout_fastpath import StateBlock

    from turnout_server.reloading import ConfigurationError, Source
    from turnout_server.routing import revisions_of

    try:
        snapshot = Source(settings.policy, settings.bundle).compile(StateBlock())
    except ConfigurationError as error:
        _fail(str(error).splitlines())
    policies = snapshot.policies
    policy_revision, bundle_revision, _ = revisions_of(snapshot)
    typer.echo(
        f"ok: policy {policy_revision} ({', '.join(policies.policy_names)}; tiers "
        f"{', '.join(policies.tier_names)}), bundle {bundle_revision}"
    )


@app.command()
@_with_knobs
def print_config(
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Print the policy file with every default filled in, as JSON.")
    ] = False,
    as_json: JsonOption = False,
    **options: str | None,
) -> None:
    """Print the settings in force and where each comes from, or the resolved policy."""
    loaded = _settings(options)
    if resolved:
        from turnout_server.policy_file import PolicyFileError, load_policy_file, resolve, to_json

        try:
            typer.echo(to_json(resolve(load_policy_file(loaded.settings.policy))), nl=False)
        except PolicyFileError as error:
            _fail(str(error).splitlines())
        return
    rows = [
        (knob.name, knob.meaning.kind.show(getattr(loaded.settings, knob.name)), loaded.origins[knob.name])
        for knob in KNOBS
    ]
    if as_json:
        import json

        typer.echo(
            json.dumps({name: {"value": value, "from": origin} for name, value, origin in rows}, indent=2)
        )
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _without_main_port(settings: Settings) -> Settings:
    if settings.decision_port is None:
        _fail(["--decision-only: the decision port is off (limit: a TCP port)"], MISUSED)
    # A sidecar stores only where it is told to: the usual place is the service's, and a store costs memory and time.
    return dataclasses.replace(settings, store="off") if settings.store == "auto" else settings


def _settings(options: dict[str, Any]) -> LoadedSettings:
    """The settings in force; ends the process if they cannot be used."""
    import os

    loaded = settings_in_force(options)
    for name, meant in find_misspelt_variables(os.environ).items():
        warn(f"{name} is no setting; did you mean {meant}?")
    return loaded


evaluation_commands.register(app)
bucket_commands.register(app)
gate_commands.register(app)
promotion_commands.register(app)


def main() -> None:
    """The entry point of the command `turnout`."""
    app()


if __name__ == "__main__":
    main()
