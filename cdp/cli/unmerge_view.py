"""An unmerge side by side: the profile before, and each side afterwards."""

from collections.abc import Callable, Collection, Iterator, Sequence

from cdp.cli.screen import Cell, Screen
from cdp.flows.identity.profile_view import ProfileView, PurposeVerdict
from cdp.flows.identity.unmerge import Unmerged
from cdp.flows.operations.meanings import effective_since, value_text
from cdp.kit.wording import counted


def print_sides(screen: Screen, done: Unmerged, names: tuple[str, str]) -> None:
    """Print one column per profile before, and one per identifier afterwards."""
    known = {view.profile for view in done.before}
    is_one = len(done.before) == 1
    sides: list[tuple[str, ProfileView | None]] = [
        ("before" if is_one else f"before ({number})", view) for number, view in enumerate(done.before, 1)
    ]
    if done.keep is not None and done.sever is not None and done.keep.profile == done.sever.profile:
        sides.append(("both", done.keep))
    else:
        sides += list(zip(names, (done.keep, done.sever), strict=True))
    shown = [side for _, side in sides]
    screen.table(["", *(title for title, _ in sides)], list(_rows(shown, known, is_dry_run=done.is_dry_run)))
    screen.line()
    if done.erased_events:
        screen.line(
            f"{counted(done.erased_events, 'event')} of these {_deletion(done)}: only the consent of the other side covered them."
        )
    if done.other_profiles:
        screen.line(
            f"{counted(done.other_profiles, 'more profile')} {'changes' if done.other_profiles == 1 else 'change'} as well."
        )


def _deletion(done: Unmerged) -> str:
    return "would be deleted" if done.is_dry_run else "are deleted"


def _rows(shown: Sequence[ProfileView | None], known: Collection[str], *, is_dry_run: bool) -> Iterator[list[Cell]]:
    """The rows, each with its name first; a side without a profile has empty cells."""
    people = [view for view in shown if view is not None]

    def row(name: str, cell: Callable[[ProfileView], Cell]) -> list[Cell]:
        return [name, *("" if view is None else cell(view) for view in shown)]

    def profile(view: ProfileView | None) -> Cell:
        if view is None:
            return "none: no message named it alone"
        return "new profile" if is_dry_run and view.profile not in known else view.profile

    yield ["profile", *(profile(view) for view in shown)]
    yield row("identifiers", _identifiers)
    yield row("events", lambda view: f"{view.events:,}")
    yield row("first seen", lambda view: view.first_seen_at)
    yield row("last seen", lambda view: view.last_seen_at)
    yield row("segments", lambda view: "\n".join(view.segments) or "none")
    if any(person.is_quarantined for person in people):
        yield row("in quarantine", lambda view: view.is_quarantined)
    for purpose in dict.fromkeys(key for person in people for key in person.consents):
        yield row(f"consent {purpose}", lambda view, key=purpose: _verdict(view.consents.get(key)))  # type: ignore[misc]
    for name in dict.fromkeys(key for person in people for key in person.traits):
        yield row(f"trait {name}", lambda view, key=name: value_text(view.traits.get(key)))  # type: ignore[misc]
    for name in dict.fromkeys(key for person in people for key in person.computed_traits):
        yield row(f"computed {name}", lambda view, key=name: value_text(view.computed_traits.get(key)))  # type: ignore[misc]


def _identifiers(view: ProfileView) -> str:
    return "\n".join(f"{one.type}:{one.value or '(erased)'}{' (shared)' * one.is_shared}" for one in view.identifiers)


def _verdict(verdict: PurposeVerdict | None) -> str:
    if verdict is None:
        return "-"
    why = str(verdict.reason).replace("_", " ")
    since = effective_since(verdict.since) if verdict.allowed else None
    return f"{'allowed' if verdict.allowed else 'refused'}, {why}" + (
        "" if since is None else f" since {since:%Y-%m-%d}"
    )
