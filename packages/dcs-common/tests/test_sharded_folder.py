"""Folders of shards: which there are, which are missing, and what a folder may hold before."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcs_common.sharded_folder import Shards, check_job, make_sharded_folder


@dataclass(frozen=True, slots=True)
class Plan(Shards):
    samples: int
    samples_per_shard: int


@given(samples=st.integers(1, 500), size=st.integers(1, 500))
def test_shards_hold_all_samples_and_none_is_empty(samples: int, size: int) -> None:
    count = Plan(samples, size).num_shards
    assert (count - 1) * size < samples <= count * size


def test_missing_shards_are_those_without_a_file(tmp_path: Path) -> None:
    plan = Plan(9, 2)
    for number in (0, 3):
        plan.shard_path(tmp_path, number).touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "shard-00000.safetensors",
        "shard-00003.safetensors",
    ]
    assert plan.missing_shards(tmp_path) == [1, 2, 4]


@pytest.mark.parametrize(("jobs", "job"), [(0, 0), (2, 2), (3, -1)])
def test_jobs_that_do_not_exist_are_refused(jobs: int, job: int) -> None:
    message = (
        f"`job` must be between 0 and `jobs` - 1, but is {job} of {jobs}. The first of N jobs has "
        "the number 0."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check_job(jobs, job)
    check_job(3, 2)


def test_a_folder_may_be_new_begun_or_left_by_another_job(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    for _ in range(2):
        make_sharded_folder(folder, "plan.json", "a cache")
    (folder / ".plan.json.x").touch()
    make_sharded_folder(folder, "plan.json", "a cache")
    (folder / "other").touch()
    message = (
        f"The output must be a new folder or a cache, but {folder} holds something else. Name "
        "another."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_sharded_folder(folder, "plan.json", "a cache")
    (folder / "plan.json").touch()
    make_sharded_folder(folder, "plan.json", "a cache")


def test_folders_that_cannot_be_made_are_refused(tmp_path: Path) -> None:
    message = f"The output's folder must exist, but {tmp_path / 'no'} does not. Create it first."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_sharded_folder(tmp_path / "no" / "folder", "plan.json", "a cache")
    file = tmp_path / "file"
    file.touch()
    message = f"The output must be a folder, but {file} cannot be one (File exists). Name another."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_sharded_folder(file, "plan.json", "a cache")
