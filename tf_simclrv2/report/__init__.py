"""Reports on a run, or several, in one self-contained HTML page."""

from tf_simclrv2.report.build import write_comparison, write_report
from tf_simclrv2.report.observations import Observations
from tf_simclrv2.report.observe import BATCH, observe
from tf_simclrv2.report.projector import write_projector

__all__ = ["BATCH", "Observations", "observe", "write_comparison", "write_projector", "write_report"]
