"""Consistency checks across the files of a policy: names that exist, places that are promoted once, hosts that are allowed.

A pure function of the policy. Each finding names a file and the path inside it; the loader finds the line.
"""

from collections.abc import Iterator
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers

from cdp.policy.check_currencies import check_currencies
from cdp.policy.check_events import check_events, check_traits
from cdp.policy.findings import Finding, must_be_category, must_exist
from cdp.policy.model import MARKETER, Keep, Policy, PropertyType, Purpose

PURPOSES, IDENTIFIERS, RETENTION = "purposes.yaml", "identifiers.yaml", "retention.yaml"
DESTINATIONS, JURISDICTIONS, READERS = "destinations.yaml", "jurisdictions.yaml", "readers.yaml"
_ROLE_AND_PURPOSE_MAX = 51
"""PostgreSQL cuts names off after 63 bytes, and the table of a role and a purpose is `projection_ROLE_PURPOSE`."""
REGIONS: frozenset[str] = frozenset(phonenumbers.SUPPORTED_REGIONS)


def check(policy: Policy) -> Iterator[Finding]:
    """All inconsistencies between the files."""
    for purpose in policy.purposes.values():
        yield from _check_purpose(purpose, policy)
    yield from _check_identifiers(policy)
    yield from _check_retention(policy)
    yield from check_events(policy)
    yield from check_traits(policy)
    yield from check_currencies(policy)
    yield from _check_destinations(policy)
    yield from _check_jurisdictions(policy)
    yield from _check_readers(policy)
    yield from _check_segments(policy)


def _check_purpose(purpose: Purpose, policy: Policy) -> Iterator[Finding]:
    at = ("purposes", purpose.key)
    for index, category in enumerate(purpose.categories):
        yield from must_be_category(PURPOSES, (*at, "categories", index), category, policy=policy)
    declared = policy.jurisdictions.jurisdictions
    for jurisdiction in purpose.model:
        yield from must_exist(PURPOSES, (*at, "model", jurisdiction), jurisdiction, known=declared, kind="jurisdiction")
    for jurisdiction in declared if purpose.model else ():
        if jurisdiction not in purpose.model:
            remedy = f"add `{jurisdiction}: opt_in` or `{jurisdiction}: opt_out`"
            yield Finding(PURPOSES, (*at, "model"), f"jurisdiction `{jurisdiction}` has no consent model here", remedy)
    for index, event in enumerate(purpose.events if purpose.events != "*" else ()):
        path = (*at, "events", index)
        yield from must_exist(PURPOSES, path, event, known=policy.events.events, kind="event")
        plan = policy.events.events.get(event)
        if plan is not None and not purpose.allows(plan.category):
            remedy = f"add {plan.category} to its categories, or remove the event"
            yield Finding(
                PURPOSES, path, f"`{event}` is of category {plan.category}, which this purpose does not allow", remedy
            )
    for index, other in enumerate(purpose.combines_with):
        path = (*at, "combines_with", index)
        yield from must_exist(PURPOSES, path, other, known=policy.purposes, kind="purpose")
        if other == purpose.key:
            yield Finding(PURPOSES, path, "a purpose always combines with itself", "remove it")
    if purpose.minimum_age is not None:
        age = policy.events.traits.get("age")
        if age is None or age.keep is not Keep.PLAIN or age.type is not PropertyType.NUMBER:
            remedy = "declare it under `traits` in events.yaml with type number and keep plain"
            yield Finding(PURPOSES, (*at, "minimum_age"), "a minimum age needs the stated trait `age`", remedy)


