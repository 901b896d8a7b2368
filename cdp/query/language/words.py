"""The words that the language keeps for itself."""

AGGREGATES = ("count", "sum", "average", "min", "max", "days_since_last", "first", "last")
WITH_PROPERTY = ("sum", "average", "min", "max")
FADING = ("count", "sum")
UNITS = ("minute", "minutes", "hour", "hours", "day", "days", "week", "weeks")

RESERVED = frozenset(
    {
        *AGGREGATES, *UNITS, "and", "or", "not", "exists", "known", "did", "sequence", "in", "segment", "sample",
        "by", "between", "within", "where", "contains", "starts", "with", "before", "after", "true", "false",
        "percentile", "zscore", "quantile", "of", "half_life", "trait", "computed", "property",
    }
)  # fmt: skip
