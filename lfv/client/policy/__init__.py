"""Policies: from a model's answer to a verdict with its reasons."""

from lfv.client.policy.rules import (
    ClassificationRule,
    CoverageRule,
    Policy,
    ReviewBand,
    Rules,
    TypesRule,
)
from lfv.client.policy.verdicts import Reason, Verdict, VerdictKind, decide

__all__ = [
    "ClassificationRule",
    "CoverageRule",
    "Policy",
    "Reason",
    "ReviewBand",
    "Rules",
    "TypesRule",
    "Verdict",
    "VerdictKind",
    "decide",
]
