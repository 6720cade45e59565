"""The front door over Submitit: an experiment is a list of stages, run in order, here or on SLURM.

    python experiments/ablation_margin.py --cluster slurm --partition gpu

All state lies in the run folder, one folder a stage, never in what is pickled: a job that was
preempted, timed out or killed is started again from what is written there.
"""

from launching.context import Context, Unfinished
from launching.experiment import Experiment, main
from launching.options import Options
from launching.stage import Resources, Stage

__all__ = ["Context", "Experiment", "Options", "Resources", "Stage", "Unfinished", "main"]
