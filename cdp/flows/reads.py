"""Step that logs who read what about whom: every use case that shows data of people takes it.

An entry names the role and the number of the token, the purpose, a keyed digest of the question, and how many were
shown. Whom it showed is noted by digests under the keys of the subjects, so that "who looked at this person?" has an
answer for as long as the keys exist, and none afterwards.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.kit.canonical import canonical_json
from cdp.kit.db import Transaction
from cdp.vault.pseudonym import SUPPRESSION

READ: Final = "audit/read"
QUESTION: Final = "audit/question"


@dataclass(frozen=True, slots=True)
class Reading:
    """One read: by whom, of what, for which purpose.

    `question` is what was asked besides the person; only a keyed digest of it is logged, because it may contain values.
    `named` are further fields of the entry, such as the segment.
    """

    actor: str
    token: int | None
    read: str
    purpose: str | None = None
    question: Mapping[str, Any] | None = None
    named: Mapping[str, Any] | None = None


def log_read(
    tx: Transaction,
    context: Context,
    reading: Reading,
    *,
    count: int,
    now: datetime,
    profiles: Collection[int] = (),
    identifiers: Collection[int] = (),
) -> None:
    """Log a read, in its transaction; at most four statements.

    `profiles` and `identifiers` are those whose data was shown. `count` is the number of rows in the answer.
    """
    fact: dict[str, Any] = {
        "kind": "data.read",
        "actor": reading.actor,
        "read": reading.read,
        "count": count,
        "question": _question_digest(context, reading),
        **(reading.named or {}),
    }
    if reading.token is not None:
        fact["token"] = reading.token
    if reading.purpose is not None:
        fact["purpose"] = reading.purpose
    digests = subject_digests(tx, context, profiles=profiles, identifiers=identifiers)
    if digests:
        fact["subjects"] = hashlib.sha256(b"".join(sorted(digests))).hexdigest()
    entry_id = fact_store.append(tx, fact, now)
    fact_store.add_read_subjects(tx, entry_id, digests)


def subject_digests(
    tx: Transaction, context: Context, *, profiles: Collection[int] = (), identifiers: Iterable[int] = ()
) -> set[bytes]:
    """The digests by which reads of these people are noted: one for each identifier, or anchor where there is none."""
    subjects = {*identifiers, *consent_subject_store.subjects_of(tx, profiles)}
    if not subjects:
        return set()
    return set(context.vault.subject_keys.digests(tx, READ, subjects).values())


def _question_digest(context: Context, reading: Reading) -> str:
    asked = canonical_json({"read": reading.read, **(reading.question or {})})
    return context.vault.hashes.digests(SUPPRESSION, QUESTION, [asked])[0].hex()
