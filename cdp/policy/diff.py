"""The differences between two policies as sentences, each with the effect of applying it.

Pure: it counts no profiles. `cdp policy plan` adds the numbers.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue

from cdp.kit.wording import counted
from cdp.policy.model import CONTROLLER_FILE, CURRENCIES_FILE, Policy
from cdp.policy.purposes import ConsentModel, LegalBasis

Steps = tuple[str, ...]


class Change(StrEnum):
    """The kind of a difference."""

    ADDED = "added"
    ENDED = "ended"
    CHANGED = "changed"


@dataclass(frozen=True)
class PolicyDifference:
    """One difference: where it is, a sentence, and the effect of applying it (empty when it has no effect on data)."""

    file: str
    path: Steps
    change: Change
    text: str
    effect: str = ""


@dataclass(frozen=True)
class _Edit:
    """A difference before it is described; an absent side is None."""

    file: str
    path: Steps
    change: Change
    old: JsonValue
    new: JsonValue


def differences(old: Policy, new: Policy) -> tuple[PolicyDifference, ...]:
    """Every difference in meaning, in the order of the files; none if only layout, comments or written-out defaults differ."""
    before, after = _contents(old), _contents(new)
    edits = (edit for file in before for edit in _walk(file, (), before[file], new=after[file]))
    return tuple(PolicyDifference(edit.file, edit.path, edit.change, _words(edit), _effect(edit)) for edit in edits)


def _contents(policy: Policy) -> Mapping[str, JsonValue]:
    """Each file's meaning as JSON; property sets are left out, because every event names all its properties."""
    dumped = policy.model_dump(
        mode="json", exclude={"documents": True, "fingerprint": True, "events": {"property_sets"}}
    )
    return {
        "purposes.yaml": {name: dumped[name] for name in ("categories", "purposes", "signals")},
        "identifiers.yaml": dumped["identifiers"],
        "retention.yaml": dumped["retention"],
        "events.yaml": dumped["events"],
        "traits.yaml": {"traits": dumped["traits"]},
        "destinations.yaml": dumped["destinations"],
        "jurisdictions.yaml": dumped["jurisdictions"],
        CURRENCIES_FILE: dumped["currencies"],
        "readers.yaml": {
            "roles": {role: policy.readers.role(role).model_dump(mode="json") for role in policy.readers.names}
        },
        CONTROLLER_FILE: _responsible(policy),
        "segments": dumped["segments"],
    }


def _responsible(policy: Policy) -> JsonValue:
    """Who is named, joint controllers by name; what is absent has no entry."""
    dumped = policy.responsible.model_dump(mode="json", exclude_none=True)
    joint = {organization["name"]: organization for organization in dumped.pop("joint_controllers")}
    return {**dumped, "joint_controllers": joint}


def _walk(file: str, path: Steps, old: JsonValue, *, new: JsonValue) -> Iterator[_Edit]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for step in dict.fromkeys([*old, *new]):
            below = (*path, step)
            if step not in new:
                yield _Edit(file, below, Change.ENDED, old[step], None)
            elif step not in old:
                yield _Edit(file, below, Change.ADDED, None, new[step])
            else:
                yield from _walk(file, below, old[step], new=new[step])
    elif _is_set(old) and _is_set(new) and isinstance(old, list) and isinstance(new, list):
        for item in old:
            if item not in new:
                yield _Edit(file, (*path, str(item)), Change.ENDED, item, None)
        for item in new:
            if item not in old:
                yield _Edit(file, (*path, str(item)), Change.ADDED, None, item)
    else:
        yield _Edit(file, path, Change.CHANGED, old, new)


def _is_set(value: JsonValue) -> bool:
    return isinstance(value, list) and all(isinstance(item, (str, int)) for item in value)


def _words(edit: _Edit) -> str:
    name = " › ".join(edit.path)
    match edit.change:
        case Change.ADDED:
            return f"{name} is new"
        case Change.ENDED:
            return f"{name} ends"
        case Change.CHANGED:
            return f"{name} changes from {_shown(edit.old)} to {_shown(edit.new)}"


def _shown(value: JsonValue) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list)):
        return counted(len(value), "entry", "entries")
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _effect(edit: _Edit) -> str:
    rule = _RULES.get(edit.file)
    return rule(edit) if rule is not None else ""


def _days(edit: _Edit) -> str:
    assert isinstance(edit.new, int)
    return counted(edit.new, "day")


def _is_shorter(edit: _Edit) -> bool:
    """Whether a number of days is reduced; an absent number means unlimited."""
    if not isinstance(edit.new, int):
        return False
    return edit.old is None or (isinstance(edit.old, int) and edit.new < edit.old)


def _of_purposes_file(edit: _Edit) -> str:
    if "signals" in (edit.path[0], *edit.path[2:3]):
        return "signals that arrive from now on are read by it; what was recorded from earlier ones stays"
    return _of_purposes(edit)


