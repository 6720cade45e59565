"""Collect the records of runs and rebuild the pages that show them.

    python experiments/results_page.py [RUN_FOLDER ...] [--records docs/experiments] [--check]
        [--without-figures]

Copies each run's record (as `NAME.json`) and plots (into `NAME/`) beside the other records, then
rebuilds `index.html` there and the part of `docs/results.md` between its two markers. Without run
folders it rebuilds both from the records that are there. The same records give the same bytes. Runs
of one experiment on data of one's own, or with another preset, stand beside the run without flags.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dcs_common.atomic_file import write_atomically
from dcs_common.command_line import run_command
from records.collection import Evidence, built_files, read_collected, read_run, stale_files

DOCS = Path(__file__).resolve().parents[1] / "docs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 1 if `--check` found something to rebuild."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="RUN_FOLDER", help="of runs that are finished"
    )
    parser.add_argument(
        "--records", type=Path, default=DOCS / "experiments", help="folder of records and the page"
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=DOCS / "results.md",
        help="page whose part between the markers is rebuilt",
    )
    parser.add_argument(
        "--without-figures",
        action="store_true",
        help="take tables and verdicts of these runs alone: plots and pictures may show data that "
        "is not yours to publish",
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail where something would change"
    )
    args = parser.parse_args(arguments)
    differing: list[Path] = []

    def given() -> list[Evidence]:
        return [read_run(run, with_figures=not args.without_figures) for run in args.runs]

    code = run_command(
        "results_page",
        lambda: _build(given(), args.records, args.results, args.check, differing),
        if_too_large="Collect fewer runs at once.",
    )
    return 1 if code == 0 and args.check and differing else code


def _build(
    given: Sequence[Evidence], folder: Path, results: Path, check: bool, differing: list[Path]
) -> str:
    collected = read_collected(folder) | {part.record.name: part for part in given}
    files = built_files(collected, folder, results)
    stale = stale_files(files, folder)
    changed = [path for path, data in files.items() if not _holds(path, data)]
    differing += [*changed, *stale]
    if check:
        if not differing:
            return f"{counted_records(len(collected))}: all pages are as they should be"
        names = "\n".join(f"  {path}" for path in differing)
        return f"These would change; run the command without --check:\n{names}"
    for path in changed:
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, files[path])
    for path in stale:
        path.unlink()
    return f"{counted_records(len(collected))}; wrote {folder / 'index.html'} and {results}"


def counted_records(number: int) -> str:
    return f"{number} record{'' if number == 1 else 's'}"


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


if __name__ == "__main__":
    sys.exit(main())
