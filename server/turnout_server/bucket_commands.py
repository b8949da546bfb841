"""`turnout bucket add|check|list`: exemplar buckets of a policy file, and whether they do what they say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnout_server.command_line import (
    FAILED,
    MISUSED,
    BundleOption,
    JsonOption,
    fail,
    failing,
    print_table,
    progress,
)

if TYPE_CHECKING:
    from turnout_fastpath import Engine
    from turnout_fastpath.training.evaluation.bucket_recall import BucketRecall
    from turnout_fastpath.training.evaluation.bucket_shadow import Shadow

# Members that a table names for the traffic that they shadow.
SHOWN_MEMBERS = 5
SHOWN_CHARS = 70

buckets = typer.Typer(
    help="Exemplar buckets: prompts whose like get a floor, a tier or a task.", no_args_is_help=True
)

PolicyArgument = Annotated[Path, typer.Argument(metavar="POLICY", help="The policy file.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(buckets, name="bucket")


@buckets.command()
def add(
    policy: PolicyArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The bucket; made if there is none.")],
    *,
    prompt: Annotated[list[str] | None, typer.Option("--prompt", metavar="TEXT", help="A prompt.")] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts", metavar="FILE", help="A prompt a line; of JSON Lines (.jsonl), each row's `prompt`."
        ),
    ] = None,
    floor: Annotated[str | None, typer.Option("--floor", metavar="TIER", help="No tier below it.")] = None,
    tier: Annotated[str | None, typer.Option("--tier", metavar="TIER", help="This tier serves.")] = None,
    task: Annotated[str | None, typer.Option("--task", metavar="TASK", help="Taken for this task.")] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Least similarity, above 0 to 1; 0.88 unless set.")
    ] = None,
    used_by: Annotated[
        list[str] | None,
        typer.Option("--used-by", metavar="NAME", help="Policy that uses it; else the default one."),
    ] = None,
    bundle: BundleOption = None,
) -> None:
    """Add prompts to a bucket of a policy file; comments stay, and the result is checked before it is written."""
    effects = {k: v for k, v in (("floor", floor), ("tier", tier), ("task", task)) if v is not None}
    if len(effects) > 1:
        fail([f"{' and '.join(f'--{kind}' for kind in effects)}: one effect at a time"], MISUSED)
    with failing():
        from turnout_server.policy_editing import add_exemplars, write_text

        texts = [*(prompt or ()), *(_read_prompts(prompts) if prompts is not None else ())]
        if not texts:
            fail(["nothing to add: give --prompt TEXT or --prompts FILE"], MISUSED)
        before = policy.read_text(encoding="utf-8")
        after = add_exemplars(
            before,
            str(policy),
            name,
            texts,
            effect=effects or None,
            threshold=threshold,
            policies=used_by or (),
        )
        # What only the bundle knows: tasks, and prompts without a known word.
        engine = _compile(after, policy, bundle)
        write_text(policy, after)
    position = engine.snapshot.policies.bucket_names.index(name)
    members = len(engine.snapshot.policies.bucket_exemplars[position])
    typer.echo(f"bucket {name}: {members} exemplars; wrote {policy}")
    _say_scale(engine)
    typer.echo(f"next: turnout bucket check {policy} {name}")


@buckets.command()
def check(
    policy: PolicyArgument,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One bucket; else all.")] = None,
    *,
    paraphrases: Annotated[
        Path | None,
        typer.Option("--paraphrases", metavar="FILE", help="Further prompts that belong to the bucket NAME."),
    ] = None,
    bundle: BundleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide every member, and paraphrases; exit status 1 if one that matches is served against the effect."""
    if paraphrases is not None and name is None:
        fail(["--paraphrases: say of which bucket they are"], MISUSED)
    with failing():
        engine = _compile(policy.read_text(encoding="utf-8"), policy, bundle)
        members = [one for one in _members(engine) if name in (None, one.bucket)]
        if not members:
            fail([_no_bucket(engine, name)])
        given = [] if paraphrases is None else _paraphrased(engine, name or "", _read_prompts(paraphrases))
        with progress("everyday prompts") as advance:
            shadows = _shadows(engine, advance)
    shadows = {key: one for key, one in shadows.items() if name in (None, key)}
    broken = any(one.breaches for one in members) or any(one.served_against for one in given)
    if as_json:
        typer.echo(json.dumps(_document(members, given, shadows, broken), indent=1, ensure_ascii=False))
    else:
        _print_members(members)
        for one in given:
            typer.echo(
                f"paraphrases of {one.recall.bucket}: {one.recall.obeyed} of {one.recall.members} obeyed, "
                f"{one.unmatched} do not match, {len(one.served_against)} match and are served against the effect"
            )
            _print_breaches(one.recall, only_matching=True)
        _print_shadows(shadows)
        _say_scale(engine)
    if broken:
        raise typer.Exit(FAILED)


