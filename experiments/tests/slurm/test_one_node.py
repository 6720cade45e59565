"""The script that brings SLURM up says in plain sentences what it cannot do; no SLURM needed."""

import os
import subprocess
from pathlib import Path

import pytest

from .front_door import ROOT

SCRIPT = ROOT / "experiments/slurm/one_node.sh"
PROGRAMS = "munged slurmctld slurmd sbatch srun squeue sinfo scontrol scancel"


def call(*arguments: str, folder: Path, path: Path | None = None) -> subprocess.CompletedProcess:
    """Call the script with a folder of its own, and with the programs of one folder only."""
    variables = {"ONE_NODE_FOLDER": str(folder), "PATH": str(path or os.environ["PATH"])}
    return subprocess.run(
        ["/bin/bash", str(SCRIPT), *arguments],
        env=variables | {"ONE_NODE_SBIN": str(path or "/usr/sbin:/sbin")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with what every machine has, and nothing of SLURM."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("mkdir", "chmod", "tr", "cat"):
        (folder / name).symlink_to(f"/bin/{name}")
    return folder


def program(folder: Path, name: str, says: str) -> None:
    """Write a program that prints one line."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("arguments", [(), ("restart",)])
def test_unknown_command(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = call(*arguments, folder=tmp_path / "slurm")
    said = arguments[0] if arguments else ""
    assert done.returncode == 1
    assert done.stderr == (
        f'one_node.sh: The command must be up, down, status or env, but is "{said}".\n'
    )


def test_not_debian(programs: Path, tmp_path: Path) -> None:
    done = call("up", folder=tmp_path / "slurm", path=programs)
    assert done.returncode == 1
    assert done.stderr == (
        f"one_node.sh: SLURM must be installed, but these programs are missing: {PROGRAMS} and "
        "there is no apt-get. Use Debian or Ubuntu, or install SLURM and munge yourself.\n"
    )


def test_not_root(programs: Path, tmp_path: Path) -> None:
    program(programs, "apt-get", "called")
    (programs / "id").write_text('#!/bin/sh\n[ "$1" = -u ] && echo 1000 || echo ada\n')
    (programs / "id").chmod(0o755)
    done = call("up", folder=tmp_path / "slurm", path=programs)
    assert done.returncode == 1
    assert done.stderr == (
        "one_node.sh: Packages are installed by root, but this is ada and these programs are "
        f"missing: {PROGRAMS}. Run `apt-get install slurm-wlm munge` as root first.\n"
    )


def test_packages_that_cannot_be_installed(programs: Path, tmp_path: Path) -> None:
    (programs / "apt-get").write_text("#!/bin/sh\necho E: no network\nexit 100\n")
    (programs / "apt-get").chmod(0o755)
    program(programs, "id", "0")
    (programs / "tail").symlink_to("/usr/bin/tail")
    done = call("up", folder=tmp_path / "slurm", path=programs)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "one_node.sh: installing slurm-wlm and munge",
        "E: no network",
        "E: no network",
        "one_node.sh: The packages could not be installed: see above.",
    ]


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = call("up", folder=tmp_path / "file" / "slurm")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"one_node.sh: The folder must be writable, but {tmp_path}/file/slurm is not. Name "
        "another with ONE_NODE_FOLDER."
    )


def test_status_of_none(tmp_path: Path) -> None:
    done = call("status", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "one_node.sh: The cluster must be up, but is not. Run `one_node.sh up`.\n"
    )


def test_environment_survives_a_shell(tmp_path: Path) -> None:
    folder = tmp_path / "a folder's"
    shown = call("env", folder=folder).stdout
    script = f'{shown}printf "%s|%s" "$SLURM_CONF" "$PATH"'
    done = subprocess.run(
        ["/bin/bash", "-c", script],
        env={"PATH": "/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{folder}/slurm.conf|{folder}/bin:/bin"


def test_down_of_none_is_no_error(tmp_path: Path) -> None:
    done = call("down", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "one_node.sh: down\n")
