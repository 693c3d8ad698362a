"""One page that shows what was learned: ``report(run, source)`` writes a self-contained ``report.html``."""

from vergence.reports.build import report

__all__ = ["report"]