def _of_purposes(edit: _Edit) -> str:
    match edit.path, edit.change:
        case ("purposes", _), Change.ADDED:
            return _of_a_new_purpose(edit.new)
        case ("purposes", _), Change.ENDED:
            return "its projection ends, and events that no other purpose permits are deleted"
        case ("purposes", _, "model", _), _ if edit.new == "opt_in":
            return "people there who never granted consent are no longer permitted"
        case ("purposes", _, "model", _), _ if edit.new == "opt_out":
            return "people there who never refused become eligible, for events from now on"
        case ("purposes", _, "validity_days"), _ if _is_shorter(edit):
            return f"grants expire {_days(edit)} after they were given, also those that were given before; older ones end at once"
        case ("purposes", _, "validity_days"), _:
            return "grants from now on are valid longer; earlier ones end as before"
        case ("purposes", _, "categories" | "events", _), Change.ENDED:
            return "whatever the list no longer includes stops counting for the purpose"
        case ("purposes", key, "combines_with", other), Change.ADDED:
            return f"segments of {key} may refer to segments of {other}, of people who are permitted for both; people must be informed"
        case ("purposes", key, "combines_with", other), Change.ENDED:
            return f"segments of {key} that refer to segments of {other} are no longer evaluated or listed"
        case ("purposes", _, "minimum_age" | "unknown_age"), _:
            return "every verdict is recomputed"
        case ("purposes", _, "legal_basis"), _:
            return "every verdict is recomputed; people must be informed again"
        case _:
            return ""


def _of_a_new_purpose(purpose: JsonValue) -> str:
    """Who is permitted for it from the start; `cdp policy plan` counts them."""
    assert isinstance(purpose, dict)
    if purpose["legal_basis"] != LegalBasis.CONSENT:
        return "people become eligible by its legal basis, for events from now on"
    model = purpose["model"]
    if isinstance(model, dict) and ConsentModel.OPT_OUT in model.values():
        return "where its model is opt_out, people who never refused become eligible, for events from now on"
    return "nobody becomes eligible without a grant"


def _of_retention(edit: _Edit) -> str:
    match edit.path, edit.change:
        case ("classes", key, "keep_for_days"), _ if _is_shorter(edit):
            return f"events of {key} older than {_days(edit)} are deleted by the next sweep"
        case ("classes", key), Change.ENDED:
            return f"stored events of {key} move to the classes of their names, and expire by the periods of these"
        case ("classes", _, "hold", "columns", _), Change.ENDED:
            return "the column under legal hold is deleted by the next sweep"
        case (kind, "keep_for_days"), _ if _is_shorter(edit):
            return f"{kind.replace('_', ' ')} older than {_days(edit)} are deleted by the next sweep"
        case _:
            return ""


def _of_events(edit: _Edit) -> str:
    match edit.path, edit.change:
        case ("events", _, "retention_class"), _:
            return "stored events move to the other class, and expire by its period"
        case ("events", _, "properties", *_, "keep") | ("traits" | "context", _, "keep"), _ if edit.new == "plain":
            return "values from now on can be used by segments; stored ones stay sealed"
        case ("events", _, "properties", *_, "keep") | ("traits" | "context", _, "keep"), _ if edit.old == "plain":
            return "segments and computed traits that read it no longer compile"
        case ("events", _), Change.ENDED:
            return "messages of this name are treated as unknown events, and stored ones move to the class of these"
        case ("traits", _), Change.ENDED:
            return "stored values are no longer used, and disappear from the projections"
        case _:
            return ""


def _of_identifiers(edit: _Edit) -> str:
    if edit.path[-1] == "text":
        return ""
    return "existing links stay; `cdp identity simulate` shows how the new rules would have decided"


def _of_traits(edit: _Edit) -> str:
    match edit.path, edit.change:
        case ("traits", _), Change.ADDED:
            return "it is computed from the events still retained and permitted for its purpose"
        case ("traits", _), Change.ENDED:
            return "its values are deleted"
        case (*_, "text"), _:
            return ""
        case _:
            return "it is recomputed from the events still retained and permitted for its purpose"


def _of_readers(edit: _Edit) -> str:
    match edit.path, edit.change:
        case ("roles", _), Change.ADDED:
            return "the role reads people of its purposes under ids of its own as soon as the policy is applied, in SQL, too"
        case ("roles", _), Change.ENDED:
            return (
                "its tokens read nobody any more; its tables are dropped, and the ids under which it knows people end"
            )
        case ("roles", _, "legal_bases" | "purposes", _), Change.ADDED:
            return "the role reads people of these purposes as soon as the policy is applied, in SQL, too"
        case ("roles", _, "legal_bases" | "purposes", _), Change.ENDED:
            return "the role no longer reads people of these purposes, in SQL, too"
        case _:
            return ""


def _of_controller(edit: _Edit) -> str:
    match edit.path, edit.change:
        case ("controller",), Change.ENDED:
            return "nobody is named any more: /privacy, denials and the record of processing say so"
        case ("controller", *_), _:
            return "/privacy, denials, archives and the record of processing show it as soon as the policy is applied"
        case _:
            return "/privacy, archives and the record of processing show it as soon as the policy is applied"


def _of_currencies(_edit: _Edit) -> str:
    return (
        "amounts of stored events are converted by it, too: computed traits are recomputed and segments evaluated again"
    )


def _of_destinations(edit: _Edit) -> str:
    match edit.path, edit.change:
        case ("destinations", _), Change.ENDED:
            return "it gets nothing more, also of what waits for it"
        case _:
            return ""


def _of_segments(edit: _Edit) -> str:
    match edit.path, edit.change:
        case (_, "where" | "purpose"), _:
            return "a new version of the segment is created, and every profile is evaluated again"
        case (_,), Change.ENDED:
            return "it ends, and its members leave it"
        case _:
            return ""


_RULES: Mapping[str, Callable[[_Edit], str]] = {
    "purposes.yaml": _of_purposes_file,
    "retention.yaml": _of_retention,
    "events.yaml": _of_events,
    "identifiers.yaml": _of_identifiers,
    "traits.yaml": _of_traits,
    "readers.yaml": _of_readers,
    CONTROLLER_FILE: _of_controller,
    CURRENCIES_FILE: _of_currencies,
    "destinations.yaml": _of_destinations,
    "segments": _of_segments,
}