@buckets.command(name="list")
def list_buckets(policy: PolicyArgument, *, bundle: BundleOption = None, as_json: JsonOption = False) -> None:
    """Print the buckets: effect, size, threshold, who uses them, and the share of everyday prompts that match."""
    with failing():
        from turnout_fastpath.training.evaluation.bucket_recall import effect_of

        engine = _compile(policy.read_text(encoding="utf-8"), policy, bundle)
        with progress("everyday prompts") as advance:
            shadows = _shadows(engine, advance)
    policies = engine.snapshot.policies
    document = policies.document
    rows = []
    for bucket, texts in zip(document["buckets"], policies.bucket_exemplars, strict=True):
        users = [key for key, one in document["policies"].items() if bucket["name"] in one["buckets"]]
        rows.append(
            {
                "bucket": bucket["name"],
                "effect": " ".join(effect_of(bucket)),
                "exemplars": len(texts),
                "threshold": bucket["threshold"],
                "used_by": users,
                "matched_share": round(shadows[bucket["name"]].share, 5),
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    print_table(
        f"buckets of {policy}",
        ("bucket", "effect", "exemplars", "threshold", "used by", "everyday prompts that match"),
        [
            (
                str(row["bucket"]),
                str(row["effect"]),
                str(row["exemplars"]),
                str(row["threshold"]),
                ", ".join(row["used_by"]) or "nobody",
                f"{row['matched_share']:.2%}",
            )
            for row in rows
        ],
    )


def _compile(text: str, path: Path, bundle: Path | None) -> Engine:
    from turnout_fastpath import BundleError, Engine, PolicyError

    from turnout_server.policy_file import parse_policy, resolve

    document = resolve(parse_policy(text, str(path)))
    try:
        return Engine.load(bundle, document)
    except PolicyError as error:
        fail([f"{path}: {error}"])
    except BundleError as error:
        fail([str(error)])


def _read_prompts(path: Path) -> list[str]:
    """Prompts of a file; ends the process where a row has none."""
    text = path.read_text(encoding="utf-8")
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if path.suffix != ".jsonl":
        return [line.strip() for _, line in lines]
    found = []
    for number, line in lines:
        try:
            found.append(str(json.loads(line)["prompt"]))
        except (ValueError, KeyError, TypeError):
            fail([f'{path}:{number}: needed: an object with a prompt, such as {{"prompt": "..."}}'])
    return found


def _members(engine: Engine) -> list[BucketRecall]:
    from turnout_fastpath.training.evaluation.bucket_recall import recall_members

    return list(recall_members(engine))


def _shadows(engine: Engine, advance: Any) -> dict[str, Shadow]:
    from turnout_fastpath.training.evaluation.bucket_shadow import find_shadows

    return find_shadows(engine, advance)


class _Paraphrased:
    """What becomes of given paraphrases: which do not match at all, and which are served against the effect."""

    def __init__(self, recall: BucketRecall) -> None:
        self.recall = recall
        self.unmatched = sum(not one.matches for one in recall.breaches)
        self.served_against = [one for one in recall.breaches if one.matches]


def _paraphrased(engine: Engine, name: str, texts: Sequence[str]) -> list[_Paraphrased]:
    from turnout_fastpath.training.evaluation.bucket_recall import recall_texts

    document = engine.snapshot.policies.document
    bucket = next(one for one in document["buckets"] if one["name"] == name)
    return [
        _Paraphrased(recall_texts(engine, bucket, policy, texts))
        for policy, content in document["policies"].items()
        if name in content["buckets"]
    ]


def _no_bucket(engine: Engine, name: str | None) -> str:
    known = engine.snapshot.policies.bucket_names
    if name is not None and name in known:
        return f"no policy uses bucket {name!r}"
    return f"no bucket {name!r}; known: {', '.join(known) or 'none'}" if name else "no policy uses a bucket"


def _print_members(members: Sequence[BucketRecall]) -> None:
    rows = [
        (
            one.bucket,
            one.policy,
            one.effect,
            str(one.members),
            str(one.obeyed),
            "ok" if not one.breaches else "BROKEN",
        )
        for one in members
    ]
    print_table("members", ("bucket", "policy", "effect", "members", "obeyed", ""), rows)
    for one in members:
        _print_breaches(one)


def _print_breaches(recall: BucketRecall, *, only_matching: bool = False) -> None:
    for breach in recall.breaches:
        if breach.matches or not only_matching:
            typer.echo(
                f"{recall.bucket}: {_shorten(breach.text)} goes to {breach.decided}, not {recall.effect}: {breach.why}"
            )


def _print_shadows(shadows: dict[str, Shadow]) -> None:
    rows = []
    for name, one in shadows.items():
        rows.append((name, f"{one.share:.2%}", f"{one.against} of {one.matched}", ""))
        rows += [("", "", str(n), _shorten(text)) for text, n in one.by_member[:SHOWN_MEMBERS]]
    columns = ("bucket", "everyday prompts that match", "labelled otherwise", "member that they match")
    print_table("unrelated traffic that a bucket takes along", columns, rows)


def _say_scale(engine: Engine) -> None:
    cosines = engine.snapshot.match_cosines
    if "background" not in engine.snapshot.bundle.arrays:
        typer.echo(
            "the bundle has no sample of unrelated prompts: one scale serves all exemplars, and few paraphrases match; "
            "see docs/evaluation.md"
        )
    elif len(cosines):
        typer.echo(
            f"each exemplar has a scale of its own: they match from a cosine of {cosines.min():.2f} to {cosines.max():.2f}"
        )


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= SHOWN_CHARS else line[: SHOWN_CHARS - 3] + "...")


def _document(
    members: Sequence[BucketRecall],
    given: Sequence[_Paraphrased],
    shadows: dict[str, Shadow],
    broken: bool,
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "passed": not broken,
        "members": [asdict(one) for one in members],
        "paraphrases": [
            {
                **asdict(one.recall),
                "unmatched": one.unmatched,
                "served_against": len(one.served_against),
            }
            for one in given
        ],
        "shadows": {name: asdict(one) for name, one in shadows.items()},
    }
