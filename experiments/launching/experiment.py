"""An experiment and its command line."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launching.cluster import add_cluster_arguments, check_limits, cluster_of, with_resources
from launching.context import Unfinished
from launching.here import run_inline, run_local
from launching.options import Options, add_options, options_of
from launching.run_folder import RunFolder
from launching.run_lock import locked
from launching.stage import Resources, Stage, check_stages
from launching.submission import dry_run, submit
from launching.waiting import StageFailed, wait_for_slurm

REPORT = "report"
EXIT_FAILED = 1
EXIT_MISUSE = 2
EXIT_STOPPED = 130


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One table or figure of the paper.

    Attributes:
        name: its script's.
        title: what it is, beginning with the table or figure.
        paper: what the paper reports, in a paragraph.
        presets: the stages of each; the first is the default.
        plans: what ``--plan`` prints for each: what it costs.
        report: ``"module:function"``; given the last stage's context, it returns a
            :class:`records.Report`.
        seeds: repetitions by default, for each preset.
        report_resources: what the last stage asks for.
    """

    name: str
    title: str
    paper: str
    presets: Mapping[str, Callable[[Options], Sequence[Stage]]]
    plans: Mapping[str, Callable[[Options], str]]
    report: str
    seeds: Mapping[str, int] = field(default_factory=dict)
    report_resources: Resources = field(default_factory=Resources)

    def stages(self, options: Options) -> list[Stage]:
        """Return all stages of a preset, the report after the others.

        Raises:
            ValueError: if the preset needs data that the options do not name.
        """
        stages = list(self.presets[options.preset](options))
        last = Stage(
            name=REPORT,
            function="launching.reporting:report",
            arguments={"function": self.report},
            after=tuple(stage.name for stage in stages),
            resources=self.report_resources,
        )
        return [*stages, last]


def main(experiment: Experiment, argv: Sequence[str] | None = None) -> None:
    """Run an experiment's command line, and leave with its exit code."""
    raise SystemExit(run_command(experiment, argv))


def run_command(experiment: Experiment, argv: Sequence[str] | None = None) -> int:
    """Run an experiment's command line; return 0, or 1 if a stage failed, 2 for a mistake."""
    args = _parser(experiment).parse_args(argv)
    try:
        print(_run(experiment, args))
    except (ValueError, OSError) as error:
        print(f"{experiment.name}: error: {error}", file=sys.stderr)
        return EXIT_MISUSE
    except StageFailed as error:
        print(f"{experiment.name}: error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except Unfinished as reason:
        print(f"{experiment.name}: {reason}; run it again to go on", file=sys.stderr)
        return EXIT_STOPPED
    except KeyboardInterrupt:
        print(
            f"{experiment.name}: interrupted; jobs on SLURM go on (status.py shows and cancels "
            "them), the same command goes on from what is there",
            file=sys.stderr,
        )
        return EXIT_STOPPED
    return 0


def _run(experiment: Experiment, args: argparse.Namespace) -> str:
    seeds = experiment.seeds.get(args.preset, 1)
    options = options_of(args, seeds, has_gpus=False)
    if args.plan:
        return experiment.plans[args.preset](options)
    stages = with_resources(experiment.stages(options), args)
    if args.device is None and any(stage.resources.gpus_per_node for stage in stages):
        options = options_of(args, seeds, has_gpus=True)
        stages = with_resources(experiment.stages(options), args)
    check_stages(stages)
    cluster = cluster_of(args)
    check_limits(cluster, stages)
    run = RunFolder(args.run_folder or Path("runs") / f"{experiment.name}-{args.preset}")
    if args.dry_run:
        return dry_run(run, cluster, stages, experiment.name)
    about = {name: getattr(experiment, name) for name in ("name", "title", "paper", "seeds")}
    with locked(run):
        run.write_plan(about, options, stages)
        # A report is made anew, from whatever there is now.
        if not all(run.is_finished(stage.name) for stage in stages[:-1]):
            (run.stage(REPORT) / "result.json").unlink(missing_ok=True)
        if cluster.kind == "inline":
            run_inline(run, stages)
        elif cluster.kind == "local":
            run_local(run, cluster, stages)
        else:
            submit(run, cluster, stages, experiment.name)
    if args.no_wait:
        return f"submitted {len(stages)} stages; python experiments/status.py {run.path}"
    if cluster.kind == "slurm":  # several may wait for the same jobs
        wait_for_slurm(run, stages)
    return (run.path / "report.md").read_text(encoding="utf-8") + f"\nwrote {run.path}"


def _parser(experiment: Experiment) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{experiment.name}.py",
        description=experiment.title,
        epilog=experiment.paper,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, tuple(experiment.presets))
    parser.add_argument("--plan", action="store_true", help="print what it costs and stop")
    add_cluster_arguments(parser)
    return parser
