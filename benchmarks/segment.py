"""Segments over a large consented population, verdicts, and live membership, each beside its baseline.

    python -m benchmarks.segment                # 200,000 profiles, 2,000,000 events
    python -m benchmarks.segment --full         # 1,000,000 profiles, 10,000,000 events: minutes to fill, some 5 GB of disk

The store is filled by the server itself (seeded): one anchor a profile, orders and product views over 390 days, half of the
permissions from within two years. Each segment is evaluated `--rounds` times in turns with its baselines: handwritten SQL on
the same store, and DuckDB over a copy of the columns that it needs. All sides must return the same number.
"""

import argparse
import re
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sqlalchemy import Select, func, select, text

from benchmarks._crowd import NOW, ORDER, PURPOSE, VIEW, fill, terms
from benchmarks._duck import Duck
from benchmarks._live import BATCH, BUYERS, Live, follow
from benchmarks._questions import INSTANTS, QUESTIONS, Question
from benchmarks._stage import machine, stage, table
from cdp.consent.store import projection as projection_store
from cdp.kit.db import Database, Transaction
from cdp.policy.load import load_policy
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.check import parse_and_check
from cdp.query.postgres.compile import InternedIds, compile_segment
from cdp.query.postgres.scope import StatementScope
from cdp.segments.store import definitions as definition_store

_MUST_GOAL = {"hand": "1.5 / 1.1", "duck": "15 / 3", "verdicts": "5 / 2", "live": "2,000 ms / 300 ms"}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--profiles", type=int, default=200_000)
    arguments.add_argument("--events", type=int, default=2_000_000)
    arguments.add_argument("--full", action="store_true", help="1,000,000 profiles with 10,000,000 events")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--batches", type=int, default=120, help="batches of the live measurement, four a second")
    arguments.add_argument("--plans", action="store_true", help="print EXPLAIN (ANALYZE, BUFFERS) of our statements")
    options = arguments.parse_args()
    profiles, events = (1_000_000, 10_000_000) if options.full else (options.profiles, options.events)
    with stage() as stand:
        database = Database(stand.url)
        about = machine(database)
        seconds = fill(database, profiles, events)
        duck = Duck(database, stand.home)
        print("## Segments\n")
        facts = about | {
            "consented profiles": f"{profiles:,}", "events": f"{events:,}", "filled in": f"{seconds:.0f} s",
            "DuckDB": duck.version, "rounds": str(options.rounds),
        }  # fmt: skip
        print(table(["", ""], list(facts.items())), flush=True)
        report(database, duck, options.rounds, plans=options.plans)
        duck.close()
        verdicts(database, options.rounds)
        live(follow(database, stand.home, _keys(), options.batches))
        database.close()


def report(database: Database, duck: Duck, rounds: int, *, plans: bool) -> None:
    """Evaluate every segment on all sides, in turns."""
    catalogue = Catalogue(load_policy(Path("policies")))
    rows, plan_texts = [], []
    for question in QUESTIONS:
        with database.transaction(read_only=True) as tx:
            ours, params = _statement(tx, catalogue, question)
            micros = {name: _micros(value) for name, value in params.items()}
            handwritten = text(question.handwritten)
            counts, spent = race(
                rounds,
                partial(tx.scalar, ours),
                partial(tx.scalar, handwritten, params),
                partial(duck.ask, question.in_duck, micros),
            )
            assert len(set(counts)) == 1, (question.name, counts)
            ours_ms, handwritten_ms, copy_ms = spent
            people = f"{counts[0]:,}"
            rows.append(
                [question.name, people, *map(_ms, spent), f"{ours_ms / handwritten_ms:.2f}", f"{ours_ms / copy_ms:.1f}"]
            )
            if plans:
                compiled = ours.compile(database.engine, compile_kwargs={"literal_binds": True})
                lines = tx.raw.execute(f"EXPLAIN (ANALYZE, BUFFERS) {compiled}".encode()).fetchall()
                plan_texts.append("\n".join(row[0] for row in lines))
    heads = ["segment", "people", "ours ms", "handwritten ms", "DuckDB ms", "to handwritten", "to DuckDB"]
    rows.append(["must / goal", "", "", "", "", _MUST_GOAL["hand"], _MUST_GOAL["duck"]])
    print(f"\n{table(heads, rows)}", *plan_texts, sep="\n\n", flush=True)


