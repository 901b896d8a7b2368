"""Filters of the entries of lists: what can be written, what it is about, and what is said where it is not clear."""

import pytest

from cdp.policy.load import build_policy
from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.check import check
from cdp.query.language.explain import fields_of
from cdp.query.language.parse import parse
from cdp.query.language.printer import write
from cdp.query.language.rejection import Rejection
from tests.support.policies import changed, documents_of, shipped
from tests.support.segment_histories import PURPOSE, condition_of

CATALOGUE = Catalogue(shipped())
SKU = ast.Compare(ast.EntryField("products", "sku"), ast.Operator.EQ, ast.Text("MUG-1"))


def ordered(where: str) -> str:
    return f'did("Order Completed" where {where})'


def filter_of(where: str) -> ast.Condition:
    found = condition_of(ordered(where))
    assert isinstance(found, ast.Did)
    assert found.events.where is not None
    return found.events.where


def rejection_of(text: str, catalogue: Catalogue = CATALOGUE) -> Rejection:
    found = parse(text)
    if isinstance(found, Rejection):
        return found
    (rejection,) = check(found, catalogue, PURPOSE)
    return rejection


def test_one_test_stands_alone() -> None:
    assert filter_of('any products where sku = "MUG-1"') == ast.AnyEntry("products", SKU)


def test_several_tests_of_one_entry_stand_in_parentheses() -> None:
    found = filter_of('any products where (sku = "MUG-1" and quantity >= 2)')
    assert isinstance(found, ast.AnyEntry)
    assert isinstance(found.where, ast.And)


@pytest.mark.parametrize(
    "where",
    [
        'any products where sku = "MUG-1"',
        'any products where not sku = "MUG-1"',
        'any products where (sku = "MUG-1" or sku = "HAT-2")',
        'not (any products where sku = "MUG-1")',
        '(any products where sku = "MUG-1") and category = "hats"',
        'category = "hats" or (any products where sku = "MUG-1")',
        'any products where (sku = "MUG-1" and price > 3) and (any products where sku = "HAT-2")',
        "any products where not (price > 3 and quantity > 1)",
        "any products where property.count > 3",
        'any "line items" where exists property."shoe size"',
        "any items.of.order where price > 3",
    ],
)
def test_the_canonical_text_is_read_as_it_was_written(where: str) -> None:
    assert write(condition_of(ordered(where))) == ordered(where)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ('any products where (sku = "MUG-1")', 'any products where sku = "MUG-1"'),
        ('any products where (sku = "MUG-1") and revenue > 3', '(any products where sku = "MUG-1") and revenue > 3'),
        ('revenue > 3 and any products where sku = "MUG-1"', 'revenue > 3 and (any products where sku = "MUG-1")'),
        ('ANY products WHERE sku not in ("MUG-1")', 'any products where not sku in ("MUG-1")'),
    ],
)
def test_other_spellings(written: str, canonical: str) -> None:
    assert write(condition_of(ordered(written))) == ordered(canonical)


@pytest.mark.parametrize(
    ("where", "word", "hint"),
    [
        (
            'any products where sku = "MUG-1" and category = "hats"',
            "and",
            (
                'write any products where (sku = "MUG-1" and category = "hats"), '
                'or (any products where sku = "MUG-1") and category = "hats"'
            ),
        ),
        (
            'revenue > 3 and any products where price < 5 or not (quantity > 2 and price in (1, 2))',
            "or",
            (
                "write any products where (price < 5 or not (quantity > 2 and price in (1, 2))), "
                "or (any products where price < 5) or not (quantity > 2 and price in (1, 2))"
            ),
        ),
        (
            'any products where sku = "MUG-1" and any products where sku = "HAT-2"',
            "and",
            'write (any products where sku = "MUG-1") and (any products where sku = "HAT-2")',
        ),
        (
            'any products where sku = "MUG-1" and',
            "and",
            "write any products where (…), or (any products where …) and …",
        ),
    ],
)  # fmt: skip
def test_what_follows_a_test_without_parentheses_is_refused_with_both_readings(
    where: str, word: str, hint: str
) -> None:
    text = ordered(where)
    found = rejection_of(text)
    assert text[found.position :].startswith(word)
    assert found.message == f"`{word}` can continue the filter of the entries of products, or that of the event"
    assert found.hint == hint


def test_both_readings_are_valid_and_different() -> None:
    hint = rejection_of(ordered('any products where sku = "MUG-1" and category = "hats"')).hint
    readings = [filter_of(reading) for reading in hint.removeprefix("write ").split(", or ")]
    assert [type(reading) for reading in readings] == [ast.AnyEntry, ast.And]


