"""The generator: what each client does in a round, as a function of the seed alone."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.support.faults.history import Kind

CLIENTS: Final = 4
PEOPLE: Final = 60
"""People who only send, of each client."""
CHOOSERS: Final = 8
"""People who consent and refuse, of each client."""
PURPOSES: Final = ("email_marketing", "personalization")
BATCH_MAX: Final = 5
IMPORT_ROWS: Final = 120

_KINDS: Final = {
    "batch": 40,
    "order": 10,
    "consent": 16,
    "signal": 6,
    "verdict": 12,
    "erase": 5,
    "members": 6,
    "head": 5,
}


@dataclass(frozen=True, slots=True)
class Planned:
    """What a client is about to do.

    `sends_twice` is a batch that is sent again once it was acknowledged; `repeats` one that is sent again until it is.
    """

    kind: Kind
    subject: str = ""
    source: str = ""
    messages: tuple[str, ...] = ()
    is_order: bool = False
    purpose: str = ""
    choice: bool = False
    sends_twice: bool = False
    repeats: bool = False


def plan(seed: int, round_: int, client: int) -> Iterator[Planned]:
    """The acts of one client in one round, without end."""
    chance = random.Random(f"{seed}/{round_}/{client}")
    number = 0
    while True:
        number += 1
        name = f"r{round_}-c{client}-{number}"
        yield _planned(chance, chance.choices(list(_KINDS), list(_KINDS.values()))[0], name=name, client=client)


def _planned(chance: random.Random, what: str, *, name: str, client: int) -> Planned:
    chooser = f"chooser-{client}-{chance.randrange(CHOOSERS)}"
    purpose = chance.choice(PURPOSES)
    match what:
        case "batch":
            messages = tuple(f"{name}-{index}" for index in range(chance.randint(1, BATCH_MAX)))
            return Planned(
                Kind.SEND,
                f"person-{client}-{chance.randrange(PEOPLE)}",
                "shop",
                messages,
                sends_twice=chance.random() < 0.1,
                repeats=chance.random() < 0.5,
            )
        case "order":
            return Planned(Kind.SEND, chooser, "till", (name,), is_order=True)
        case "consent":
            return Planned(Kind.CONSENT, chooser, "till", purpose=purpose, choice=chance.random() < 0.6)
        case "signal":
            return Planned(Kind.SIGNAL, chooser, "till", (name,), purpose=purpose)
        case "verdict":
            return Planned(Kind.VERDICT, chooser, purpose=purpose)
        case "erase":
            return Planned(Kind.ERASE, f"leaver-{name}", "old", tuple(f"{name}-{index}" for index in range(3)))
        case "members":
            return Planned(Kind.MEMBERS)
        case _:
            return Planned(Kind.HEAD)
