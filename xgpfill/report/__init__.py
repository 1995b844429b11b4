"""Reports: what was filled, with which covariance, how sure and how well, frame by frame, as PDF or HTML."""

from __future__ import annotations

from xgpfill.report.experiments import Experiment, report_experiments
from xgpfill.report.single import report
from xgpfill.report.summary import ModelSummary

__all__ = ["Experiment", "ModelSummary", "report", "report_experiments"]
