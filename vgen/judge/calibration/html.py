"""The calibration card to look at: one file, pictures inline, nothing loaded from elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from vgen.judge.calibration.card import BARS
from vgen.judge.card import Card, Figure
from vgen.judge.report.svg import tag

__all__ = ["card_html"]

PART_NAMES = {"second": "second world", "h264": "H.264, CRF 28"}
OF_THE_JUDGE = {
    "least_pairwise": "pairwise accuracy of the rule that does worst",
    "least_deciding": "share of its clips that the rule decides that decides least",
    "rules_measured": "rules that are calibrated",
    "rules_meeting_bars": "of these, rules that tell 95 % of twins and decide 80 % of their clips",
    "false_alarms": "false alarms: decided verdicts on possible clips that say violated",
    "hardest": "clear violations in which the rule of the broken law fires hardest",
    "hardest_any": "the same, at any severity",
    "undecidable": "verdicts that came out undecidable where the rule applies",
    "null_floor": "possible clips against themselves with other noise: one half is right",
    "temporal": "clips whose plausibility temporal edits lower",
    "superficial": "median of how far superficial edits move the plausibility",
    "seconds": "processor seconds per clip of this suite, in the median",
}
OF_A_RULE = {
    "pairwise_accuracy": "twins told",
    "auc": "AUC",
    "deciding": "decides",
    "found": "found",
    "false_alarms": "false alarms",
    "hardest": "hardest",
    "iou": "IoU in time",
    "hit": "right thing",
}
STYLE = Markup("""<style>
body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
table{border-collapse:collapse;margin:.6rem 0 1.6rem}td,th{padding:.2rem .55rem;border-bottom:1px solid #ddd}
th{text-align:left;font-weight:600}td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
small{color:#68707a}.bad{color:#b3261e;font-weight:600}h2{margin-top:2.2rem}
.wide{overflow-x:auto}.curves{display:flex;flex-wrap:wrap;gap:.8rem}.curves figure{margin:0}
td.heat{width:1.1rem;height:1.1rem;padding:0;border:1px solid #fff}
th.turned{height:9rem;vertical-align:bottom;padding:0}
th.turned span{writing-mode:vertical-rl;transform:rotate(180deg);font-weight:400}
</style>""")
CURVE_SIZE = (168, 120)


def card_html(card: Card) -> str:
    """The card as an HTML page."""
    details = card.details
    body = Markup().join(
        [
            tag("h1", "Calibration card of the judge"),
            tag("p", f"Card {card.digest[:12]}. ", _said_of(details.get("suite", {}), card.versions)),
            tag("h2", "The judge as a whole, on the test split"),
            _whole(card),
            tag("h2", "Rule by rule"),
            tag(
                "p",
                tag("small", "Figures of the test split with 95 % intervals over scenes; at severity .5 and above."),
            ),
            _rules(card),
            *(
                part
                for name, title in PART_NAMES.items()
                for part in (tag("h2", f"The same: {title}"), _rules(card, prefix=f"{name}."))
            ),
            tag("h2", "Not calibrated"),
            _uncalibrated(details.get("uncalibrated", {})),
            tag("h2", "Twins told, against severity"),
            tag("div", *(_curve(rule, curve) for rule, curve in details.get("curves", {}).items()), class_="curves"),
            tag("h2", "Cross-talk"),
            tag(
                "p",
                "How well the strength of each rule (rows) tells the twins of each law (columns): AUC. "
                "A bright diagonal on a dark ground is what a judge should have.",
            ),
            tag("div", _heat_map(details.get("cross_talk", {})), class_="wide"),
            tag("h2", "Edits"),
            _edits(details.get("edits", {})),
            tag("h2", "What severity .5 is"),
            _table(("law", "at severity .5; linear"), [(law, text) for law, text in sorted(card.severity.items())]),
        ]
    )
    head = tag("head", Markup('<meta charset="utf-8">'), tag("title", "Calibration card"), STYLE)
    return f"<!doctype html>\n{tag('html', head, tag('body', body), lang='en')}\n"


def _said_of(suite: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    said = [f"{key} {value}" for key, value in versions.items()]
    said += [f"{key}: {value}" for key, value in suite.items()]
    return "; ".join(said) + "."


def _whole(card: Card) -> Markup:
    parts = {name: told for name, told in card.details.get("parts", {}).items() if name in PART_NAMES}
    rows = [
        (text, _cell(card.figures[name]), *(_stored(told.get(name)) for told in parts.values()))
        for name, text in OF_THE_JUDGE.items()
        if name in card.figures
    ]
    return _table(("", "all", *(PART_NAMES[name] for name in parts)), rows)


def _rules(card: Card, prefix: str = "") -> Markup:
    rows = []
    for rule, scale in card.rules.items():
        figures = [(scale.figures.get(prefix + name), BARS.get(name)) for name in OF_A_RULE]
        if any(figure is not None for figure, _ in figures):
            rows.append((rule, *(_cell(figure, least) for figure, least in figures)))
    return _table(("rule", *OF_A_RULE.values()), rows)


def _uncalibrated(told: Mapping[str, Any]) -> Markup:
    rows = [(rule, entry["reason"], _stored(entry["figures"].get("pairwise_accuracy"))) for rule, entry in told.items()]
    return _table(("rule", "why", "twins told"), rows)


def _edits(told: Mapping[str, Any]) -> Markup:
    rows = [
        (
            name,
            *(_stored(figures.get(key)) for key in ("lowered", "moved", "change", "decided")),
        )
        for name, figures in told.items()
    ]
    return _table(("edit", "lowered", "moved, median", "change, mean", "decided"), rows)


def _heat_map(told: Mapping[str, Any]) -> Markup:
    laws: Sequence[str] = told.get("laws", [])
    head = tag("tr", tag("th"), *(tag("th", tag("span", law), class_="turned") for law in laws))
    rows = [
        tag("tr", tag("th", rule), *(_heat(row.get(law), f"{rule} on {law}") for law in laws))
        for rule, row in told.get("auc", {}).items()
    ]
    return tag("table", head, *rows)


def _heat(area: float | None, title: str) -> Markup:
    if area is None:
        return tag("td", class_="heat", title=f"{title}: too few clips", style="background:#fff")
    share = min(1.0, 2 * abs(area - 0.5))
    light = 96 - 56 * share
    hue = 215 if area >= 0.5 else 20
    return tag("td", class_="heat", title=f"{title}: {area:.2f}", style=f"background:hsl({hue},70%,{light:.0f}%)")


def _curve(rule: str, told: Mapping[str, Any]) -> Markup:
    """Share of twins told against severity, from one half to all."""
    width, height = CURVE_SIZE
    left, right, top, bottom = 26, width - 6, 8, height - 18

    def at(severity: float, share: float) -> tuple[float, float]:
        up = (min(max(share, 0.4), 1.0) - 0.4) / 0.6
        return round(left + severity * (right - left), 1), round(bottom - up * (bottom - top), 1)

    points = [at(x, y) for x, y in zip(told["severity"], told["share"], strict=True)]
    bars = [
        tag("line", x1=x, x2=x, y1=at(0, low)[1], y2=at(0, high)[1], stroke="#9bb4d6")
        for (x, _), (low, high) in zip(points, told["interval"], strict=True)
    ]
    lines = [tag("line", x1=left, x2=right, y1=at(0, y)[1], y2=at(0, y)[1], stroke="#ddd") for y in (0.5, 0.75, 1.0)]
    words = [
        tag("text", f"{y:g}", x=left - 3, y=at(0, y)[1] + 3, text_anchor="end", font_size=9, fill="#68707a")
        for y in (0.5, 0.75, 1.0)
    ]
    words += [
        tag("text", f"{x:g}", x=at(x, 0)[0], y=height - 6, text_anchor="middle", font_size=9, fill="#68707a")
        for x in (0, 0.5, 1)
    ]
    path = tag("polyline", points=" ".join(f"{x},{y}" for x, y in points), fill="none", stroke="#1f5fb4")
    dots = [tag("circle", cx=x, cy=y, r=2.2, fill="#1f5fb4") for x, y in points]
    point = "never" if told["point_75"] is None else f"{told['point_75']:.2f}"
    drawing = tag("svg", *lines, *bars, path, *dots, *words, width=width, height=height, role="img")
    return tag("figure", drawing, tag("figcaption", rule, Markup("<br>"), tag("small", f"75 % from {point}")))


def _table(head: Sequence[str], rows: Sequence[Sequence[str | Markup]]) -> Markup:
    """Cells that are cells already stay so."""
    lines = [
        tag("tr", *(cell if isinstance(cell, Markup) and cell.startswith("<td") else tag("td", cell) for cell in row))
        for row in rows
    ]
    return tag("table", tag("tr", *(tag("th", word) for word in head)), *lines)


def _stored(told: Mapping[str, Any] | None) -> Markup:
    if told is None:
        return _cell(None)
    low_high = told["interval"]
    return _cell(Figure(value=told["value"], interval=tuple(low_high) if low_high else None, count=told["count"]))


def _cell(figure: Figure | None, least: float | None = None) -> Markup:
    """A figure with its interval; marked where it stays below its bar."""
    if figure is None or figure.value is None:
        return tag("td", "–", class_="n")
    words = [f"{figure.value:.3g}"]
    if figure.interval is not None:
        words.append(tag("small", " {:.2g}–{:.2g}".format(*figure.interval)))
    bad = least is not None and figure.value < least
    return tag("td", *words, class_="n bad" if bad else "n", title=f"over {figure.count}")
