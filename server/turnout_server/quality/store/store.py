"""The outcome store: a bounded queue in memory, a journal of costs, and a thread that writes batches.

Nothing here waits for the database on the caller's path: recording appends to a list, or copies a cost into the journal.
When the database is slow or down, detail beyond the queue's limit is dropped and counted; counts of decisions are sums
and need no room; costs stay in the journal, on disk, until the database has them. A killed process loses the detail and
the counts since its last batch, a fraction of a second, and no cost.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import orjson
from sqlalchemy import Engine, Table
from sqlalchemy.exc import SQLAlchemyError, StatementError

from turnout_server.completion.cost import ModelPrice
from turnout_server.observability.logs import describe_cause, get_logger
from turnout_server.quality.store import prices, rows
from turnout_server.quality.store.batches import (
    COST,
    PRICE,
    Batch,
    CountKey,
    apply_batch,
    is_of_a_row,
    write_left_over,
)
from turnout_server.quality.store.journal import Journal, JournalFullError, adopt, left_over
from turnout_server.quality.store.migrations import StoreVersionError, migrate
from turnout_server.quality.store.place import Place, make_engine
from turnout_server.quality.store.records import (
    AttemptRecord,
    ComparisonRecord,
    CostRecord,
    DecisionRecord,
    GateRecord,
    ScoreRecord,
)
from turnout_server.quality.store.refused import damaged_files, refused_files, set_aside
from turnout_server.quality.store.sampling import is_drawn
from turnout_server.quality.store.schema import ATTEMPTS, COMPARISONS, COSTS, DECISIONS, GATES, SCORES

MAX_RETRY_S = 30.0
_MAX_COSTS_OF_A_BATCH = 5000
# Costs that are kept in memory where no journal can be written.
_MAX_UNKEPT = 100_000


@dataclass(frozen=True)
class Options:
    """How a store keeps outcomes.

    Attributes:
        detail_share: share of decisions, 0 to 1, whose detail is kept; drawn by the decision's id, so that all
            processes agree.
        queue_rows: most rows of detail that wait.
        flush_s: seconds between batches.
        redact: what is done to text before it is stored; None: no text is stored.
    """

    detail_share: float = 1.0
    queue_rows: int = 10_000
    flush_s: float = 0.25
    redact: Callable[[str], str] | None = None


@dataclass
class Counters:
    """What happened to rows.

    Attributes:
        written: rows by table.
        dropped: rows of detail that found the queue full, by table.
        rejected: rows that could not be made or that the database refused, by table.
        failures: batches that could not be written, and were tried again.
        costs_lost: costs that could neither be kept in the journal nor in memory.
        nano_lost: their sum in nano-dollars, as far as it is known.
        costs_recovered: costs taken in from a process that ended.
        costs_refused: costs that the database refuses, set aside in files beside the journal.
        refused_files: such files, and damaged journals, that are there now.
    """

    written: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    failures: int = 0
    costs_lost: int = 0
    nano_lost: int = 0
    costs_recovered: int = 0
    costs_refused: int = 0
    refused_files: int = 0


class DecisionCount(NamedTuple):
    """Decisions of an hour that are alike."""

    at_ms: int
    policy: str
    tier: str
    status: str
    decisions: int


class OutcomeStore:
    """Records outcomes. Any thread may record; nothing that it does raises or waits."""

    def __init__(
        self,
        place: Place,
        options: Options | None = None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens the journal and starts the writing thread, which opens the database.

        Args:
            place: where the store lies.
            options: how outcomes are kept; None: the defaults.
            clock: seconds since 1970.
            monotonic: a steady clock in seconds.
        """
        self.counters = Counters()
        self._place = place
        self._options = options or Options()
        self._clock = clock
        self._monotonic = monotonic
        self._writer_id = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._waiting: dict[Table, list[rows.Row]] = {}
        self._waiting_rows = 0
        self._counts: dict[CountKey, int] = {}
        self._sources: list[Callable[[], Iterable[DecisionCount]]] = []
        self._unkept: list[bytes] = []
        self._prices_told: set[str] = set()
        self._journal = self._open_journal()
        self._engine: Engine | None = None
        self._batch: Batch | None = None
        self._batches = 0
        self._failed_in_a_row = 0
        self._retry_at = 0.0
        self._asked = 0
        self._answered = 0
        self._failed = 0
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="outcome-store", daemon=True)
        self._thread.start()

    def keeps_detail(self, decision_id: str) -> bool:
        """Whether the detail of a decision is kept."""
        return is_drawn(decision_id, self._options.detail_share)

    def record_decision(self, record: DecisionRecord) -> None:
        """Counts a decision, and keeps its detail if its share is drawn."""
        self.count_decisions(record.at_ms, record.policy, record.tier, record.status)
        if self.keeps_detail(record.decision_id):
            self.keep_decision(record)

    def add_source(self, source: Callable[[], Iterable[DecisionCount]]) -> None:
        """Asks, before each batch and on the writing thread, for counts that somebody keeps until then."""
        self._sources.append(source)

    def count_decisions(self, at_ms: int, policy: str, tier: str, status: str, decisions: int = 1) -> None:
        """Counts decisions whose detail may be kept or not."""
        try:
            key = rows.count_key(at_ms, policy, tier, status)
            with self._lock:
                self._counts[key] = self._counts.get(key, 0) + decisions
        except Exception as error:
            self._reject(DECISIONS, error)

    def keep_decision(self, record: DecisionRecord) -> None:
        """Keeps the detail of a decision that is counted elsewhere."""
        try:
            if self._options.redact is None and (record.prompt is not None or record.answer is not None):
                record = replace(record, prompt=None, answer=None)
            self._put(DECISIONS, [rows.decision_row(record)])
        except Exception as error:
            self._reject(DECISIONS, error)

    def record_attempt(self, record: AttemptRecord) -> None:
        """Keeps the detail of an upstream call."""
        self._record(ATTEMPTS, record.decision_id, lambda: [rows.attempt_row(record)])

    def record_gates(self, record: GateRecord) -> None:
        """Keeps what the gates said of an answer."""
        self._record(GATES, record.decision_id, lambda: rows.gate_rows(record))

    def record_score(self, record: ScoreRecord) -> None:
        """Keeps the score of a judge, a shadow or an ensemble."""
        self._record(SCORES, record.decision_id, lambda: [rows.score_row(record)])

    def record_comparison(self, record: ComparisonRecord) -> None:
        """Keeps how an answer compares with its shadow's."""
        self._record(COMPARISONS, record.decision_id, lambda: [rows.comparison_row(record)])

    def record_cost(self, record: CostRecord, price: ModelPrice | None) -> bool:
        """Keeps what an upstream call cost, and the price that it was computed with.

        Once this has returned True, a kill of the process does not lose the cost. False: no journal can be written,
        and the cost is in memory alone, or lost where `counters.costs_lost` says so.
        """
        try:
            kept = True
            if price is not None and price.version not in self._prices_told:
                told = {"t": PRICE, "version": price.version, "price": prices.to_json(price)}
                kept = self._keep(orjson.dumps(told))
                self._prices_told.add(price.version)
            cost_nano = record.cost.cost_nano
            return self._keep(orjson.dumps({"t": COST, **rows.cost_row(record)}), cost_nano or 0) and kept
        except Exception as error:
            self._reject(COSTS, error)
            return False

    def flush(self, timeout_s: float) -> bool:
        """Writes all that was recorded before; False if that failed or took longer. Not for the caller's path."""
        with self._changed:
            if self._stopping:
                return False
            self._asked += 1
            mine = self._asked
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._answered >= mine or self._failed >= mine, timeout_s)
            return self._answered >= mine

    def close(self, timeout_s: float = 5.0) -> bool:
        """Writes what is left and ends the thread; False if something was left, of which costs stay in the journal."""
        done = self.flush(timeout_s)
        with self._changed:
            if self._stopping:
                return done
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            with self._lock:
                left = [*self._waiting.items(), *(self._batch.rows.items() if self._batch else ())]
                for table, waiting in left:
                    _add(self.counters.dropped, table.name, len(waiting))
            if self._journal is not None:
                self._journal.close()
            if self._engine is not None:
                self._engine.dispose()
        return done

    def _record(self, table: Table, decision_id: str, make: Callable[[], list[rows.Row]]) -> None:
        try:
            if self.keeps_detail(decision_id):
                self._put(table, make())
        except Exception as error:
            self._reject(table, error)

    def _put(self, table: Table, made: list[rows.Row]) -> None:
        with self._lock:
            if self._waiting_rows + len(made) > self._options.queue_rows:
                _add(self.counters.dropped, table.name, len(made))
                return
            self._waiting.setdefault(table, []).extend(made)
            self._waiting_rows += len(made)

    def _keep(self, payload: bytes, nano: int = 0) -> bool:
        journal = self._journal
        if journal is not None:
            try:
                journal.append(payload)
                return True
            except (OSError, JournalFullError):
                pass
        with self._lock:
            if len(self._unkept) < _MAX_UNKEPT:
                self._unkept.append(payload)
            else:
                self.counters.costs_lost += 1
                self.counters.nano_lost += nano
        return False

    def _reject(self, table: Table, error: Exception) -> None:
        with self._lock:
            _add(self.counters.rejected, table.name, 1)
        get_logger().error("store_row_rejected", table=table.name, **describe_cause(error))

    def _open_journal(self) -> Journal | None:
        try:
            return Journal(self._place.journals)
        except OSError as error:
            get_logger().error("store_journal_failed", folder=str(self._place.journals), cause=error.strerror)
            return None

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._stopping and self._asked == max(self._answered, self._failed):
                    self._changed.wait(self._options.flush_s)
                asked, stopping = self._asked, self._stopping
            hurry = asked > max(self._answered, self._failed)
            written = self._write_all(hurry)
            with self._changed:
                if written:
                    self._answered = max(self._answered, asked)
                elif hurry:
                    self._failed = max(self._failed, asked)
                self._changed.notify_all()
            if stopping:
                return

    def _write_all(self, hurry: bool) -> bool:
        """Writes what is there; False if that failed, or it is too early to try again."""
        if not hurry and self._monotonic() < self._retry_at:
            return False
        try:
            if self._journal is None:
                self._journal = self._open_journal()
            self._open()
            # What comes meanwhile waits for the next turn: under load there would be no end.
            is_last = False
            while not is_last or self._batch is not None:
                if self._batch is None:
                    self._batch = self._take()
                    is_last = self._batch is None or len(self._batch.costs) < _MAX_COSTS_OF_A_BATCH
                if self._batch is not None:
                    self._write(self._batch)
                    self._batch = None
            if self._journal is not None:
                self._journal.prepare()
        except (SQLAlchemyError, OSError, StoreVersionError) as error:
            self._fail(error)
            return False
        except Exception as error:
            # The thread must live, whatever a driver raises.
            self._fail(error)
            return False
        if self._failed_in_a_row:
            get_logger().info("store_recovered", place=str(self._place), failures=self._failed_in_a_row)
        self._failed_in_a_row = 0
        return True

    def _open(self) -> None:
        if self._engine is not None:
            return
        engine = make_engine(self._place)
        try:
            with engine.begin() as connection:
                migrate(connection)
            for path in left_over(self._place.journals):
                with adopt(path) as records:
                    if records is None:
                        continue
                    with engine.begin() as connection:
                        found, refused = write_left_over(connection, records)
                    if refused:
                        self._set_aside(refused)
                self.counters.costs_recovered += found
                if found:
                    get_logger().warning("store_costs_recovered", costs=found)
        except BaseException:
            engine.dispose()
            raise
        self._count_files()
        if self.counters.refused_files:
            get_logger().error(
                "store_costs_set_aside",
                folder=str(self._place.journals),
                files=self.counters.refused_files,
                remedy="turnout store check",
            )
        self._engine = engine

    def _set_aside(self, records: list[bytes]) -> None:
        path = set_aside(self._place.journals, records)
        self.counters.costs_refused += len(records)
        self._count_files()
        get_logger().error(
            "store_costs_refused", costs=len(records), file=str(path), remedy="turnout store reread"
        )

    def _count_files(self) -> None:
        folder = self._place.journals
        self.counters.refused_files = len(refused_files(folder)) + len(damaged_files(folder))

    def _take(self) -> Batch | None:
        for source in self._sources:
            for counted in source():
                self.count_decisions(*counted)
        costs, size = self._journal.read(_MAX_COSTS_OF_A_BATCH) if self._journal is not None else ([], 0)
        with self._lock:
            self._batches += 1
            batch = Batch(self._batches, self._waiting, self._counts, [*self._unkept, *costs], size)
            self._waiting, self._counts, self._unkept, self._waiting_rows = {}, {}, [], 0
        self._redact(batch)
        return batch if batch else None

    def _redact(self, batch: Batch) -> None:
        for row in batch.rows.get(DECISIONS, ()):
            for name in ("prompt", "answer"):
                if (text := row[name]) is None:
                    continue
                try:
                    redacted = self._options.redact(text) if self._options.redact is not None else None
                except Exception as error:
                    get_logger().error("store_redaction_failed", **describe_cause(error))
                    redacted = None
                row[name] = None if redacted is None else rows.clean(redacted, rows.MAX_TEXT_CHARS)

    def _write(self, batch: Batch) -> None:
        assert self._engine is not None
        now_ms = int(self._clock() * 1000)
        try:
            with self._engine.begin() as connection:
                apply_batch(connection, batch, self._writer_id, now_ms)
        except StatementError as error:
            if not is_of_a_row(error):
                raise
            get_logger().error("store_batch_refused", **describe_cause(error))
            with self._engine.begin() as connection:
                apply_batch(connection, batch, self._writer_id, now_ms, singly=True)
        if batch.refused:
            # Before they go from the journal. If the disk is full, the batch is tried again, and is known to be written.
            self._set_aside(batch.refused)
            batch.refused = []
        if self._journal is not None:
            self._journal.mark_done(batch.journal_size)
        for table, written in batch.rows.items():
            _add(self.counters.written, table.name, len(written) - batch.rejected.get(table.name, 0))
        _add(self.counters.written, COSTS.name, batch.cost_rows - batch.rejected.get(COSTS.name, 0))
        for name, count in batch.rejected.items():
            _add(self.counters.rejected, name, count)

    def _fail(self, error: BaseException) -> None:
        self.counters.failures += 1
        self._failed_in_a_row += 1
        wait_s = min(self._options.flush_s * 2**self._failed_in_a_row, MAX_RETRY_S)
        self._retry_at = self._monotonic() + wait_s
        # The driver's own words hold no row; SQLAlchemy's would quote the statement's values.
        cause = str(getattr(error, "orig", None) or "") or type(error).__qualname__
        get_logger().error(
            "store_write_failed",
            place=str(self._place),
            cause=cause.partition("\n")[0][:200],
            in_a_row=self._failed_in_a_row,
            retry_s=wait_s,
            **describe_cause(error),
        )


def _add(counts: dict[str, int], name: str, count: int) -> None:
    if count:
        counts[name] = counts.get(name, 0) + count