def verdicts(database: Database, rounds: int) -> None:
    """Who may be processed for a purpose now, beside counting a boolean column: among what a projection holds, and alone."""
    with database.transaction() as tx:
        for name, columns in (("flag_beside", "profile_id, reader_pseudonym, traits"), ("flag_alone", "profile_id")):
            tx.execute_core(
                text(
                    f"CREATE TABLE public.{name} AS SELECT {columns}, until IS NULL OR until > :now AS is_permitted "
                    "FROM consent.permitted WHERE purpose = :purpose"
                ),
                {"now": NOW, "purpose": PURPOSE},
            )
            tx.execute_core(text(f"ANALYZE public.{name}"))
        ids = InternedIds(projection_store.bits_of(tx), {})
        people = StatementScope(Catalogue(load_policy(Path("policies"))), ids, NOW).permitted(PURPOSE)
        ours = select(func.count()).select_from(people)
        counts, spent = race(
            rounds,
            lambda: tx.scalar(ours),
            lambda: tx.scalar(text("SELECT count(*) FROM public.flag_beside WHERE is_permitted")),
            lambda: tx.scalar(text("SELECT count(*) FROM public.flag_alone WHERE is_permitted")),
        )
        assert len(set(counts)) == 1, counts
        total = tx.scalar(text("SELECT count(*) FROM public.flag_alone"))
    ratios = (f"{spent[0] / baseline:.2f}" for baseline in spent[1:])
    row = [f"{total:,}", f"{counts[0]:,}", *map(_ms, spent), *ratios, _MUST_GOAL["verdicts"]]
    heads = [
        "verdicts",
        "allowed",
        "ours ms",
        "boolean among traits ms",
        "boolean alone ms",
        "ratio",
        "ratio",
        "must / goal",
    ]
    print(f"\n{table(heads, [row])}", flush=True)


def live(found: Live) -> None:
    """How soon a change of membership follows the commit of the message that causes it."""
    ordered = sorted(found.seconds)
    p50, p99 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.99))
    row = [
        f"{len(ordered):,}", str(found.segments), f"{found.per_second:.0f}",
        f"{p50:.0f}", f"{p99:.0f}", f"{ordered[-1] * 1000:.0f}", _MUST_GOAL["live"],
    ]  # fmt: skip
    heads = ["changes", "segments", "messages/s", "p50 ms", "p99 ms", "worst ms", "must / goal (p99)"]
    print(f"\nLive membership, from commit to change; {BUYERS} people of each batch of {BATCH} enter:\n")
    print(table(heads, [row]))


def race(rounds: int, *sides: Callable[[], int]) -> tuple[list[int], list[float]]:
    """Run the sides in turns; their answers and their median milliseconds."""
    answers = [side() for side in sides]
    spent: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for at, side in enumerate(sides):
            begun = time.perf_counter()
            side()
            spent[at].append((time.perf_counter() - begun) * 1000)
    return answers, [statistics.median(side) for side in spent]


def _statement(tx: Transaction, catalogue: Catalogue, question: Question) -> tuple[Select[int], dict[str, object]]:
    """Our count, and the parameters of the others."""
    ids = terms(tx)
    condition = parse_and_check(question.where, catalogue, PURPOSE, now=NOW)
    assert not isinstance(condition, tuple), condition
    ground = definition_store.interned_ids_of(tx, condition, catalogue)
    members = compile_segment(condition, catalogue, ground, purpose=PURPOSE, now=NOW).members
    params: dict[str, object] = {
        "mask": ground.masks[PURPOSE],
        "germany": ids["country", "DE"],
        "order": ids["event", ORDER],
        "view": ids["event", VIEW],
        "shoes": ids["product_category", "shoes"],
    }
    return select(func.count()).select_from(members.subquery()), params | INSTANTS


def _micros(value: object) -> int:
    return value if isinstance(value, int) else round(value.timestamp() * 1_000_000)  # type: ignore[attr-defined]


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 10 else f"{milliseconds:.1f}"


def _keys() -> dict[str, str]:
    return {re.sub(r"\W+", "_", question.name): question.where for question in QUESTIONS}


if __name__ == "__main__":
    main()
