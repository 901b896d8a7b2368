"""What an entry of the log may contain, and how a leaf commits to it.

Pure. A fact is a flat JSON object of numbers, fixed words, names from the policy, random ids of our own records and
fingerprints of the policy. It has no field for values of people, their identifiers, pseudonyms or free text. The leaf is
only a commitment: once the fact is erased together with its salt, the leaf reveals nothing.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from cdp.kit.canonical import canonical_json, instant_text
from cdp.kit.clock import parse_instant
from cdp.kit.errors import Fault

SALT_BYTES: Final = 32
FORMAT: Final = "cdp/entry@v1"

_COMMITMENT_LABEL = b"cdp/audit/commitment/v1\n"
_COUNT_MAX = 2**53 - 1
_LISTED_MAX = 500

Rule = Callable[[Any], bool]


def commitment(salt: bytes, body: Mapping[str, Any]) -> bytes:
    """The 32 bytes that represent a body in the log. Raises ValueError for a body that JSON cannot represent."""
    return commitment_to(salt, canonical_json(dict(body)))


def commitment_to(salt: bytes, canonical: bytes) -> bytes:
    """SHA-256 over a label, 32 bytes of salt and the RFC 8785 bytes of a body."""
    if len(salt) != SALT_BYTES:
        raise ValueError("a salt has 32 bytes")
    return hashlib.sha256(_COMMITMENT_LABEL + salt + canonical).digest()


def entry_body(fact: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The body of an entry with `fact` at `now`.

    Raises the fault `audit_fact_refused` if the log may not contain the fact.
    """
    kind = fact.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise _refused("The kind of the fact is unknown; cdp.audit.fact lists the kinds.")
    if missing := sorted(KINDS[kind] - fact.keys()):
        raise _refused(f"A fact of kind {kind} requires {', '.join(missing)}.")
    for name, value in fact.items():
        if name not in FIELDS:
            raise _refused(f"A fact of kind {kind} has an unknown field.")
        if not FIELDS[name](value):
            raise _refused(
                f"The field {name} of a fact of kind {kind} is not in the format that cdp.audit.fact defines."
            )
    return {**fact, "format": FORMAT, "at": instant_text(now)}


def _refused(detail: str) -> Fault:
    return Fault("audit_fact_refused", "The audit log accepts only facts without personal data", detail, status=500)


def _words(*words: str) -> Rule:
    """One of these fixed words."""
    allowed = frozenset(words)
    return lambda value: isinstance(value, str) and value in allowed


def _record_id(*prefixes: str) -> Rule:
    """The text form of a random id of one of our own records; never of a person."""
    pattern = re.compile(rf"(?:{'|'.join(prefixes)})_[0-9a-hjkmnp-tv-z]{{13}}")
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


