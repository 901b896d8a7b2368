"""One YAML file, read safely."""

import pytest
import yaml

from cdp.policy import source
from cdp.policy.problems import Position
from cdp.policy.source import SourceRefused, parse


def refusal(text: str | bytes) -> str:
    """The problem that reading this text ends with."""
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(SourceRefused) as refused:
        parse("f.yaml", data)
    return str(refused.value.problem)


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("NO", "NO"),
        ("off", "off"),
        ("12", 12),
        ("-1", -1),
        ("007", "007"),
        ("0x10", "0x10"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1e999", "1e999"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("null", None),
        ("~", None),
        ("", None),
        ('""', ""),
        ('"null"', "null"),
        ("'12'", "12"),
        ("2026-01-01", "2026-01-01"),
        ("=", "="),
        ("|\n  two\n  lines\n", "two\nlines\n"),
    ],
)
def test_scalars_follow_yaml_1_2(scalar: str, value: object) -> None:
    content = parse("f.yaml", f"a: {scalar}\n".encode()).content
    assert isinstance(content, dict)
    assert content["a"] == value
    assert type(content["a"]) is type(value)


def test_every_value_and_key_has_its_place() -> None:
    read = parse("f.yaml", b"a:\n  b: [1, two]\n  c: {d: e}\n")
    assert read.content == {"a": {"b": [1, "two"], "c": {"d": "e"}}}
    assert read.place(("a", "b", 1)) == Position("f.yaml", 2, 10)
    assert read.place(("a", "c", "d"), of_key=True) == Position("f.yaml", 3, 7)
    assert read.place(("a", "c", "d")) == Position("f.yaml", 3, 10)


def test_what_is_not_there_has_the_place_of_what_is_around_it() -> None:
    read = parse("f.yaml", b"a:\n  b: 1\n")
    assert read.place(("a", "missing", "deeper")) == Position("f.yaml", 1, 1)
    assert read.place(("nothing",)) == Position("f.yaml", 1, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: the key `a` appears twice, first on line 1"),
        ("a: &x 1\nb: 2\n", "f.yaml:1:4: anchors and aliases"),
        ("a: *x\n", "f.yaml:1:4: anchors and aliases"),
        ("a: &x {b: &y [1]}\n", "f.yaml:1:4: anchors"),
        ("<<: {a: 1}\n? [b]\n: 2\n", "f.yaml:2:3: a key must be a string"),
        ("a: !!python/object/apply:os.system [x]\n", "f.yaml:1:4: tags (!) are not accepted"),
        ("a: !!str 1\n", "f.yaml:1:4: tags"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document begins here"),
        ("- a\n", "f.yaml:1:1: the file must be a mapping"),
        ("", "f.yaml:1:1: the file must be a mapping"),
        ("a: b: c\n", "f.yaml:1:5: this is not YAML: mapping values are not allowed"),
        ("a: [1\n", "this is not YAML"),
        ("a: 9007199254740992\n", "f.yaml:1:4: a number is too large"),
        ('a: "\\0"\n', "f.yaml:1:4: this text contains a character that cannot be stored"),
        ('"\\0": 1\n', "f.yaml:1:1: this text contains a character that cannot be stored"),
        ('a: "\\ud800"\n', "f.yaml:1:"),
        (b"a: 1\nb: \xff\n", "f.yaml:2:1: the file is not UTF-8"),
        ("a: \x07\n", "characters that YAML does not allow"),
        ("a: " + "[" * 20 + "]" * 20, "nested deeper than 12"),
        ("a: " + "[" * 100_000, "nested deeper than 12"),
    ],
)
def test_what_is_refused_says_where_and_why(text: str | bytes, says: str) -> None:
    assert says in refusal(text)


def test_an_alias_bomb_is_refused_before_it_expands() -> None:
    layers = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10))
    assert "f.yaml:1:5: anchors and aliases" in refusal(f"l0: &l0 lol\n{layers}\n")


def test_a_file_may_not_be_large(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "larger than 512000 bytes" in refusal(b"a: " + b"x" * source.BYTES_MAX)
    monkeypatch.setattr(source, "NODES_MAX", 10)
    assert "more than 10 values" in refusal("a: [" + "1, " * 20 + "]")


def test_a_pure_python_parser_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"a: {b: [1, 'x', true], c: ~}\nd: |\n  text\n"
    fast = parse("f.yaml", text)
    monkeypatch.setattr(source, "_LOADER", yaml.SafeLoader)
    assert parse("f.yaml", text).content == fast.content
