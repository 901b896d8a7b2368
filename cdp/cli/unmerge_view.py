"""An unmerge side by side: what was one person, and what each side holds. Pure but for the screen it fills."""

from collections.abc import Callable, Collection, Iterator, Sequence

from cdp.cli.screen import Cell, Screen, counted
from cdp.flows.identity.profile_view import ProfileView, PurposeVerdict
from cdp.flows.identity.unmerge import Unmerged
from cdp.flows.operations.meanings import permission_start, value_text


def print_sides(screen: Screen, done: Unmerged, names: tuple[str, str]) -> None:
    """One column for each profile as it was, and one for each identifier as it is, or would be, afterwards."""
    known = {each.profile for each in done.before}
    is_one = len(done.before) == 1
    sides: list[tuple[str, ProfileView | None]] = [
        ("before" if is_one else f"before ({number})", each) for number, each in enumerate(done.before, 1)
    ]
    if done.keep is not None and done.sever is not None and done.keep.profile == done.sever.profile:
        sides.append(("both", done.keep))
    else:
        sides += list(zip(names, (done.keep, done.sever), strict=True))
    shown = [each for _, each in sides]
    screen.table(["", *(title for title, _ in sides)], list(_rows(shown, known, is_dry_run=done.is_dry_run)))
    screen.line()
    if done.erased_events:
        screen.line(
            f"{counted(done.erased_events, 'event')} of these {_go(done)}: only the other side's consent covered them."
        )
    if done.other_profiles:
        screen.line(
            f"{counted(done.other_profiles, 'more profile')} {'changes' if done.other_profiles == 1 else 'change'}, too."
        )


def _go(done: Unmerged) -> str:
    return "would go" if done.is_dry_run else "are gone"


def _rows(shown: Sequence[ProfileView | None], known: Collection[str], *, is_dry_run: bool) -> Iterator[list[Cell]]:
    """The rows, each with its name first; a side that is nobody has empty cells."""
    people = [each for each in shown if each is not None]

    def row(name: str, cell: Callable[[ProfileView], Cell]) -> list[Cell]:
        return [name, *("" if each is None else cell(each) for each in shown)]

    def profile(each: ProfileView | None) -> Cell:
        if each is None:
            return "nobody: no message named it alone"
        return "a new one" if is_dry_run and each.profile not in known else each.profile

    yield ["profile", *(profile(each) for each in shown)]
    yield row("identifiers", _identifiers)
    yield row("events", lambda each: f"{each.events:,}")
    yield row("first seen", lambda each: each.first_seen_at)
    yield row("last seen", lambda each: each.last_seen_at)
    yield row("segments", lambda each: "\n".join(each.segments) or "none")
    if any(each.is_quarantined for each in people):
        yield row("in quarantine", lambda each: each.is_quarantined)
    for purpose in dict.fromkeys(key for each in people for key in each.consents):
        yield row(f"consent {purpose}", lambda each, key=purpose: _stance(each.consents.get(key)))  # type: ignore[misc]
    for name in dict.fromkeys(key for each in people for key in each.traits):
        yield row(f"trait {name}", lambda each, key=name: value_text(each.traits.get(key)))  # type: ignore[misc]
    for name in dict.fromkeys(key for each in people for key in each.computed_traits):
        yield row(f"computed {name}", lambda each, key=name: value_text(each.computed_traits.get(key)))  # type: ignore[misc]


def _identifiers(each: ProfileView) -> str:
    return "\n".join(f"{one.type}:{one.value or '(erased)'}{' (shared)' * one.is_shared}" for one in each.identifiers)


def _stance(each: PurposeVerdict | None) -> str:
    if each is None:
        return "-"
    why = str(each.reason).replace("_", " ")
    since = permission_start(each.since) if each.allowed else None
    return f"{'yes' if each.allowed else 'no'}, {why}" + ("" if since is None else f" since {since:%Y-%m-%d}")
