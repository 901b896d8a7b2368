"""Orders with their products in a list: what plain fields cost ingest, and segments that ask for them.

    python -m benchmarks.lists

Ingest: batches of orders with three products each, in turns under the shipped plan and under one that seals `products` as a
whole; the baseline is the latter. Segments: the crowd of `benchmarks.segment`, each of whose orders has one to five of 500
articles; the baseline is a segment about a property of the order itself. `--plans` prints EXPLAIN (ANALYZE, BUFFERS).
"""

import argparse
import copy
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

from sqlalchemy import Select, func, select, text

from benchmarks._crowd import NOW, ORDER, PURPOSE, fill, terms
from benchmarks._stage import PERMIT_ALL, Spent, Stopwatch, backend_pid, machine, median, stage, table
from benchmarks._store import vacuum
from benchmarks.segment import race
from cdp.consent.store import projection as projection_store
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.sources import create_source
from cdp.flows.operations.startup import open_context
from cdp.kit.canonical import canonical_json, sha256
from cdp.kit.clock import SystemClock
from cdp.kit.db import Database, Transaction
from cdp.policy.load import build_policy, load_policy
from cdp.policy.model import Policy
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.check import parse_and_check
from cdp.query.postgres.compile import InternedIds, compile_segment
from cdp.sources.model import Source
from cdp.wire.message import Message

QUESTIONS: Final = (
    ("a property of the order", f'did("{ORDER}" where category = "hats")'),
    ("an article", f'did("{ORDER}" where any products where sku = "SKU-7")'),
    ("two of an article", f'did("{ORDER}" where any products where (sku = "SKU-7" and quantity >= 2))'),
    ("an order without it", f'did("{ORDER}" where not (any products where sku = "SKU-7"))'),
    ("a sum of the order", f'sum("{ORDER}".items) >= 20'),
    ("a sum over its products", f'sum("{ORDER}".products.quantity) >= 20'),
)
_ARTICLES = """
    INSERT INTO behavior.term (vocabulary, term) SELECT 'sku', 'SKU-' || n FROM generate_series(1, 500) AS n
"""
_BOUGHT = """
    UPDATE behavior.event AS e SET plain = plain || jsonb_build_object('products', (
        SELECT jsonb_agg(jsonb_build_object('sku', :first + (random() * 499)::int, 'price', 5 + (random() * 95)::int,
                                            'quantity', 1 + (random() * 3)::int))
        FROM generate_series(1, 1 + (random() * 4)::int) AS n WHERE e.event_id IS NOT NULL
    ))
    WHERE retention_class = 'transactions'
"""
_numbers = count()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--batch", type=int, default=500, help="messages of a batch")
    arguments.add_argument("--profiles", type=int, default=50_000)
    arguments.add_argument("--orders", type=int, default=100_000)
    arguments.add_argument("--plans", action="store_true", help="print EXPLAIN (ANALYZE, BUFFERS) of our statements")
    options = arguments.parse_args()
    with stage() as place:
        database = Database(place.url, pool_size=1)
        print("## Lists of products\n")
        print(table(["", ""], list(machine(database).items())), flush=True)
        print(f"\n{ingest_of_orders(database, place.home, options.rounds, batch=options.batch)}", flush=True)
        database.close()
    with stage() as place:
        database = Database(place.url, pool_size=3)
        print(f"\n{segments(database, options)}", flush=True)
        database.close()


