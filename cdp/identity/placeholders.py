"""Values that say that there is no identifier: spreadsheets, databases, forms and templates write them. Pure.

They are blocked for every type, whatever the policy lists in addition.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final

_QUOTES: Final = "\"'`“”‘’«»"
_FRAMES: Final = "()[]{}<>#%$*|_-.!=\\/?: \t"
"""What may surround a placeholder: `(not set)`, `#N/A`, `<null>`, `--none--`."""

_TEMPLATE: Final = re.compile(
    r"\{\{.*\}\}|\$\{.*\}|#\{.*\}|<%.*%>|\{%.*%\}|%%.+%%|\*\|.*\|\*|%[a-z_][a-z_. ]*%|\$[a-z_]+\$", re.IGNORECASE
)
"""A place of a template that nobody filled: `{{user.id}}`, `${userId}`, `%%email%%`, `*|EMAIL|*`."""

WORDS: Final = frozenset({
    "n/a", "n.a.", "n.a", "n/a.", "n. a.", "n / a", "n-a", "n_a", "n\\a", "na", "<na>", "nan", "-nan", "1.#qnan", "-1.#ind", "1.#ind", "\\n",
    "none", "null", "nil", "undef", "undefined", "unknown", "unset", "unspecified", "unassigned", "unidentified", "unavailable", "empty",
    "blank", "missing", "invalid", "not set", "not_set", "notset", "not available", "not applicable", "not provided", "not given",
    "not specified", "not known", "not found", "not assigned", "not defined", "not supplied", "no value", "no data", "no answer", "no email",
    "no e-mail", "no mail", "no phone", "no id", "noemail", "nomail", "none given", "none provided", "none specified", "null null",
    "none none", "undefined undefined", "tbd", "tba", "tbc", "[object object]", "[object undefined]",
    "k.a.", "k. a.", "k.a", "k/a", "keine angabe", "keine angaben", "nicht angegeben", "nicht bekannt", "nicht vorhanden", "unbekannt",
    "inconnu", "inconnue", "non renseigné", "non renseigne", "non communiqué", "desconocido", "desconocida", "ninguno", "sin datos",
    "no aplica", "sconosciuto", "nessuno", "non disponibile", "onbekend", "desconhecido", "desconhecida", "nenhum", "okänd", "ukendt", "ukjent",
    "#n/a", "#n/a!", "#na", "#nv", "#n/d", "#nd", "#nan", "#value!", "#wert!", "#valeur!", "#valor!", "#ref!", "#bezug!", "#name?", "#nom?",
    "#null!", "#num!", "#zahl!", "#nombre!", "#div/0!", "#spill!", "#calc!", "#error!",
})  # fmt: skip
"""Whole values in lower case."""

_FIELDS: Final = frozenset({
    "id", "user", "userid", "user_id", "user id", "customer", "customerid", "customer_id", "customer id", "anonymousid", "anonymous_id",
    "email", "e-mail", "mail", "email_address", "email address", "phone", "phone_number", "phone number", "mobile", "name", "first_name",
    "last_name", "value",
})  # fmt: skip
"""Names of fields; in brackets, such as `[email]`, they stand for a value that nobody filled in."""


def blocker(values: Iterable[str], patterns: Iterable[str]) -> Callable[[str], bool]:
    """A function that tells whether a text identifies nobody: a placeholder, or blocked by these values and patterns.

    Compares after trimming, ignoring case and surrounding quotes. Costs most values one look-up and the patterns.
    """
    blocked = WORDS.union(value.strip().casefold() for value in values)
    searches = [re.compile(pattern, re.IGNORECASE).search for pattern in patterns]

    def is_blocked(text: str) -> bool:
        bare = text.strip().strip(_QUOTES).strip()
        if not bare or bare.casefold() in blocked:
            return True
        if not bare[0].isalnum() and _is_framed(bare, blocked):
            return True
        for search in searches:  # noqa: SIM110 - a generator would cost as much as the rest together
            if search(bare):
                return True
        return False

    return is_blocked


def _is_framed(text: str, blocked: frozenset[str]) -> bool:
    """Whether a text that begins with a sign is only signs, a placeholder between signs, or an unfilled template."""
    inner = text.strip(_FRAMES).casefold()
    if text.isascii() and not any(character.isalnum() for character in inner):
        return True
    if text[0] in "([{<" and inner in _FIELDS:
        return True
    return inner in blocked or _TEMPLATE.fullmatch(text) is not None
