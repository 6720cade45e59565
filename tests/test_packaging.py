"""`pip install dcs-tok` alone, from dist/ into a bare environment, then its commands."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"


def run(*command: str | Path, folder: Path) -> str:
    """Run a command as a user would: no PYTHONPATH, no network for models."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**environment, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs of an environment that holds dcs-tok and nothing else."""
    assert list(DIST.glob("dcs_tok-*.whl")), "dist/ must hold the wheels. Run `nox -s build`."
    folder = tmp_path_factory.mktemp("bare")
    python = folder / "venv" / "bin" / "python"
    wanted = ["--find-links", DIST, "-c", ROOT / "constraints.txt", "dcs-tok"]
    if uv := shutil.which("uv"):  # hard links: seconds instead of most of a minute
        run(uv, "venv", "--python", sys.executable, folder / "venv", folder=folder)
        # uv keeps what it found under a version, but ours is rebuilt under the same one.
        fresh = ["--refresh-package", "dcs-tok", "--refresh-package", "dcs-common"]
        run(uv, "pip", "install", "--python", python, *fresh, *wanted, folder=folder)
    else:
        run(sys.executable, "-m", "venv", folder / "venv", folder=folder)
        run(python, "-m", "pip", "install", *wanted, folder=folder)
    return python.parent


@pytest.mark.slow
def test_bare_install_runs_the_commands(programs: Path, tmp_path: Path) -> None:
    dcs_tok = programs / "dcs-tok"
    (demo_photo,) = (ROOT / "packages/dcs-tok/src/dcs_tok").glob("demo_photo.*")
    photo = tmp_path / f"photo{demo_photo.suffix}"
    photo.write_bytes(demo_photo.read_bytes())

    run(dcs_tok, "demo", folder=tmp_path)
    assert any((tmp_path / "demo-output").iterdir())

    run(dcs_tok, "encode", photo, "photo.safetensors", folder=tmp_path)
    assert "levels" in run(dcs_tok, "info", "photo.safetensors", folder=tmp_path)
    run(dcs_tok, "decode", "photo.safetensors", "rebuilt.png", folder=tmp_path)
    assert (tmp_path / "rebuilt.png").stat().st_size > 0
