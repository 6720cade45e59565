"""What an experiment reports, the record of its run, and the page of all records."""

from records.claims import EXPERIMENTS, PaperClaim, PaperExperiment
from records.provenance import this_machine
from records.report import Cell, Claim, Picture, Plot, Report, Table, Verdict
from records.writing import write

__all__ = [
    "EXPERIMENTS",
    "Cell",
    "Claim",
    "PaperClaim",
    "PaperExperiment",
    "Picture",
    "Plot",
    "Report",
    "Table",
    "Verdict",
    "this_machine",
    "write",
]
