"""What a job printed last, for a message about its failure."""

from pathlib import Path

from submitit.core.utils import JobPaths


def last_lines(logs: Path, job: str, count: int = 20) -> str:
    """Return the end of what a job wrote to its standard error, or else to its output.

    Args:
        logs: a run's folder of logs.
        job: its number.
        count: of lines.
    """
    paths = JobPaths(logs / "%j", job)
    for path in (paths.stderr, paths.stdout):
        if path.exists():
            lines = path.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
            if lines:
                return "\n".join(f"  {line}" for line in lines[-count:])
    return f"  (nothing is in {paths.folder})"
