"""The report: one self-contained HTML page on what a run did and whether it worked."""

from rlhf.report.page import write_report

__all__ = ["write_report"]
