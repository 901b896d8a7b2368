"""Decoding of consent strings beside the IAB's reference decoders in Node, on the same strings."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from benchmarks._stage import median, table
from cdp.consent.signals.gpp.decode import decode_gpp
from cdp.consent.signals.tcf.decode import decode_tcf

_HERE: Final = Path(__file__).parent
_SDK: Final = _HERE.parent / "tests" / "sdk"
_RANDOM: Final = _SDK / "tcf_random.cjs"
_NODE: Final = Path(sys.prefix) / "node-sdk" / "node_modules"
_PACKAGES: Final = ("@iabtcf/core", "@iabtechlabtcf/core")
_SEED: Final = 11
_GPP_KINDS: Final[dict[str, Callable[[Mapping[str, object]], bool]]] = {
    "any sections": bool,
    "states alone": lambda sections: bool(sections) and not {"tcfeuv2", "tcfcav1"} & sections.keys(),
    "one to three states": lambda sections: 0 < len(sections) < 4 and not {"tcfeuv2", "tcfcav1"} & sections.keys(),
}


def tc_strings(strings: int, rounds: int) -> str:
    """A table: strings a second of one core by processor time, each package beside ours on the strings that it wrote."""
    lines = _node(_RANDOM, str(_SEED), str(strings)).splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    rows = []
    for package, own in zip(_PACKAGES, (texts[:strings], texts[strings:]), strict=True):
        theirs, first, again = [], [], []
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("\n".join(own))
            file.flush()
            for number in range(1, rounds + 1):
                theirs += [float(line) for line in _node(_HERE / "decode.cjs", file.name, "3", package).splitlines()]
                fresh = [_padded(text, number) for text in own]
                first.append(_seconds(fresh, decode_tcf))
                again.append(_seconds(fresh * 10, decode_tcf) / 10)
        rates = [len(own) / median(seconds) for seconds in (theirs, first, again)]
        letters = sum(map(len, own)) // len(own)
        ratios = [f"{rate / rates[0]:.1f}x" for rate in rates[1:]]
        rows.append([f"{package}, {letters} letters", *(f"{rate:,.0f}" for rate in rates), *ratios])
    heads = ["strings written by", "its decoder/s", "ours/s", "ours, repeated/s", "must 1x", "must 20x"]
    return table(heads, rows)


def gpp_strings(strings: int, rounds: int) -> str:
    """A table as that of TC strings, for texts of the Global Privacy Platform: new ones in each round, and each again."""
    rows = []
    for seed, (kind, is_wanted) in enumerate(_GPP_KINDS.items(), _SEED):
        lines = map(json.loads, _node(_SDK / "gpp_random.cjs", str(seed), str(strings * rounds)).splitlines())
        texts = [line["text"] for line in lines if is_wanted(line["sections"])]
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("\n".join(texts))
            file.flush()
            read_by_node = _node(_HERE / "decode.cjs", file.name, "3", "@iabgpp/cmpapi")
        theirs = [float(line) / len(texts) for line in read_by_node.splitlines()]
        first, again = [], []
        for number in range(rounds):
            own = texts[number::rounds]
            first.append(_seconds(own, decode_gpp) / len(own))
            again.append(_seconds(own * 10, decode_gpp) / len(own) / 10)
        rates = [1 / median(seconds) for seconds in (theirs, first, again)]
        sections = sum(text.count("~") for text in texts) / len(texts)
        ratios = [f"{rate / rates[0]:.1f}x" for rate in rates[1:]]
        rows.append([f"{kind}, {sections:.1f} on average", *(f"{rate:,.0f}" for rate in rates), *ratios])
    heads = ["texts with", "@iabgpp/cmpapi/s", "ours/s", "ours, repeated/s", "must 1x", "must 20x"]
    return table(heads, rows)


def _padded(text: str, letters: int) -> str:
    """The same string with more zeros after each segment, which no earlier round has cached."""
    return text.replace(".", "A" * letters + ".") + "A" * letters


def _seconds(texts: list[str], decode: Callable[[str], object]) -> float:
    """The processor seconds of decoding all texts."""
    begun = time.process_time()
    for text in texts:
        decode(text)
    return time.process_time() - begun


def _node(*arguments: str | Path) -> str:
    """The output of a script in Node, with the packages of the tests."""
    environment = {**os.environ, "NODE_PATH": str(_NODE)}
    done = subprocess.run(
        ["node", *map(str, arguments)], env=environment, capture_output=True, text=True, check=True, timeout=900
    )
    return done.stdout
