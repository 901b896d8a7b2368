"""C2SP tlog-tiles: the location of hashes, the growth of the tree, and reading proofs from tiles.

Pure. A tile holds up to 256 hashes; level 0 holds leaf hashes, and each hash of a level above is the root
of one full tile below. See https://c2sp.org/tlog-tiles.
"""

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from cdp.audit.merkle import HASH_BYTES, Subtree, root_of

TILE_WIDTH = 256
LEVEL_BITS = 8
LEVEL_MAX = 7

_PATH = re.compile(
    r"(?P<level>[0-9]|[1-5][0-9]|6[0-3]|entries)/(?P<number>(?:x\d{3}/){0,5}\d{3})(?:\.p/(?P<width>[1-9]\d{0,2}))?",
    re.ASCII,
)


class TileId(NamedTuple):
    """The tile with this number on this level."""

    level: int
    number: int


class TilePath(NamedTuple):
    """The path of a requested tile; `level` is None for a bundle of entries."""

    level: int | None
    number: int
    width: int


class Slice(NamedTuple):
    """The hashes in one tile that together make one subtree."""

    tile: TileId
    begin: int
    width: int


TileReader = Callable[[Sequence[TileId]], Mapping[TileId, bytes]]


def parse_tile_path(text: str) -> TilePath | None:
    """Parse `<L>/<N>[.p/<W>]` or `entries/<N>[.p/<W>]`; None if it is not such a path in canonical form."""
    found = _PATH.fullmatch(text)
    if found is None:
        return None
    width = int(found["width"]) if found["width"] else TILE_WIDTH
    number = int(found["number"].replace("x", "").replace("/", ""))
    level = None if found["level"] == "entries" else int(found["level"])
    path = TilePath(level, number, width)
    is_partial = found["width"] is not None
    return path if is_partial == (width < TILE_WIDTH) and tile_path(path) == text else None


def tile_path(path: TilePath) -> str:
    """The path of a tile in the form that clients request."""
    groups = [f"{path.number % 1000:03d}"]
    rest = path.number // 1000
    while rest:
        groups.insert(0, f"x{rest % 1000:03d}")
        rest //= 1000
    level = "entries" if path.level is None else str(path.level)
    partial = f".p/{path.width}" if path.width < TILE_WIDTH else ""
    return f"{level}/{'/'.join(groups)}{partial}"


def edge(size: int) -> list[TileId]:
    """The partial tiles at the right edge of a tree of this size, lowest level first."""
    tiles = []
    for level in range(LEVEL_MAX + 1):
        width = size >> (LEVEL_BITS * level)
        if width == 0:
            break
        if width % TILE_WIDTH:
            tiles.append(TileId(level, width // TILE_WIDTH))
    return tiles


def grow(size: int, partial: Mapping[TileId, bytes], leaf_hashes: Sequence[bytes]) -> dict[TileId, bytes]:
    """The tiles that change when leaf hashes are appended to a tree of `size` whose edge tiles are `partial`."""
    changed: dict[TileId, bytes] = {}
    added: Sequence[bytes] = leaf_hashes
    level = 0
    while added:
        number, filled = divmod(size >> (LEVEL_BITS * level), TILE_WIDTH)
        before = partial[TileId(level, number)][: filled * HASH_BYTES] if filled else b""
        content = before + b"".join(added)
        full = []
        for at in range(0, len(content), TILE_WIDTH * HASH_BYTES):
            tile = content[at : at + TILE_WIDTH * HASH_BYTES]
            changed[TileId(level, number)] = tile
            number += 1
            if len(tile) == TILE_WIDTH * HASH_BYTES:
                full.append(root_of(split(tile)))
        added = full
        level += 1
    return changed


def edge_root(size: int, tiles: Mapping[TileId, bytes]) -> bytes:
    """The root of a tree of `size`, from its edge tiles."""
    lower: list[bytes] = []
    for tile in edge(size):
        filled = (size >> (LEVEL_BITS * tile.level)) % TILE_WIDTH
        lower = [root_of(split(tiles[tile][: filled * HASH_BYTES]) + lower)]
    return root_of(lower)


def slice_of(node: Subtree) -> Slice:
    """The location of the hashes of a complete subtree."""
    level, height = divmod(node.level, LEVEL_BITS)
    number, begin = divmod(node.position << height, TILE_WIDTH)
    return Slice(TileId(level, number), begin, 1 << height)


def read_nodes(nodes: Sequence[Subtree], read_tiles: TileReader) -> list[bytes]:
    """The hashes of complete subtrees; `read_tiles` is called once. Raises KeyError for a missing tile."""
    slices = [slice_of(node) for node in nodes]
    tiles = read_tiles(sorted({part.tile for part in slices}))
    return [
        root_of(split(tiles[part.tile][part.begin * HASH_BYTES : (part.begin + part.width) * HASH_BYTES]))
        for part in slices
    ]


def entry_bundle(entries: Sequence[bytes]) -> bytes:
    """Entries as a bundle: each after its length in two bytes."""
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries)


def split(tile: bytes) -> list[bytes]:
    """The hashes in a tile."""
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]