def _check_identifiers(policy: Policy) -> Iterator[Finding]:
    identifiers = policy.identifiers
    region = identifiers.default_region
    if region is not None and region not in REGIONS:
        remedy = "did you mean `GB`?" if region == "UK" else "use an ISO 3166 code such as DE, GB or US"
        yield Finding(IDENTIFIERS, ("default_region",), f"`{region}` is not a region with telephone numbers", remedy)
    keys_by_priority: dict[int, str] = {}
    places: dict[object, str] = {}
    for key, identifier_type in identifiers.types.items():
        other_key = keys_by_priority.setdefault(identifier_type.priority, key)
        if other_key != key:
            what = f"priority {identifier_type.priority} is already used by `{other_key}`"
            yield Finding(
                IDENTIFIERS, ("types", key, "priority"), what, f"the next free one is {_next_priority(policy)}"
            )
        for index, promotion in enumerate(identifier_type.promote):
            if promotion.place.endswith("[]"):
                continue
            place = promotion.place, tuple(sorted(promotion.when.items(), key=str))
            if places.setdefault(place, key) != key:
                what = f"`{promotion.place}` is already promoted to `{places[place]}` under the same conditions"
                yield Finding(
                    IDENTIFIERS, ("types", key, "promote", index), what, "keep one, or distinguish them with `when`"
                )


def _next_priority(policy: Policy) -> int:
    return max(identifier_type.priority for identifier_type in policy.identifiers.types.values()) + 1


def _check_retention(policy: Policy) -> Iterator[Finding]:
    for key, retention_class in policy.retention.classes.items():
        if retention_class.hold is None:
            continue
        events = [event for event in policy.events.events.values() if event.retention_class == key]
        names = {name for event in events for name, plan in event.properties.items() if plan.keep is not Keep.DROP}
        for index, column in enumerate(retention_class.hold.columns):
            path = ("classes", key, "hold", "columns", index)
            yield from must_exist(
                RETENTION, path, column, known=names, kind=f"stored property of an event of class `{key}` named"
            )


def _check_destinations(policy: Policy) -> Iterator[Finding]:
    for key, destination in policy.destinations.destinations.items():
        at = ("destinations", key)
        yield from must_exist(
            DESTINATIONS, (*at, "purpose"), destination.purpose, known=policy.purposes, kind="purpose"
        )
        host = urlsplit(destination.url).hostname or ""
        if host not in policy.destinations.hosts:
            yield Finding(DESTINATIONS, (*at, "url"), f"the host `{host}` is not allowed", "add it to `hosts`")
        for index, kind in enumerate(destination.identifiers):
            path = (*at, "identifiers", index)
            yield from must_exist(DESTINATIONS, path, kind, known=policy.identifiers.types, kind="identifier type")


def _check_jurisdictions(policy: Policy) -> Iterator[Finding]:
    for key, jurisdiction in policy.jurisdictions.jurisdictions.items():
        path = ("jurisdictions", key, "regime")
        yield from must_exist(
            JURISDICTIONS, path, jurisdiction.regime, known=policy.jurisdictions.regimes, kind="regime"
        )
    zone = policy.jurisdictions.time_zone
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        remedy = "use an IANA name such as UTC or Europe/Berlin"
        yield Finding(JURISDICTIONS, ("time_zone",), f"unknown time zone `{zone}`", remedy)


def _check_readers(policy: Policy) -> Iterator[Finding]:
    for key, role in policy.readers.roles.items():
        for index, purpose in enumerate(role.purposes):
            path = ("roles", key, "purposes", index)
            yield from must_exist(READERS, path, purpose, known=policy.purposes, kind="purpose")
        for read in filter(role.reads, policy.purposes.values()):
            if key != MARKETER and len(key) + len(read.key) > _ROLE_AND_PURPOSE_MAX:
                what = f"`{key}` reads `{read.key}`: both names together are too long for a table"
                remedy = f"shorten one, to {_ROLE_AND_PURPOSE_MAX} characters together"
                yield Finding(READERS, ("roles", key), what, remedy, of_key=True)


def _check_segments(policy: Policy) -> Iterator[Finding]:
    for stem, segment in policy.segments.items():
        file = f"segments/{stem}.yaml"
        yield from must_exist(file, ("purpose",), segment.purpose, known=policy.purposes, kind="purpose")
        if segment.key != stem:
            yield Finding(
                file, ("key",), f"the key is `{segment.key}`, but the file is {stem}.yaml", "use the same name for both"
            )
