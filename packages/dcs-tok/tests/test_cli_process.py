"""``dcs-tok`` as a process of its own: its exit code, its two streams, and a sudden end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from dcs_tok import DCSTok

from .clip_files import moving_bars
from .commands import Command, contents, save_tiny_model
from .picture_files import noise, saved

# Runs commands in processes of their own, each of which ends at a given call as by `kill -9`.
# They are forked once a model has been loaded, because the first one takes seconds.
KILL_EACH = """
import json, os, signal, sys
from dcs_tok.cli import main
main(["info", sys.argv[1]])
ends = []
for call, *arguments in json.loads(sys.argv[2]):
    child = os.fork()
    if child == 0:
        setattr(os, call, lambda *arguments: os.kill(os.getpid(), signal.SIGKILL))
        os._exit(main(arguments))
    ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(ends))
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python to its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_a_process_ends_with_the_code_and_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "none.png"
    finished = python("-m", "dcs_tok.cli", "encode", str(missing), str(tmp_path / "out"))
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr == (
        f"dcs-tok: error: A picture must exist, but {missing} does not. Check the path.\n"
    )
    assert contents(tmp_path) == {}


def test_a_killed_command_leaves_nothing_half_written_under_its_outputs_name(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny = save_tiny_model(tmp_path_factory.mktemp("model"))
    picture = saved(tmp_path / "picture.png", Image.fromarray(noise(17, 19)))
    latents = tmp_path / "latents"
    DCSTok.from_pretrained(tiny).encode(moving_bars(5, 17, 19).unsqueeze(0), 24).save(latents)
    before = contents(tmp_path)
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    old = outputs / "old"
    old.write_bytes(b"what was here before")
    model = ("--model", tiny)
    ends = python(
        "-c",
        KILL_EACH,
        str(tiny),
        json.dumps(
            [
                ["fsync", *map(str, ("encode", picture, outputs / "new", *model))],
                ["replace", *map(str, ("encode", picture, outputs / "new", *model))],
                ["replace", *map(str, ("encode", picture, old, *model))],
                ["replace", *map(str, ("decode", latents, outputs / "new.mp4", *model))],
            ]
        ),
    )
    assert json.loads(ends.stdout.splitlines()[-1]) == [-signal.SIGKILL] * 4
    assert old.read_bytes() == b"what was here before"
    assert not (outputs / "new").exists()
    assert not (outputs / "new.mp4").exists()
    assert {path: contents(tmp_path)[path] for path in before} == before
    # What the dead have left lies beside, under other names, and disturbs no later command.
    assert len(contents(outputs)) == 1 + 4
    said = Command(capsys, tmp_path).line("decode", latents, outputs / "new.mp4", *model)
    assert said.startswith(f"wrote {outputs / 'new.mp4'}: 19x17, 5 frames at 24 fps ")
