"""The examples that the C2SP specifications themselves give (c2sp.org/signed-note, tlog-checkpoint, tlog-tiles)."""

import pytest

from cdp.audit.checkpoint import parse_checkpoint, parse_note, parse_vkey, render_note
from cdp.audit.tile import TilePath, edge, parse_tile_path, tile_path
from cdp.vault.sign import is_signed

VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
CHECKPOINT = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
"""


def test_the_verifier_key_of_the_specification_is_read_and_written_back() -> None:
    key = parse_vkey(VKEY)

    assert key.name == "example.com/foo"
    assert key.key_id.hex() == "530d903a"
    assert key.text() == VKEY


def test_the_signed_note_of_the_specification_verifies_under_its_key() -> None:
    key, note = parse_vkey(VKEY), parse_note(NOTE)
    (line,) = note.signatures

    assert (line.name, line.key_id) == (key.name, key.key_id)
    assert is_signed(key.public_key, note.text.encode(), line.signature)
    assert not is_signed(key.public_key, note.text.replace("example", "another").encode(), line.signature)
    assert render_note(note) == NOTE


def test_the_checkpoint_of_the_specification_is_read_and_written_back() -> None:
    note = parse_note(CHECKPOINT)
    checkpoint = parse_checkpoint(note.text)

    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text() == note.text
    assert render_note(note) == CHECKPOINT


def test_a_tree_of_70000_has_the_partial_tiles_that_the_specification_counts() -> None:
    assert [(tile.level, tile.number, (70_000 >> 8 * tile.level) % 256) for tile in edge(70_000)] == [
        (0, 273, 112),
        (1, 1, 17),
        (2, 0, 1),
    ]


def test_a_tree_of_256_has_a_partial_tile_on_level_one_only() -> None:
    assert [(tile.level, tile.number) for tile in edge(256)] == [(1, 0)]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("0/x001/x234/067", TilePath(0, 1234067, 256)),
        ("0/000", TilePath(0, 0, 256)),
        ("1/001.p/17", TilePath(1, 1, 17)),
        ("entries/x273/112.p/255", TilePath(None, 273112, 255)),
        ("63/999", TilePath(63, 999, 256)),
    ],
)
def test_tile_paths_are_read_and_written(text: str, path: TilePath) -> None:
    assert parse_tile_path(text) == path
    assert tile_path(path) == text


@pytest.mark.parametrize(
    "text",
    [
        "64/000", "00/000", "0/1", "0/0001", "0/x000/001", "0/001/002", "0/x001/x002", "0/000.p/0", "0/000.p/256",
        "0/000.p/01", "0/000.p/", "entries/", "../000", "0/00\N{ARABIC-INDIC DIGIT ONE}", "-1/000", "0/000/", "",
    ],
)  # fmt: skip
def test_other_paths_name_no_tile(text: str) -> None:
    assert parse_tile_path(text) is None
