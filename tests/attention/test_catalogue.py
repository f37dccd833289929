"""Patterns by name: every row can be made, and every mistake gets one line that helps."""

from typing import Any

import pytest

from vgen.attention.catalogue import PATTERNS, describe, make_pattern
from vgen.attention.cycles import PerHead, PerLayer
from vgen.attention.dual_scope import dual_scope
from vgen.attention.mixture import MixtureOfBlocks
from vgen.attention.order import TokenOrder
from vgen.attention.pattern import AdaptivePattern, BlockPattern, Either, Pattern, Shared
from vgen.attention.radial import Radial, RadialBlocks
from vgen.attention.temporal import CausalWindow, Sink
from vgen.attention.windows import Window
from vgen.errors import ConfigError

PARTS = [{"name": "window", "frames": 4}, {"name": "sink"}]
NEEDED: dict[str, dict[str, Any]] = {
    **{name: {"of": PARTS} for name in ("all", "any", "per_head", "per_layer")},
    "window": {"frames": 2},
}


@pytest.mark.parametrize("name", PATTERNS)
def test_every_row_makes_a_pattern_that_can_be_remembered(name: str) -> None:
    made = make_pattern(name, NEEDED.get(name, {}))
    assert isinstance(made, Pattern | BlockPattern | AdaptivePattern | PerHead | PerLayer)
    assert hash(made) == hash(make_pattern(name, NEEDED.get(name, {})))


@pytest.mark.parametrize(
    ("name", "knobs", "made"),
    [
        ("radial", {}, Radial()),
        ("radial", {"decay": 1, "adjacent": "half", "sink": 0}, Radial(decay=1.0, adjacent="half", sink=0)),
        ("radial", {"decay": 0.3, "fidelity": "block"}, RadialBlocks(Radial(decay=0.3))),
        ("window", {"frames": "all", "rows": 3}, Window(rows=3)),
        ("window", {"rows": 3, "tiles": "allx2x16"}, Window(rows=3, tiles=TokenOrder(None, 2, 16))),
        ("window", {"frames": 3, "tiles": "auto"}, Window(frames=3)),
        ("causal", {"chunk": 3, "window": None}, CausalWindow(chunk=3)),
        ("dual_scope", {"reach": 3, "clips": "all"}, dual_scope(reach=3)),
        ("dual_scope", {"reach": 3, "clips": 2}, dual_scope(reach=3, clips=2)),
        ("any", {"of": PARTS}, Either(Window(frames=4), Sink(1))),
        ("all", {"of": [*PARTS, {"name": "sink"}]}, Shared(Shared(Window(frames=4), Sink(1)), Sink(1))),
        ("any", {"of": [{"name": "all", "of": PARTS}]}, Shared(Window(frames=4), Sink(1))),
        ("per_head", {"of": PARTS}, PerHead((Window(frames=4), Sink(1)))),
        (
            "per_layer",
            {"of": [{"name": "per_head", "of": PARTS}, {"name": "sink", "frames": 2}]},
            PerLayer((PerHead((Window(frames=4), Sink(1))), Sink(2))),
        ),
    ],
)
def test_knobs(name: str, knobs: dict[str, Any], made: object) -> None:
    assert make_pattern(name, knobs) == made


@pytest.mark.parametrize(("topk", "tops"), [([1, 2, 3], [1, 2, 3]), ("1x2x3", [1, 2, 3]), (4, [4, 4, 4])])
def test_numbers_for_each_kind_of_layer(topk: object, tops: list[int]) -> None:
    made = make_pattern("vmoba", {"patch": "allx2x3", "topk": topk})
    assert isinstance(made, PerLayer)
    layers = [part for part in made.patterns if isinstance(part, MixtureOfBlocks)]
    assert [part.topk for part in layers] == tops
    assert layers[1].order() == TokenOrder(None, 2, 3)


@pytest.mark.parametrize(
    ("name", "knobs", "words"),
    [
        ("radail", {}, "unknown attention pattern 'radail'; did you mean 'radial'"),
        ("radial", {"decya": 1}, "'radial' has no knob 'decya'; did you mean 'decay'"),
        ("full", {"decay": 1}, "'full' has no knob 'decay'; it has none"),
        ("radial", {"decay": 0}, "radial: decay=0.0 is not possible; possible: above 0"),
        ("radial", {"decay": "much"}, "radial: decay='much' is not possible; possible: a number"),
        ("radial", {"sink": True}, "radial: sink=True is not possible; possible: a whole number"),
        ("radial", {"sink": 1.5}, "radial: sink=1.5 is not possible; possible: a whole number"),
        ("radial", {"adjacent": "hlaf"}, "radial: adjacent=hlaf is not possible; did you mean 'half'"),
        ("moba", {"causal": 1}, "moba: causal=1 is not possible; possible: true, false"),
        ("dual_scope", {"clips": 0}, "dual_scope: clips=0 is not possible; possible: 1 clip"),
        ("causal", {"window": 0}, "causal: window=0 is not possible; possible: 1 frames"),
        ("window", {}, "window: without frames, rows and columns"),
        ("window", {"tiles": "2x2"}, "tiles=2x2 is not possible; possible: FRAMESxROWSxCOLUMNS"),
        ("window", {"tiles": "0x2x2"}, "tiles=0x2x2 is not possible"),
        ("vmoba", {"patch": "3xy"}, "vmoba: patch=3xy is not possible; possible: FRAMESxROWSxCOLUMNS"),
        ("vmoba", {"topk": "3xy"}, "vmoba: topk='3xy' is not possible; possible: numbers, such as 4x6x4"),
        ("vmoba", {"topk": [3, 4]}, "vmoba: topk=[3, 4] is not possible; possible: one number, or three"),
        ("any", {}, "'any' needs its knob 'of': list of patterns"),
        ("any", {"of": []}, "any: of no pattern"),
        ("any", {"of": "radial"}, "any: of='radial' is not possible; possible: a list such as"),
        ("any", {"of": ["radial"]}, "possible: a list such as"),
        ("any", {"of": [{"name": "radail"}]}, "did you mean 'radial'"),
        ("any", {"of": [{"name": "radial", "fidelity": "block"}]}, "possible: patterns by token"),
        ("per_head", {"of": [{"name": "per_layer", "of": PARTS}]}, "possible: patterns that do not cycle"),
        ("per_layer", {"of": [{"name": "per_layer", "of": PARTS}]}, "possible: patterns, and per_head"),
    ],
)
def test_mistakes_get_a_line_that_helps(name: str, knobs: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_pattern(name, knobs)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_help_names_every_knob_with_its_default() -> None:
    lines = describe()
    assert [line.partition(":")[0] for line in lines if not line.startswith(" ")] == sorted(PATTERNS)
    assert "  decay=0.2  width of the bands, above 0" in lines
    assert "  adjacent=full  what neighbouring frames see of each other (full, half)" in lines
    assert "  tile=6x8x8  frames x rows x columns" in lines
    assert not [line for line in lines if "None" in line]
