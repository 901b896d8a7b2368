"""Why a row of an imported file is not a message: codes, and an explanation of each."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class RowReason(StrEnum):
    """Why a row is not a message."""

    ROW_MALFORMED = "row_malformed"
    ROW_TOO_LARGE = "row_too_large"
    TEXT_NOT_UNICODE = "text_not_unicode"
    NUMBER_MALFORMED = "number_malformed"
    CURRENCY_UNKNOWN = "currency_unknown"
    BOOLEAN_MALFORMED = "boolean_malformed"
    INSTANT_MALFORMED = "instant_malformed"
    INSTANT_MISSING = "instant_missing"
    VALUE_NOT_MAPPED = "value_not_mapped"
    TYPE_UNKNOWN = "type_unknown"
    CONSENT_NOT_MAPPED = "consent_not_mapped"
    MESSAGE_ID_MISSING = "message_id_missing"
    NOT_SELECTED = "not_selected"
    GROUP_MISSING = "group_missing"
    GROUP_DISAGREES = "group_disagrees"
    GROUP_INCOMPLETE = "group_incomplete"
    GROUP_TOO_LARGE = "group_too_large"


EXPLANATIONS: Final[Mapping[str, str]] = {
    RowReason.ROW_MALFORMED: "the number of cells differs from the header, or the line is not a JSON object",
    RowReason.ROW_TOO_LARGE: "more than 32 KB",
    RowReason.TEXT_NOT_UNICODE: "bytes that are invalid in the declared `encoding`",
    RowReason.NUMBER_MALFORMED: "a cell mapped as a number is not a number with the declared `decimal` and `thousands`",
    RowReason.CURRENCY_UNKNOWN: "the column of the currency in `minor_units` does not hold a code such as EUR",
    RowReason.BOOLEAN_MALFORMED: "a cell mapped as a boolean is not a boolean",
    RowReason.INSTANT_MALFORMED: "a cell mapped as an instant does not have the declared format",
    RowReason.INSTANT_MISSING: "an event without a time; `empty: now` in `timestamp` gives it the time of the import",
    RowReason.VALUE_NOT_MAPPED: "a text that `map` does not list",
    RowReason.TYPE_UNKNOWN: "not a type of message",
    RowReason.CONSENT_NOT_MAPPED: "an answer listed neither under `grant` nor under `refuse`",
    RowReason.MESSAGE_ID_MISSING: "a column of the message id is empty",
    RowReason.NOT_SELECTED: "left out by `only`",
    RowReason.GROUP_MISSING: "the column of `group_by` is empty",
    RowReason.GROUP_DISAGREES: "rows of one message name different people, times, types, events or message ids",
    RowReason.GROUP_INCOMPLETE: "next to a row that cannot be read, which may belong to the same message",
    RowReason.GROUP_TOO_LARGE: "more than 500 rows or 32 KB of one message",
    "consent_undated": "a consent without a date; it does not lift a refusal",
    "duplicate_other_body": "a repeated message id with different content; the first message is kept",
    "expired": "older than their retention class keeps them (policies/retention.yaml)",
    "id_missing": "no identifier in the row",
    "no_identifier": "a side that is empty or not a valid identifier",
    "self_link": "both sides are the same identifier",
    "timestamp_malformed": "a time that is not an instant",
}
