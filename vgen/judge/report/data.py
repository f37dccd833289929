"""`report.json`: the report as plain JSON of one versioned schema, the same bytes for the same clip."""

import json
from typing import Any

from vgen.judge.asked import OUTCOMES, Asked
from vgen.judge.rule import GROUPS, Measurement
from vgen.judge.verdict import STATUSES, Report, Verdict

__all__ = ["FAMILY", "REPORT_SCHEMA", "SCHEMA", "as_dict", "to_json"]

FAMILY = "vgen judge report"
SCHEMA = f"{FAMILY} 2"
DIGITS = 6  # significant ones; what lies behind them may differ from machine to machine


def as_dict(report: Report) -> dict[str, Any]:
    """The report as `REPORT_SCHEMA` describes it."""
    return {
        "schema": SCHEMA,
        "clip": report.clip,
        "plausibility": _share(report.plausibility),
        "coverage": _share(report.coverage),
        "verdicts": [_verdict(verdict) for verdict in report.verdicts],
        "asked": [_asked(one) for one in report.asked],
        "calibration": report.calibration,
        "versions": dict(sorted(report.versions.items())),
        "warnings": list(report.warnings),
    }


def to_json(report: Report) -> str:
    """The text of `report.json`."""
    return json.dumps(as_dict(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "rule": verdict.rule,
        "group": verdict.group,
        "status": verdict.status,
        "violation": _share(verdict.violation),
        "calibrated": verdict.calibrated,
        "reason": verdict.reason,
        "evidence": [_evidence(measurement) for measurement in verdict.evidence],
    }


def _asked(asked: Asked) -> dict[str, Any]:
    return {
        "law": asked.law,
        "outcome": asked.outcome,
        "votes": list(asked.votes),
        "chance": _share(asked.chance),
        "reason": asked.reason,
        "judge": asked.judge,
        "prompts": asked.prompts,
    }


def _evidence(measurement: Measurement) -> dict[str, Any]:
    return {
        "frames": list(map(int, measurement.frames)),
        "objects": list(map(int, measurement.objects)),
        "quantity": measurement.quantity,
        "value": _rounded(measurement.value),
        "expected": _rounded(measurement.expected),
        "sigma": _rounded(measurement.sigma),
        "strength": _rounded(measurement.strength),
        "text": measurement.text,
    }


def _share(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    """Every property is required, and there are no others."""
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_INDEX = {"type": "integer", "minimum": 0}

REPORT_SCHEMA: dict[str, Any] = {  # JSON Schema, draft 2020-12
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": SCHEMA,
    **_object(
        {
            "schema": {"const": SCHEMA},
            "clip": _TEXT,
            "plausibility": {"anyOf": [_SHARE, {"type": "null"}]},
            "coverage": _SHARE,
            "verdicts": {
                "type": "array",
                "items": _object(
                    {
                        "rule": _TEXT,
                        "group": {"enum": list(GROUPS)},
                        "status": {"enum": list(STATUSES)},
                        "violation": {"anyOf": [_SHARE, {"type": "null"}]},
                        "calibrated": {"type": "boolean"},
                        "reason": _TEXT,
                        "evidence": {
                            "type": "array",
                            "items": _object(
                                {
                                    "frames": {"type": "array", "items": _INDEX, "minItems": 2, "maxItems": 2},
                                    "objects": {"type": "array", "items": _INDEX},
                                    "quantity": _TEXT,
                                    "value": _NUMBER,
                                    "expected": _NUMBER,
                                    "sigma": _NUMBER,
                                    "strength": {"type": "number", "minimum": 0},
                                    "text": _TEXT,
                                }
                            ),
                        },
                    }
                ),
            },
            "asked": {
                "type": "array",
                "items": _object(
                    {
                        "law": _TEXT,
                        "outcome": {"enum": list(OUTCOMES)},
                        "votes": {"type": "array", "items": {"enum": list(OUTCOMES)}},
                        "chance": {"anyOf": [_SHARE, {"type": "null"}]},
                        "reason": _TEXT,
                        "judge": _TEXT,
                        "prompts": _TEXT,
                    }
                ),
            },
            "calibration": _TEXT,
            "versions": {"type": "object", "additionalProperties": _TEXT},
            "warnings": {"type": "array", "items": _TEXT},
        }
    ),
}