_NAME = re.compile(r"(?!.*[0-9]{6})(?!.*[0-9a-f]{16})[a-z][a-z0-9_.-]{0,62}")
_ROLE = re.compile(r"[a-z][a-z0-9]{0,15}")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _COUNT_MAX


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_name(value: Any) -> bool:
    """A name from the policy: lower case, no address, no long sequence of digits or hexadecimal."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_role(value: Any) -> bool:
    """A role of staff, a reader role of the policy, or what acts by itself, such as the worker."""
    return isinstance(value, str) and _ROLE.fullmatch(value) is not None


def is_impersonal_name(name: str) -> bool:
    """Whether a name chosen for a segment or a similar object cannot identify a person, so that the log can contain it."""
    return _is_name(name)


def _is_fingerprint(value: Any) -> bool:
    """SHA-256 of something public, such as the policy folder or the text of a segment."""
    return isinstance(value, str) and _FINGERPRINT.fullmatch(value) is not None


def _is_instant(value: Any) -> bool:
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        return False
    try:
        parse_instant(value)
    except ValueError:
        return False
    return True


def _is_date(value: Any) -> bool:
    return isinstance(value, str) and _DATE.fullmatch(value) is not None and _is_instant(value + "T00:00:00Z")


def _are(rule: Rule) -> Rule:
    """A list of values that all satisfy one rule."""
    return lambda value: isinstance(value, list) and len(value) <= _LISTED_MAX and all(map(rule, value))


def _is_list_of_commitments(value: Any) -> bool:
    """Commitments of 32 bytes each, one after the other in base64."""
    if not isinstance(value, str) or not _BASE64.fullmatch(value):
        return False
    try:
        listed = base64.b64decode(value, validate=True)
    except ValueError:
        return False
    return len(listed) > 0 and len(listed) % 32 == 0


def _is_tally(value: Any) -> bool:
    """Counts by name."""
    return (
        isinstance(value, dict)
        and len(value) <= _LISTED_MAX
        and all(_is_name(name) and _is_count(count) for name, count in value.items())
    )


def _is_step(value: Any) -> bool:
    """One step of an erasure: table, verb and number of rows."""
    return (
        isinstance(value, dict)
        and value.keys() == {"table", "verb", "rows"}
        and _is_name(value["table"])
        and _VERB(value["verb"])
        and _is_count(value["rows"])
    )


_VERB = _words("delete", "sever", "shred", "keep", "suppress", "expire", "scrub", "hold", "repair")

FIELDS: Final[Mapping[str, Rule]] = {
    "kind": _is_name,
    # who acted, for what
    "actor": _is_role,
    "token": _is_count,
    "source": _is_count,
    "purpose": _is_name,
    "purposes": _are(_is_name),
    "policy": _is_fingerprint,
    "previous_policy": _is_fingerprint,
    "rule": _is_name,
    "reason": _is_name,
    "count": _is_count,
    "by_reason": _is_tally,
    "is_dry_run": _is_flag,
    "version": _is_count,
    # consent
    "record": _record_id("rec", "con"),
    "act": _words("grant", "refuse", "withdraw", "object"),
    "authority": _words("authenticated", "device", "signal", "operator", "imported"),
    "jurisdiction": _is_name,
    "acts": _is_list_of_commitments,
    # identity and ingest
    "profiles": _is_count,
    "anchors": _is_count,
    "identifiers": _is_count,
    "events": _is_count,
    "traits": _is_count,
    "messages": _is_count,
    "states": _is_tally,
    "import": _record_id("imp"),
    # requests
    "request": _record_id("req"),
    "request_kind": _words(
        "access", "portability", "erasure", "rectification", "restriction", "objection", "opt_out", "limit"
    ),
    "regime": _is_name,
    "status": _words("received", "verified", "in_progress", "fulfilled", "denied", "withdrawn", "expired"),
    "received_at": _is_instant,
    "verified_at": _is_instant,
    "due_at": _is_instant,
    "extended_to": _is_instant,
    "fulfilled_at": _is_instant,
    "is_in_time": _is_flag,
    "is_nothing_held": _is_flag,
    "is_informed": _is_flag,
    "is_deferring": _is_flag,
    "mode": _words("erase_and_suppress", "erase", "suppress"),
    "days": _is_count,
    "steps": _are(_is_step),
    "keys_shredded": _is_count,
    "suppressed": _is_count,
    "suppressed_until": _is_instant,
    "recipients": _are(_is_name),
    "recipients_notified": _is_count,
    "holds": _are(_is_name),
    "is_scrubbed": _is_flag,
    "not_scrubbed": _are(_is_name),
    "fulfillment": _is_fingerprint,
    "epoch": _is_count,
    "backups_usable_until": _is_instant,
    # the state outside the database
    "lost_from": _is_instant,
    "lost_to": _is_instant,
    # segments, reads
    "segment": _is_name,
    "definition": _is_fingerprint,
    "read": _words(
        "profile",
        "members",
        "preview",
        "explain",
        "consents",
        "entries",
        "report",
        "accounting",
        "export",
        "receipt",
        "identifiers",
        "holds",
        "severed",
        "readers",
        "request",
        "sessions",
    ),
    "question": _is_fingerprint,
    "subjects": _is_fingerprint,
    "entered": _is_count,
    "left": _is_count,
    # keys, retention, administration, the log itself
    "key": _words(
        "master",
        "epoch",
        "subject",
        "graph",
        "suppression",
        "reader",
        "destination",
        "anchor",
        "duplicates",
        "disclosure",
        "signing",
        "hold",
    ),
    "keys": _is_count,
    "retention_class": _is_name,
    "month": _is_date,
    "rows": _is_count,
    "tally": _is_tally,
    "role": _is_role,
    "tree": _is_count,
    "size": _is_count,
    "root": _is_fingerprint,
}

KINDS: Final[Mapping[str, frozenset[str]]] = {
    kind: frozenset(required.split())
    for kind, required in {
        "consent.recorded": "purpose act authority",
        "consent.batch": "count tally acts",
        "consent.cleared": "purpose",
        "restriction.ended": "count is_informed",
        "identity.merged": "profiles",
        "identity.unmerged": "profiles",
        "identity.quarantined": "profiles",
        "identity.crowded": "count",
        "identity.rebuilt": "profiles",
        "identity.simulated": "profiles",
        "identity.corrected": "profiles",
        "identity.case_rejected": "reason rule",
        "ingest.batch": "states",
        "import.started": "import",
        "import.finished": "import states",
        "consume.started": "source",
        "consume.reset": "source count",
        "request.received": "request request_kind regime",
        "request.asked": "request request_kind",
        "request.verified": "request request_kind",
        "request.reviewed": "request request_kind by_reason",
        "request.extended": "request due_at",
        "request.step": "request steps",
        "request.fulfilled": "request request_kind received_at fulfilled_at",
        "request.scrubbed": "request request_kind fulfillment is_scrubbed",
        "request.weighed": "request request_kind purposes",
        "request.denied": "request request_kind reason",
        "request.withdrawn": "request request_kind",
        "request.expired": "request request_kind",
        "suppression.added": "count",
        "suppression.lifted": "count",
        "policy.applied": "policy",
        "segment.defined": "segment definition purpose",
        "segment.deleted": "segment",
        "segment.evaluated": "segment entered left",
        "data.read": "actor read count question",
        "key.created": "key version",
        "key.rotated": "key version",
        "key.destroyed": "key version",
        "sweep.run": "tally",
        "retention.dropped": "retention_class month rows",
        "scrub.run": "is_scrubbed",
        "replay.run": "tally",
        "replay.loss_accepted": "actor reason tally",
        "state.moved": "actor count",
        "source.created": "source",
        "source.key_replaced": "source",
        "source.disabled": "source",
        "source.defer_changed": "source is_deferring",
        "source.hook_set": "source",
        "source.hook_secret_changed": "source",
        "source.hook_deleted": "source",
        "token.created": "token role",
        "token.revoked": "token",
        "schema.migrated": "version",
        "log.started": "tree",
        "log.restored": "tree size",
        "log.replaced": "tree size root",
    }.items()
}