@pytest.mark.parametrize(
    ("text", "marked", "message", "hint"),
    [
        (
            ordered('products.sku = "MUG-1"'),
            "products.sku",
            'products of "Order Completed" is a list, and each of its entries has a sku of its own',
            'write any products where sku = "MUG-1"',
        ),
        (
            ordered('not products.price in (1, 2)'),
            "products.price",
            'products of "Order Completed" is a list, and each of its entries has a price of its own',
            "write any products where price in (1, 2)",
        ),
        (
            ordered("exists products"),
            "products",
            'the property products of "Order Completed" is a list',
            "ask for one of its entries: any products where product_id …; or add up a field: products.product_id",
        ),
        (
            ordered('any product where sku = "MUG-1"'),
            "any product",
            'the property product of "Order Completed" is not in the tracking plan',
            "did you mean any products?",
        ),
        (
            ordered('any products where skuu = "MUG-1"'),
            "skuu",
            'the field skuu of products of "Order Completed" is not in the tracking plan',
            "did you mean sku?",
        ),
        (
            ordered('any products where name = "Mug"'),
            "name",
            'the field name of products of "Order Completed" is sealed and cannot be used in a segment',
            "segments can only read fields that policies/events.yaml declares as `keep: plain`",
        ),
        (
            ordered('any category where sku = "MUG-1"'),
            "any category",
            'the property category of "Order Completed" is not a list',
            "write the test without `any category where`; its lists are products",
        ),
        (
            'did("Product List Viewed" where any filters where price > 3)',
            "any filters",
            'the property filters of "Product List Viewed" is sealed and cannot be used in a segment',
            "segments can read the fields of a list that policies/events.yaml declares as `type: list`",
        ),
        (
            'did("Product List Viewed" where filters.type = "size")',
            "filters.type",
            'filters of "Product List Viewed" is sealed as a whole',
            "segments can read the fields of a list that policies/events.yaml declares as `type: list`",
        ),
        (
            ordered('any products where price = "MUG-1"'),
            '"MUG-1"',
            "this compares a number with a string",
            "write a number such as 250",
        ),
        (
            ordered('any products where sku = "lower case"'),
            '"lower case"',
            'the vocabulary sku does not contain "lower case"',
            "it must match [A-Z]{0,8}[_-]?[0-9]{1,6}([A-Za-z]{1,3})?",
        ),
        (
            ordered("any products where (any products where price > 3)"),
            "any products where price",
            "`any` cannot be used in a filter of the entries of products",
            "write a field of products with that name as property.any",
        ),
        (
            ordered("any products"),
            ")",
            "expected where, found `)`",
            'name a field of its entries: any products where sku = "MUG-1"',
        ),
        (
            'any products where sku = "MUG-1"',
            "any",
            "`any` can only be used in an event filter",
            'name the event: did("Order Completed" where any products where sku = "MUG-1")',
        ),
        (
            'sum("Order Completed".products) > 3',
            "sum",
            'the property products of "Order Completed" is a list',
            "ask for one of its entries: any products where product_id …; or add up a field: products.product_id",
        ),
        (
            'sum("Order Completed".products.quantty) > 3',
            "sum",
            'the property products.quantty of "Order Completed" is not in the tracking plan',
            "did you mean products.quantity?",
        ),
        (
            'sum("Order Completed".products.sku) > 3',
            "sum",
            "products.sku is a string, not a number",
            "only numbers can be added, averaged or ranked",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_what_would_be_right(text: str, marked: str, message: str, hint: str) -> None:
    found = rejection_of(text)
    assert (found.message, found.hint) == (message, hint)
    place = text.index(marked) if marked != "any products where price" else text.rindex(marked)
    assert found.position == (text.rindex(marked) if marked in ("name", "products", ")") else place)


def test_a_field_needs_a_category_that_the_purpose_allows() -> None:
    health = {"size": {"type": "number", "keep": "plain", "category": "user.health_and_medical"}}
    documents = documents_of(changed(shipped(), "purposes.yaml", categories={"user.health_and_medical": "Health"}))
    documents["events.yaml"]["property_sets"]["order"]["products"]["fields"] = health
    found = rejection_of(ordered("any products where size > 3"), Catalogue(build_policy(documents)))
    assert found.message == (
        'the field size of products of "Order Completed" has the category user.health_and_medical, '
        "which the purpose email_marketing does not allow"
    )


def test_fields_of_entries_are_fields_with_a_category() -> None:
    condition = condition_of(
        'did("Order Completed" where any products where sku = "MUG-1") and sum("Order Completed".products.quantity) > 3'
    )
    assert [(use.name, use.category) for use in fields_of(condition, CATALOGUE)] == [
        ('"Order Completed"', "user.behavior.purchase_history"),
        ('"Order Completed".products.quantity', "user.behavior.purchase_history"),
        ('"Order Completed".products.sku', "user.behavior.purchase_history"),
    ]


@pytest.mark.parametrize(
    ("of", "where"),
    [
        ("products", ast.Compare(ast.EntryField("gifts", "sku"), ast.Operator.EQ, ast.Text("MUG-1"))),
        ("products", ast.Compare(ast.Property("sku"), ast.Operator.EQ, ast.Text("MUG-1"))),
        ("products", ast.AnyEntry("products", SKU)),
        ("products", ast.Did(ast.Events("Order Completed"))),
    ],
)
def test_a_tree_whose_fields_are_not_those_of_its_list_cannot_be_built(of: str, where: ast.Condition) -> None:
    with pytest.raises(ValueError, match="can only read fields of the entries of its list"):
        ast.AnyEntry(of, where)


def test_a_field_of_an_entry_without_its_list_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="an event filter can only read properties of the event"):
        ast.Events("Order Completed", SKU)


def test_a_tree_that_asks_for_entries_outside_an_event_is_refused() -> None:
    (found,) = check(ast.And((ast.AnyEntry("products", SKU), ast.Exists(ast.Trait("age")))), CATALOGUE, PURPOSE)
    assert found.message == "`any products` can only be used in an event filter"
