"""The dated price table: reading, dates, import, review diff, and the policy's prices before it."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from turnout_server import cli, policy_checks
from turnout_server.completion.cost import ModelPrice, Rates, RateStep, parse_usd
from turnout_server.planning.price_book import PriceBook, fill_from_table
from turnout_server.planning.price_diff import diff_tables
from turnout_server.planning.price_import import import_table, merge
from turnout_server.planning.price_table import (
    SHIPPED,
    Entry,
    Family,
    PriceTable,
    PriceTableError,
    read_table,
    shipped_table,
    write_table,
)
from turnout_server.policy_file import PolicyFileError, default_policy_path, parse_policy, resolve
from typer.testing import CliRunner, Result

OCTOBER = datetime.date(2026, 10, 14)
NOVEMBER = datetime.date(2026, 11, 28)


def price(name: str, valid_from: str | None, dollars_in: str, dollars_out: str) -> ModelPrice:
    return ModelPrice(name, valid_from, (RateStep(-1, Rates(parse_usd(dollars_in), parse_usd(dollars_out))),))


def listed(
    *dated: tuple[datetime.date | None, dict[str, Any]],
    batch: tuple[datetime.date | None, dict[str, Any]] | None = None,
    name: str = "m",
) -> SimpleNamespace:
    """A model as the list has it."""
    variants = None
    if batch:
        variants = [
            SimpleNamespace(
                when={"processing": "batch"}, constraint=_start(batch[0]), prices=SimpleNamespace(**batch[1])
            )
        ]
    prices = [
        SimpleNamespace(constraint=_start(day), prices=SimpleNamespace(**units)) for day, units in dated
    ]
    one = prices[0].prices if len(prices) == 1 and prices[0].constraint is None else prices
    return SimpleNamespace(id=name, prices=one, price_variants=variants)


def _start(day: datetime.date | None) -> SimpleNamespace | None:
    return None if day is None else SimpleNamespace(start_date=day)


def steps(base: str, above: int, dear: str) -> SimpleNamespace:
    return SimpleNamespace(base=Decimal(base), tiers=[SimpleNamespace(start=above, price=Decimal(dear))])


def usd(dollars_in: str, dollars_out: str, **more: Any) -> dict[str, Any]:
    return {"input_mtok": Decimal(dollars_in), "output_mtok": Decimal(dollars_out), **more}


def table_of(*models: SimpleNamespace) -> PriceTable:
    return import_table([SimpleNamespace(id="openai", models=models)], "a list")[0]


def test_the_shipped_table_has_what_the_adapters_call() -> None:
    table = shipped_table()
    assert table.source.startswith("genai-prices ")
    for seller in ("openai", "anthropic", "google", "groq", "azure"):
        assert sum(name.startswith(f"{seller}/") for name in table.entries) >= 10, seller
    assert all(Path(SHIPPED).read_text().count(f'"{name}": {{') == 1 for name in table.entries)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = shipped_table()
    write_table(table, tmp_path / "prices.json")
    assert read_table(tmp_path / "prices.json") == table
    assert (tmp_path / "prices.json").read_bytes() == SHIPPED.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format: 2, readable: 1"),
        ({"models": {"a/b": {"versions": []}}}, "models['a/b']"),
        (
            {"models": {"a/b": {"versions": [{"valid_from": "2026-13-01", "standard": []}]}}},
            "no standard rates",
        ),
        (
            {
                "models": {
                    "a/b": {
                        "versions": [
                            {"valid_from": day, "standard": [{"input": "1", "output": "2"}]}
                            for day in ("2026-11-01", "2026-10-01")
                        ]
                    }
                }
            },
            "later than the one before",
        ),
        ({"models": {"a/b": {"versions": [{"valid_from": None, "standard": [{"input": "1"}]}]}}}, "output"),
    ],
)
def test_a_broken_table_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"format": 1, "source": "", "families": [], "models": {}} | change))
    with pytest.raises(PriceTableError) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_the_price_of_a_day_is_the_last_that_began() -> None:
    entry = Entry((price("a/b", "2026-10-14", "1", "2"), price("a/b", "2026-11-01", "3", "4")))
    assert entry.at(datetime.date(2026, 10, 13)) is None
    assert entry.at(OCTOBER) is entry.versions[0]
    assert entry.at(datetime.date(2026, 10, 31)) is entry.versions[0]
    assert entry.at(datetime.date(2026, 11, 1)) is entry.versions[1]


def test_the_list_is_read_with_its_dates_steps_and_batch_prices() -> None:
    units = {
        "input_mtok": steps("2", 200_000, "4"),
        "output_mtok": Decimal("12"),
        "cache_read_mtok": Decimal("0.2"),
        "web_searches_kcount": Decimal("10"),
        "input_audio_mtok": Decimal("9"),
    }
    table = table_of(listed((None, units), batch=(OCTOBER, {"input_mtok": steps("1", 200_000, "2")})))
    entry = table.entries["openai/m"]
    first, second = entry.versions
    assert (first.valid_from, second.valid_from) == (None, "2026-10-14")
    assert [step.above for step in first.standard] == [-1, 200_000]
    assert [step.rates.input for step in first.standard] == [2 * 10**9, 4 * 10**9]
    assert [step.rates.output for step in first.standard] == [12 * 10**9, 12 * 10**9]
    assert first.batch == ()
    # What the batch price does not name costs as ever.
    assert [step.rates.input for step in second.batch] == [10**9, 2 * 10**9]
    assert second.batch[0].rates.cache_read == parse_usd("0.2")
    assert entry.not_covered == ("input_audio",)


@pytest.mark.parametrize(
    ("units", "reason"),
    [
        (usd("1", "2", requests_kcount=Decimal("5")), "a charge beside tokens: requests_kcount"),
        ({"input_mtok": Decimal("1")}, "no price of output tokens"),
        ({"input_audio_hours": Decimal("1")}, "no price of input and output tokens"),
    ],
)
def test_what_cannot_be_billed_by_tokens_is_left_out(units: dict[str, Any], reason: str) -> None:
    provider = SimpleNamespace(id="openai", models=[listed((None, units))])
    table, left_out = import_table([provider], "a list")
    assert table.entries == {}
    assert left_out == {"openai/m": reason}


def test_a_price_by_the_hour_is_left_out() -> None:
    model = listed((None, usd("1", "2")), (OCTOBER, usd("1", "2")))
    model.prices[1].constraint = SimpleNamespace(start_time=datetime.time(0), end_time=datetime.time(8))
    provider = SimpleNamespace(id="openai", models=[model])
    assert import_table([provider], "a list")[1] == {"openai/m": "the price depends on the hour of the day"}


def test_sellers_that_were_not_asked_for_are_not_taken() -> None:
    provider = SimpleNamespace(id="unheard-of", models=[listed((None, usd("1", "2")))])
    assert import_table([provider], "a list") == (PriceTable("a list", {}), {})
    assert list(import_table([provider], "a list", ["unheard-of"])[0].entries) == ["unheard-of/m"]


def days(table: PriceTable, name: str = "openai/m") -> list[tuple[str | None, int]]:
    return [(one.valid_from, one.standard[0].rates.input // 10**9) for one in table.entries[name].versions]


def test_a_renewed_table_keeps_history() -> None:
    before = table_of(listed((None, usd("1", "2"))))
    # The list tells no date: the change is dated by the day of the import.
    after = merge(before, table_of(listed((None, usd("3", "4")))), NOVEMBER)
    assert days(after) == [(None, 1), ("2026-11-28", 3)]
    # Told again, nothing changes; changed again on that day, the day's version is replaced.
    assert days(merge(after, table_of(listed((None, usd("3", "4")))), NOVEMBER)) == days(after)
    assert days(merge(after, table_of(listed((None, usd("5", "6")))), NOVEMBER)) == [
        (None, 1),
        ("2026-11-28", 5),
    ]
    # With a date in the list, that date counts.
    dated = table_of(listed((None, usd("1", "2")), (OCTOBER, usd("3", "4"))))
    assert days(merge(before, dated, NOVEMBER)) == [(None, 1), ("2026-10-14", 3)]
    # A model that is no longer listed stays, and so do the families.
    families = (Family("openai/", 1.1, "a test"),)
    kept = merge(PriceTable("", before.entries, families), table_of(), NOVEMBER)
    assert days(kept) == [(None, 1)]
    assert kept.families == families


def test_a_past_price_that_the_list_rewrites_stays_what_bills_were_made_with() -> None:
    before = table_of(listed((None, usd("1", "2")), (OCTOBER, usd("3", "4"))))
    after = merge(before, table_of(listed((None, usd("9", "9")), (OCTOBER, usd("3", "4")))), NOVEMBER)
    assert days(after) == [(None, 1), ("2026-10-14", 3)]


def test_the_review_shows_every_change_and_by_how_much() -> None:
    before = table_of(listed((None, usd("1", "2"))), listed((None, usd("1", "2")), name="same"))
    after = merge(
        before, table_of(listed((None, usd("10", "2"))), listed((None, usd("5", "6")), name="new")), NOVEMBER
    )
    assert list(diff_tables(before, after)) == [
        "+ openai/m from 2026-11-28: input 10.00 output 2.00 (input +900%)",
        "+ openai/new undated: input 5.00 output 6.00",
    ]
    assert next(diff_tables(after, before)).startswith("- openai/m from 2026-11-28")
    assert list(diff_tables(before, before)) == []


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["prices", *map(str, arguments)])


def test_an_import_writes_only_when_told(tmp_path: Path) -> None:
    pytest.importorskip("genai_prices")
    path = tmp_path / "prices.json"
    shown = run("import", "--table", path, "--seller", "groq")
    assert shown.exit_code == 0
    assert "+ groq/" in shown.stdout
    assert not path.exists()
    assert run("import", "--table", path, "--seller", "groq", "--write").exit_code == 0
    assert {name.partition("/")[0] for name in read_table(path).entries} == {"groq"}
    again = run("import", "--table", path, "--seller", "groq")
    assert again.stdout == ""
    wrong = run("import", "--table", path, "--seller", "grok")
    assert wrong.exit_code == 1
    assert "no seller grok" in wrong.stderr


def test_show_tells_versions_and_days(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    write_table(table_of(listed((None, usd("1", "2")), (OCTOBER, usd("3", "4")))), path)
    both = run("show", "m", "--table", path).stdout.splitlines()
    assert [line.partition(".")[0] for line in both] == ["openai/m undated", "openai/m 2026-10-14"]
    (one,) = run("show", "openai/m", "--at", "2026-10-13", "--table", path).stdout.splitlines()
    assert one == both[0]
    assert "did you mean 'openai/m'" in run("show", "openai/n", "--table", path).stderr
    assert run("show", "m", "--at", "soon", "--table", path).exit_code == 2


def policy_text(prices: dict[str, Any]) -> str:
    document = json.loads(default_policy_path().with_suffix(".json").read_text())
    document["prices"] |= {"mine": prices}
    document["tiers"][0]["chain"][0]["price"] = "mine"
    return json.dumps(document)


def test_a_policy_names_an_entry_of_the_table() -> None:
    document = resolve(parse_policy(policy_text({"table": "openai/gpt-5.5"}), "p"), NOVEMBER)
    mine = document["prices"]["mine"]
    assert (mine["input_usd_per_mtok"], mine["output_usd_per_mtok"], mine["version"]) == (5.0, 30.0, None)
    assert "input_usd_per_mtok" in mine["filled_from_table"]
    assert resolve(parse_policy(json.dumps(document), "again"), NOVEMBER) == document
    book = PriceBook(document["prices"])
    assert book.at("mine", NOVEMBER) == shipped_table().entries["openai/gpt-5.5"].at(NOVEMBER)
    assert book.at(None, NOVEMBER) is None


def test_a_number_of_the_policy_goes_before_the_table() -> None:
    given = {"table": "openai/gpt-5.5", "input_usd_per_mtok": 4.25}
    document = resolve(parse_policy(policy_text(given), "p"), NOVEMBER)
    assert resolve(parse_policy(json.dumps(document), "again"), NOVEMBER) == document
    mine = PriceBook(document["prices"]).at("mine", NOVEMBER)
    listed_price = shipped_table().entries["openai/gpt-5.5"].at(NOVEMBER)
    assert mine is not None
    assert listed_price is not None
    assert {step.rates.input for step in mine.standard} == {parse_usd("4.25")}
    assert [step.rates.output for step in mine.standard] == [
        step.rates.output for step in listed_price.standard
    ]
    assert mine.version != listed_price.version


def test_a_policy_price_of_its_own_holds_on_every_day() -> None:
    given = {"version": "2026-11-01", "input_usd_per_mtok": 0.15, "output_usd_per_mtok": 0.6}
    document = resolve(parse_policy(policy_text(given), "p"), NOVEMBER)
    assert document["prices"]["mine"]["tokens_per_piece"] == 1.0
    found = PriceBook(document["prices"]).at("mine", datetime.date(2020, 1, 1))
    assert found == price("mine", "2026-11-01", "0.15", "0.60")


def test_prices_of_the_table_follow_the_day_of_the_call_unless_pinned() -> None:
    table = table_of(listed((None, usd("1", "2")), (OCTOBER, usd("3", "4"))))
    open_ended: dict[str, Any] = {"table": "openai/m", "version": None, "tokens_per_piece": None}
    open_ended |= dict.fromkeys(
        [
            f"{unit}_usd_per_mtok"
            for unit in ("input", "output", "cache_read", "cache_write", "cache_write_1h")
        ]
    )
    prices = {"open": open_ended, "pinned": open_ended | {"version": "2026-10-01"}}
    fill_from_table(prices, lambda: table, NOVEMBER)
    assert (prices["open"]["input_usd_per_mtok"], prices["pinned"]["input_usd_per_mtok"]) == (3.0, 1.0)
    book = PriceBook(prices, table)
    before = datetime.date(2026, 10, 13)
    for key, day, dollars in (
        ("open", before, 1),
        ("open", NOVEMBER, 3),
        ("pinned", before, 1),
        ("pinned", NOVEMBER, 1),
    ):
        found = book.at(key, day)
        assert found is not None
        assert found.standard[0].rates.input == dollars * 10**9


def test_a_day_before_the_table_begins_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry((price("a/b", "2026-10-14", "1", "2"),))
    monkeypatch.setattr(policy_checks, "shipped_table", lambda: PriceTable("", {"a/b": entry}))
    with pytest.raises(PolicyFileError) as caught:
        parse_policy(policy_text({"table": "a/b", "version": "2026-10-01"}), "p")
    assert str(caught.value) == (
        "p: prices.mine.version: 2026-10-01 is before 2026-10-14, the first day of 'a/b' in the price table"
    )


def test_the_longest_family_that_fits_counts() -> None:
    table = PriceTable("", {}, (Family("a/", 1.5, ""), Family("a/b-", 1.2, "")))
    assert [table.tokens_per_piece(name) for name in ("a/b-1", "a/c", "z/b-1")] == [1.2, 1.5, 1.0]