def ingest_of_orders(database: Database, home: Path, rounds: int, *, batch: int) -> str:
    """Processor time of a batch with the plain fields of products, beside one with products that are sealed."""
    plain = load_policy(PERMIT_ALL)
    context = open_context(database, plain, SystemClock(), home=home)
    source = create_source(context, "shop", jurisdiction="eu").entry.source
    sides = [
        Ingest(database, context.vault, policy, clock=context.clock, replay=context.replay)
        for policy in (_sealed(plain), plain)
    ]
    random = Random(1)
    for one in sides * 2:
        one.process([_order(source, random) for _ in range(batch)])
    spent: list[list[Spent]] = [[], []]
    for at in range(rounds):
        for side in (0, 1) if at % 2 else (1, 0):
            messages = [_order(source, random) for _ in range(batch)]
            watch = Stopwatch(backend_pid(database))
            sides[side].process(messages)
            spent[side].append(watch.read())
    sealed, fields = spent
    ratios = [mine.processor / other.processor for other, mine in zip(sealed, fields, strict=True)]
    row = [
        str(batch),
        *(f"{1000 * median([one.processor for one in side]):.1f}" for side in spent),
        f"{median(ratios):.3f}",
        f"{median([mine.wall / other.wall for other, mine in zip(sealed, fields, strict=True)]):.3f}",
    ]
    heads = ["orders a batch", "sealed, ms", "plain fields, ms", "ratio of processor time", "ratio on the wall"]
    return table(heads, [row])


def segments(database: Database, options: argparse.Namespace) -> str:
    """Each question in turns with the first."""
    fill(database, options.profiles, options.orders * 10 // 3)
    with database.transaction() as tx:
        tx.execute_core(text(_ARTICLES))
        tx.execute_core(text("SELECT setseed(0.42)"))
        tx.execute_core(text(_BOUGHT), {"first": terms(tx)["sku", "SKU-1"]})
    vacuum(database)
    rows, plans = [], []
    with database.transaction(read_only=True) as tx:
        statements = [(name, _statement(tx, where)) for name, where in QUESTIONS]
        base = statements[0][1]
        for name, statement in statements:
            (people, _), (ours, beside) = race(options.rounds, partial(tx.scalar, statement), partial(tx.scalar, base))
            rows.append([name, f"{people:,}", f"{ours:.1f}", f"{ours / beside:.2f}"])
            if options.plans:
                compiled = statement.compile(database.engine, compile_kwargs={"literal_binds": True})
                lines = tx.raw.execute(f"EXPLAIN (ANALYZE, BUFFERS) {compiled}".encode()).fetchall()
                plans.append("\n".join([name, *(line[0] for line in lines)]))
    heads = [f"segment of {options.orders:,} orders", "people", "ms", "to a property"]
    return "\n\n".join([table(heads, rows), *plans])


def _statement(tx: Transaction, where: str) -> Select[Any]:
    catalogue = Catalogue(load_policy(Path("policies")))
    condition = parse_and_check(where, catalogue, PURPOSE)
    assert not isinstance(condition, tuple), condition
    ids = InternedIds(projection_store.bits_of(tx), terms(tx))
    members = compile_segment(condition, catalogue, ids, purpose=PURPOSE, now=NOW).members
    return select(func.count()).select_from(members.subquery())


def _sealed(policy: Policy) -> Policy:
    documents: Any = copy.deepcopy(dict(policy.documents))
    documents["events.yaml"]["property_sets"]["order"]["products"] = {"type": "any", "keep": "sealed"}
    return build_policy(documents)


def _order(source: Source, random: Random) -> Message:
    now = SystemClock().now() - timedelta(seconds=1)
    number = next(_numbers)
    body: dict[str, Any] = {
        "type": "track",
        "event": ORDER,
        "messageId": f"m-{number}",
        "userId": f"customer-{random.randrange(200)}",
        "properties": {
            "order_id": f"o-{number}", "revenue": 99.5, "currency": "EUR", "products": _products(random)
        },
    }  # fmt: skip
    return Message(source, "track", body["messageId"], now, now, body, sha256(canonical_json(body)))


def _products(random: Random) -> Sequence[dict[str, Any]]:
    return [
        {
            "sku": f"SKU-{random.randrange(500)}", "name": "A mug with a long name", "price": 5.5, "quantity": 2,
            "category": "mugs", "brand": "Acme", "image_url": "https://shop.example.com/images/1234.png",
        }
        for _ in range(3)
    ]  # fmt: skip


if __name__ == "__main__":
    main()
