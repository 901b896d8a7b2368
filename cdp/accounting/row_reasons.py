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
    BOOLEAN_MALFORMED = "boolean_malformed"
    INSTANT_MALFORMED = "instant_malformed"
    VALUE_NOT_MAPPED = "value_not_mapped"
    TYPE_UNKNOWN = "type_unknown"
    CONSENT_NOT_MAPPED = "consent_not_mapped"
    MESSAGE_ID_MISSING = "message_id_missing"


EXPLANATIONS: Final[Mapping[str, str]] = {
    RowReason.ROW_MALFORMED: "the number of cells differs from the header, or the line is not a JSON object",
    RowReason.ROW_TOO_LARGE: "more than 32 KB",
    RowReason.TEXT_NOT_UNICODE: "bytes that are invalid in the declared encoding",
    RowReason.NUMBER_MALFORMED: "a cell mapped as a number is not a number",
    RowReason.BOOLEAN_MALFORMED: "a cell mapped as a boolean is not a boolean",
    RowReason.INSTANT_MALFORMED: "a cell mapped as an instant does not have the declared format",
    RowReason.VALUE_NOT_MAPPED: "a text that `map` does not list",
    RowReason.TYPE_UNKNOWN: "not a type of message",
    RowReason.CONSENT_NOT_MAPPED: "an answer listed neither under `grant` nor under `refuse`",
    RowReason.MESSAGE_ID_MISSING: "a column of the message id is empty",
    "consent_undated": "a consent without a date; it does not lift a refusal",
    "expired": "older than their retention class keeps them (policies/retention.yaml)",
    "id_missing": "no identifier in the row",
    "no_identifier": "a side that is empty or not a valid identifier",
    "self_link": "both sides are the same identifier",
    "timestamp_malformed": "a time that is not an instant",
}
