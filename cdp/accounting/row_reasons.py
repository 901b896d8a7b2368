"""Why a row of an imported file is not a message: codes, and a sentence for each."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class RowReason(StrEnum):
    """Why a row is no message."""

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
    RowReason.ROW_MALFORMED: "not as many cells as the header has, or no JSON object",
    RowReason.ROW_TOO_LARGE: "more than 32 KB",
    RowReason.TEXT_NOT_UNICODE: "bytes that are not of the declared encoding",
    RowReason.NUMBER_MALFORMED: "a cell mapped as a number holds something else",
    RowReason.BOOLEAN_MALFORMED: "a cell mapped as a boolean holds something else",
    RowReason.INSTANT_MALFORMED: "a cell mapped as an instant is not of its format",
    RowReason.VALUE_NOT_MAPPED: "a text that `map` does not list",
    RowReason.TYPE_UNKNOWN: "no type of message",
    RowReason.CONSENT_NOT_MAPPED: "an answer that is neither listed as yes nor as no",
    RowReason.MESSAGE_ID_MISSING: "a column of the message id is empty",
    "expired": "older than their retention class keeps them (policies/retention.yaml)",
    "id_missing": "no identifier in the row",
    "no_identifier": "a side that is empty, or names nobody",
    "self_link": "both sides are the same identifier",
    "timestamp_malformed": "a time that is no instant",
}
