"""Steps of the corrected values that a rectification states: checked, sealed with the request, and opened."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cdp.behavior.classify import json_bytes
from cdp.behavior.rules import compile_plan
from cdp.flows.context import Context
from cdp.flows.rights.person import value_row
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.rights.model import CorrectedTrait
from cdp.rights.store import requests as request_store
from cdp.vault.seal import SealedColumn
from cdp.vault.vault import Item

VALUE_COLUMN: Final = SealedColumn("rights.request_value", "sealed")
VALUES_MAX: Final = 50
_VALUE_BYTES_MAX: Final = 10_000


def checked_values(policy: Policy, values: Mapping[str, Any]) -> tuple[CorrectedTrait, ...]:
    """The corrected traits of a request, each of its planned type.

    Faults, which never repeat a value: `no_value`, `unknown_trait`, `invalid_trait_value`.
    """
    rules = compile_plan(policy.events).traits
    if not 0 < len(values) <= VALUES_MAX:
        raise Fault(
            "no_value",
            "A rectification states what is right",
            f"Give one to {VALUES_MAX} traits, each with its right value.",
            status=422,
        )
    for name, value in values.items():
        rule = rules.get(name)
        if rule is None or rule.is_dropped:
            known = ", ".join(sorted(key for key, rule in rules.items() if not rule.is_dropped))
            raise Fault("unknown_trait", "Unknown trait", f"policies/events.yaml keeps the traits {known}.", status=422)
        is_planned = rule.convert is None or rule.convert(value) is not None
        if value is None or not is_planned or len(json_bytes(value)) > _VALUE_BYTES_MAX:
            raise Fault(
                "invalid_trait_value",
                "The value is not of the type of the trait",
                f"policies/events.yaml defines the type of the trait `{name}`.",
                status=422,
            )
    return tuple(CorrectedTrait(name, value) for name, value in sorted(values.items()))


def store_values(tx: Transaction, context: Context, request_id: int, *, values: Sequence[CorrectedTrait]) -> None:
    """Store the corrected values of a request, sealed under its key."""
    keys = context.vault.subject_keys.keys_for(tx, [request_id])
    items = [
        Item(request_id, value_row(request_id, position), json_bytes([trait.name, trait.value]))
        for position, trait in enumerate(values)
    ]
    request_store.add_values(tx, request_id, context.vault.seal_many(keys, VALUE_COLUMN, items))


def named_values(tx: Transaction, context: Context, request_id: int) -> tuple[CorrectedTrait, ...]:
    """The corrected values of a request, opened; none once they were shredded after its end."""
    stored = request_store.sealed_values(tx, request_id)
    items = [Item(request_id, value_row(request_id, position), sealed) for position, sealed in stored]
    opened = context.vault.open_many(context.vault.subject_keys.keys_for(tx, [request_id]), VALUE_COLUMN, items)
    return tuple(CorrectedTrait(*json.loads(value)) for value in opened if value is not None)
