"""The language by example: which of five people each program selects.

`pages` generates the manual from these chapters, and the tests check every evaluator with them.
"""

from dataclasses import dataclass

from cdp.query.manual.people import ADA, BEN, CEM, DOT


@dataclass(frozen=True, slots=True)
class Example:
    """A program and its members; `remark` explains the result."""

    program: str
    members: tuple[int, ...]
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A program that is rejected: what the caret points at (the end, when empty), the fault, and the remedy."""

    program: str
    marked: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Chapter:
    """One part of the language."""

    title: str
    text: str
    examples: tuple[Example, ...] = ()
    wrong: tuple[Wrong, ...] = ()


CHAPTERS: tuple[Chapter, ...] = (
    Chapter(
        "Traits",
        "A stated trait is written `trait.<name>`; a name with other characters is put in double quotes: "
        '`trait."shoe size"`. Numbers have an order, strings and `true`/`false` do not. Only fields that the tracking '
        "plan keeps in plain can be used. Comparisons of strings are exact and case-sensitive.",
        (
            Example("trait.age >= 18", (ADA, DOT), "Cem's age is absent, so the comparison is unknown"),
            Example("trait.age between 17 and 34", (ADA, BEN), "both ends are included"),
            Example('trait.country = "DE"', (ADA,), "Eve lives there too, but has not permitted e-mail marketing"),
            Example(
                'trait.country != "DE"', (BEN, CEM), "an absent value is neither equal nor unequal, so Dot is not in"
            ),
            Example('trait.country in ("DE", "FR")', (ADA, BEN)),
            Example("trait.vip = true", (ADA, DOT)),
            Example('trait.country starts with "D"', (ADA,)),
            Example('trait.country contains "R"', (BEN,)),
        ),
        (
            Wrong(
                'trait.contry = "DE"',
                "trait.contry",
                "the trait contry is not in the tracking plan",
                "did you mean trait.country?",
            ),
            Wrong(
                'trait.email = "ada@example.com"',
                "trait.email",
                "the trait email is sealed and cannot be used in a segment",
                "segments can only read fields that policies/events.yaml declares as `keep: plain`",
            ),
            Wrong(
                "trait.country = DE",
                "DE",
                "`DE` is not a value",
                'write strings in double quotes: "DE"',
            ),
            Wrong('trait.age = "34"', '"34"', "this compares a number with a string", "write a number such as 250"),
        ),
    ),
    Chapter(
        "Absent values",
        "A test of an absent value is *unknown*, neither true nor false. `and`, `or` and `not` follow Kleene: `not` of "
        "unknown is unknown; `and` is false if a side is false, otherwise unknown if a side is unknown; `or` is true if a "
        "side is true, otherwise unknown if a side is unknown. A person is in only if the whole condition is *true*. "
        "`exists` tests whether there is a value; a count or a sum without events is 0, so it always exists. `known` tests "
        "whether the value rests on something observed: on a stated trait, or on at least one event.",
        (
            Example("not trait.age >= 18", (BEN,), "unknown for Cem, whose age is absent"),
            Example("exists trait.age", (ADA, BEN, DOT)),
            Example("not exists trait.age", (CEM,)),
            Example("known trait.vip", (ADA, BEN, DOT)),
            Example('exists sum("Order Completed".revenue)', (ADA, BEN, CEM, DOT), "0 for Cem, who ordered nothing"),
            Example('known sum("Order Completed".revenue)', (ADA, BEN, DOT)),
            Example("not known computed.orders_count", (CEM,), "nothing was observed"),
            Example("trait.age < 18 or not exists trait.age", (BEN, CEM)),
            Example('trait.vip = true or trait.country = "GB"', (ADA, CEM, DOT), "one true side is enough"),
            Example('not (trait.vip = true and trait.country = "DE")', (BEN, CEM), "one false side is enough"),
        ),
    ),
    Chapter(
        "Events",
        "`did` tests whether an event happened, `count` returns how often; without events the count is 0. `where` filters "
        "the events by their properties; an event for which the filter is unknown is not counted. A window is `within` "
        "a duration, which is (now − duration, now], or `between` two dates, both included, whole days in the policy's "
        "time zone. Without a window all retained events count. An event counts only if it was permitted for the "
        "segment's purpose.",
        (
            Example('did("Order Completed")', (ADA, BEN, DOT)),
            Example('not did("Order Completed", within 14 days)', (ADA, CEM)),
            Example('count("Order Completed", within 150 days) >= 2', (ADA,)),
            Example('count("Order Completed") = 0', (CEM,), "without events the count is 0"),
            Example('count("Order Completed") = 1', (BEN, DOT), "Dot's other order was not permitted for this purpose"),
            Example('count("Order Completed" where category = "shoes") >= 1', (ADA, BEN)),
            Example('did("Product Viewed" where category = "shoes" and price > 50, within 2 weeks)', (CEM,)),
            Example('did("Order Completed", between 2026-02-21 and 2026-02-21)', (ADA,), "the day itself is included"),
        ),
        (
            Wrong(
                'did("Order Complete")',
                '"Order Complete"',
                'the event "Order Complete" is not defined in policies/events.yaml',
                "did you mean Order Completed?",
            ),
            Wrong(
                'did("Product Viewed", within 500 days)',
                "500 days",
                'the window is longer than "Product Viewed" is retained',
                "rule: classes.browsing.keep_for_days in policies/retention.yaml is 395",
            ),
            Wrong(
                'count("Order Completed", within 30 dayz) > 1',
                "dayz",
                "expected a unit of time, found `dayz`",
                "did you mean day?",
            ),
        ),
    ),
    Chapter(
        "Amounts",
        '`sum("Event".property)`, `average`, `min` and `max` require a numeric property; events without it are ignored. '
        "Without events the sum is 0; average, minimum and maximum are absent.",
        (
            Example('sum("Order Completed".revenue, within 365 days) > 250', (ADA,)),
            Example('sum("Order Completed".revenue) < 50', (BEN, CEM, DOT), "without events the sum is 0"),
            Example('average("Order Completed".revenue) >= 100', (ADA,)),
            Example(
                'not average("Order Completed".revenue) >= 100', (BEN, DOT), "unknown for Cem, who ordered nothing"
            ),
            Example('max("Order Completed".revenue) = 150', (ADA,)),
            Example('min("Order Completed".revenue) <= 40', (BEN, DOT)),
        ),
        (
            Wrong(
                'sum("Order Completed".currency) > 3',
                'sum("Order Completed".currency)',
                "currency is a string, not a number",
                "only numbers can be added, averaged or ranked",
            ),
        ),
    ),
    Chapter(
        "Lists",
        "An event may have a list, such as the products of an order, each of which has fields of its own. "
        "`any <list> where` asks whether one entry satisfies a test; several tests of the same entry are put in parentheses. "
        "It is true if the filter is true for an entry, otherwise unknown if it is unknown for one; for an empty list it is "
        "false, and for an event without the list unknown, as for any absent value. An order and its products may have fields "
        "of the same name, so `and` or `or` after a test without parentheses is rejected. "
        '`sum("Event".list.field)`, `average`, `min` and `max` read the field in all entries of the events, also in those that '
        "an `any` in the filter does not select.",
        (
            Example('did("Order Completed" where any products where sku = "MUG-1")', (ADA, DOT)),
            Example(
                'did("Order Completed" where any products where (sku = "HAT-2" and quantity >= 3))',
                (ADA,),
                "Ben bought two hats",
            ),
            Example(
                'did("Order Completed" where (any products where sku = "MUG-1") and category = "shoes")',
                (ADA,),
                "`category` is that of the order",
            ),
            Example(
                'did("Order Completed" where not (any products where sku in ("MUG-1", "BOOT-7")))',
                (BEN,),
                "unknown for Ada's order 70 days ago, whose products are absent",
            ),
            Example(
                'not did("Order Completed" where any products where sku = "MUG-1")',
                (BEN, CEM),
                "no order that is known to have one",
            ),
            Example('sum("Order Completed".products.quantity) >= 3', (ADA,), "1 + 1 + 3"),
            Example('max("Order Completed".products.price) < 50', (BEN, DOT), "unknown for Cem, who ordered nothing"),
        ),
        (
            Wrong(
                'did("Order Completed" where products.sku = "MUG-1")',
                "products.sku",
                'products of "Order Completed" is a list, and each of its entries has a sku of its own',
                'write any products where sku = "MUG-1"',
            ),
            Wrong(
                'did("Order Completed" where any products where sku = "MUG-1" and category = "shoes")',
                "and",
                "`and` can continue the filter of the entries of products, or that of the event",
                'write any products where (sku = "MUG-1" and category = "shoes"), '
                'or (any products where sku = "MUG-1") and category = "shoes"',
            ),
            Wrong(
                'did("Order Completed" where any products where name = "Mug")',
                "name",
                'the field name of products of "Order Completed" is sealed and cannot be used in a segment',
                "segments can only read fields that policies/events.yaml declares as `keep: plain`",
            ),
        ),
    ),
    Chapter(
        "Money",
        "The tracking plan says which numbers are amounts of money, and which property names their currency. They are "
        "added up and compared in the currency of `policies/currencies.yaml`, by the rate of the day on which the event "
        "occurred; an amount in a currency without a rate then is absent. After the property, `in` limits an aggregate to "
        "amounts in one currency, as they are. `net` adds up what remains of orders after the events that `takes_back` in the tracking plan "
        "names, such as refunds and cancellations, found by the same order number. What is taken back is converted by the rate of the order, and is never "
        "more than the order. A cancellation, and a refund without any amount, take back all of it; the window and the "
        "filter choose the orders, and what was taken back counts whenever it happened.",
        (
            Example('sum("Order Completed".revenue in EUR) > 250', (ADA,)),
            Example('sum("Order Completed".revenue in GBP) > 0', (), "nobody paid in pounds"),
            Example('net("Order Completed".revenue) > 250', (ADA,)),
            Example('net("Order Completed".revenue) between 25 and 35', (BEN,), "10 of his 40 were refunded"),
        ),
        (
            Wrong(
                'sum("Order Completed".items in EUR) > 3',
                'sum("Order Completed".items in EUR)',
                'items of "Order Completed" is not an amount of money',
                "amounts of money are the properties with `currency` in policies/events.yaml",
            ),
            Wrong(
                'sum("Order Completed".revenue) - sum("Order Refunded".revenue) > 10',
                "-",
                "- is not part of the language",
                "values are compared with numbers, not computed with; what is left of orders after refunds is "
                'net("Order Completed".revenue)',
            ),
            Wrong(
                'net("Product Viewed".price) > 3',
                'net("Product Viewed".price)',
                'no event takes back amounts of "Product Viewed"',
                "use sum, or add `takes_back` to the event of a refund in policies/events.yaml",
            ),
        ),
    ),
    Chapter(
        "Time",
        "`first` and `last` return an instant, absent without events; `days_since_last` returns whole days, rounded down. An "
        "instant is compared with whole days: `<` (or `before`) means before the day begins, `>` (or `after`) after it has "
        "ended, `=` within it. `within` tests whether it lies within a duration before now.",
        (
            Example('days_since_last("Order Completed") <= 14', (BEN, DOT)),
            Example('days_since_last("Order Completed") = 9', (BEN,), "nine and a half days are rounded down to nine"),
            Example('first("Order Completed") between 2025-11-01 and 2025-12-31', (ADA,)),
            Example('last("Order Completed") before 2026-05-01', (ADA,)),
            Example("trait.createdAt within 30 days", (BEN, CEM)),
            Example("trait.createdAt after 2026-05-26", (CEM,), "that day itself is not after it"),
            Example("trait.createdAt >= 2026-05-27", (CEM,)),
        ),
    ),
    Chapter(
        "Decay",
        "With `half_life` the weight of an event halves after that time: it is 2^(−age / half-life). `count` and `sum` can "
        "decay, with or without a window. Computed traits, written `computed.<key>`, are defined in `policies/traits.yaml`, "
        "each for one purpose; those that decay are compared through the stored sum.",
        (
            Example('count("Order Completed", half_life 10 days) > 0.9', (DOT,), "one day old: 0.93"),
            Example('count("Order Completed", half_life 100 days) > 1', (ADA,), "0.25 + 0.5 + 0.62"),
            Example(
                'sum("Order Completed".revenue, half_life 10 days) >= 18', (BEN, DOT), "Ben 20.7, Dot 18.7, Ada 0.8"
            ),
            Example("computed.orders_count >= 3", (ADA,)),
            Example("computed.monetary_decayed > 30", (ADA, BEN), "the half-life is 30 days"),
            Example("computed.last_order_at within 30 days", (BEN, DOT)),
        ),
        (
            Wrong(
                "computed.page_views_count > 3",
                "computed.page_views_count",
                "the computed trait page_views_count belongs to the purpose analytics, not email_marketing",
                "for email_marketing, choose one of engagement_score, last_opened_at, last_order_at, monetary, "
                "monetary_decayed, orders_count",
            ),
        ),
    ),
    Chapter(
        "Sequences",
        "Events one after another, each strictly later than the one before; `within` limits the time since the previous "
        "step. The last step may be a `not`: the event did not happen, and the time for it has passed. A window at the "
        "end applies to the first step.",
        (
            Example('sequence("Product Added", not "Order Completed" within 1 day)', (CEM,), "an abandoned cart"),
            Example('sequence("Product Added", "Order Completed" within 1 day)', (BEN,)),
            Example('sequence("Product Viewed", "Product Added", "Order Completed")', (BEN,)),
            Example(
                'sequence("Product Added", not "Order Completed" within 3 days)',
                (),
                "the three days have not passed yet for Cem",
            ),
            Example('sequence("Product Added", not "Order Completed", within 7 days)', (CEM,)),
        ),
    ),
    Chapter(
        "Other segments",
        'A segment can refer to another: `in segment "key"`, of the same purpose or of one that its purpose names in '
        "`combines_with` ([purposes.yaml](policies-purposes.md)). The other is evaluated for its own purpose, so members must "
        "be permitted for both. Circular definitions are rejected. In the examples, `buyers` is "
        '`did("Order Completed")` for `email_marketing`, and `watched_buyers` the same for `analytics`, with which `email_marketing` combines.',
        (
            Example('in segment "buyers" and trait.age >= 18', (ADA, DOT)),
            Example('not in segment "buyers"', (CEM,)),
            Example('in segment "watched_buyers" and count("Order Completed") = 1', (BEN, DOT)),
        ),
        (Wrong('in segment "buyer"', 'in segment "buyer"', 'there is no segment "buyer"', "did you mean buyers?"),),
    ),
    Chapter(
        "Samples and hold-outs",
        "`sample` selects a fixed share of all profiles by a hash of a random salt of the profile, the purpose and the "
        "seed: the same people for the same seed, at any time and in any segment of the purpose, so a control group stays "
        "the same. The salt is stored with the profile and shown to nobody, so nobody can choose or compute who is in, and "
        "no rotation of keys moves anybody. Profiles that merge keep the salt of the older one; if the merge is undone, "
        "each gets its own back.",
        (
            Example('sample 100% by "spring-test"', (ADA, BEN, CEM, DOT)),
            Example(
                'sample 50% by "spring-test"',
                (ADA, DOT),
                "about half of many people; with four, any number is possible",
            ),
            Example('not sample 50% by "spring-test"', (BEN, CEM), "the hold-out"),
        ),
    ),
    Chapter(
        "Combining conditions",
        "`not` binds strongest, then `and`, then `or`; parentheses change that. The canonical form, in which segments "
        "are stored, writes `not x in (…)` for `x not in (…)`, and `<` and `>` for `before` and `after`.",
        (
            Example('trait.vip = true and did("Order Completed", within 7 days) or trait.country = "FR"', (BEN, DOT)),
            Example('trait.vip = true and (did("Order Completed", within 7 days) or trait.country = "FR")', (DOT,)),
            Example('trait.country not in ("DE", "FR")', (CEM,)),
        ),
        (
            Wrong(
                "(trait.age >= 18 or trait.vip = true",
                "",
                "expected ), found the end of the text",
                "close the parenthesis",
            ),
            Wrong("trait.age == 18", "==", "== is not part of the language", "write = to compare"),
        ),
    ),
    Chapter(
        "Not available yet",
        "`percentile`, `zscore` and `quantile` compare with the consented population. They are part of the language "
        "and its JSON form, but the checks reject them until the population is measured.",
        (),
        (
            Wrong(
                'sum("Order Completed".revenue, half_life 30 days) >= percentile 80',
                'sum("Order Completed".revenue, half_life 30 days) >= percentile 80',
                "percentile, zscore and quantile are not available yet",
                "compare with a number for now, or use a computed trait",
            ),
        ),
    ),
)
