"""The reserved words of the language."""

AGGREGATES = ("count", "sum", "net", "average", "min", "max", "days_since_last", "first", "last")
WITH_PROPERTY = ("sum", "net", "average", "min", "max")
WITH_HALF_LIFE = ("count", "sum")
UNITS = ("minute", "minutes", "hour", "hours", "day", "days", "week", "weeks")

CONDITION_STARTS = (
    "trait", "computed", "count", "sum", "net", "did", "not", "exists", "known", "in", "sample", "sequence", "days_since_last",
)  # fmt: skip
"""Words with which a condition can start, for suggestions."""

RESERVED = frozenset(
    {
        *AGGREGATES, *UNITS, "and", "or", "not", "exists", "known", "did", "sequence", "in", "segment", "sample",
        "by", "between", "within", "where", "contains", "starts", "with", "before", "after", "true", "false",
        "percentile", "zscore", "quantile", "of", "half_life", "trait", "computed", "property", "any",
    }
) - {"net"}  # fmt: skip
"""`net` is not among them: it came later, and properties are called so; only before a parenthesis is it an aggregate."""

ANY_HINT = 'name the event: did("Order Completed" where any products where sku = "MUG-1")'
