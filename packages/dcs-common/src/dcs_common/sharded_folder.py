"""Folders that several jobs fill shard by shard, and that go on where they were stopped.

A plan file says what the folder holds; job ``i`` of ``n`` writes every n-th shard from ``i`` on.
"""

from pathlib import Path


class Shards:
    """Numbers and paths of a plan's shards; a plan inherits it and has the two counts.

    Attributes:
        samples: in all.
        samples_per_shard: in every shard but the last.
    """

    __slots__ = ()

    samples: int
    samples_per_shard: int

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        return -(-self.samples // self.samples_per_shard)

    def shard_path(self, folder: Path, shard: int) -> Path:
        """Return a shard's path."""
        return folder / f"shard-{shard:05d}.safetensors"

    def missing_shards(self, folder: Path) -> list[int]:
        """Return the numbers of the shards that a folder lacks."""
        return [i for i in range(self.num_shards) if not self.shard_path(folder, i).is_file()]


def check_job(jobs: int, job: int) -> None:
    """Check the number of a job.

    Raises:
        ValueError: if there is no such job.
    """
    if jobs < 1 or not 0 <= job < jobs:
        raise ValueError(
            f"`job` must be between 0 and `jobs` - 1, but is {job} of {jobs}. The first of N "
            "jobs has the number 0."
        )


def make_sharded_folder(folder: Path, plan_file: str, what: str) -> None:
    """Make a folder, or find it as an earlier or another job left it.

    Args:
        folder: of the shards.
        plan_file: the name of the file that says what it holds.
        what: a folder that has this file, such as "a cache".

    Raises:
        ValueError: if it cannot be made, or holds something else.
    """
    if not folder.parent.is_dir():
        raise ValueError(
            f"The output's folder must exist, but {folder.parent} does not. Create it first."
        )
    try:
        folder.mkdir(exist_ok=True)
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise ValueError(
            f"The output must be a folder, but {folder} cannot be one ({error.strerror}). Name "
            "another."
        ) from None
    # What begins with a dot was left by another job, or is being written by it.
    if plan_file not in names and not all(name.startswith(".") for name in names):
        raise ValueError(
            f"The output must be a new folder or {what}, but {folder} holds something else. Name "
            "another."
        )
