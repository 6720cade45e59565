"""Every command and every Python block of the READMEs runs, in order, in an empty folder.

A fenced block right below `<!-- not run: reason -->` is left out; everything else must run. The
folder holds the demo photo as `photo.png` (or its own suffix), and nothing reaches the network.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", *sorted((ROOT / "packages").glob("*/README.md"))]
PROGRAMS = {"dcs-tok", "dcs-dit", "dcs-eval", "python"}
BLOCK = re.compile(
    r"(?P<mark><!-- not run: (?P<reason>[^\n]*?) *-->\n+)?"
    r"^```(?P<language>bash|console|python)\n(?P<body>.*?)^```",
    flags=re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block that a reader may copy."""

    language: str
    body: str
    line: int
    skipped: bool

    def commands(self) -> list[str]:
        """Return the commands of a shell block; output shown below a prompt is none."""
        lines = self.body.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.strip() and not line.startswith("#")]


def blocks(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    return [
        Block(
            language=match["language"],
            body=match["body"],
            line=text.count("\n", 0, match.start("language")) + 2,
            skipped=bool(match["reason"]),
        )
        for match in BLOCK.finditer(text)
    ]


def run_command(command: str, folder: Path) -> None:
    program = command.split()[0]
    assert program in PROGRAMS, (
        f"Commands must start with one of {sorted(PROGRAMS)}, but this one is `{command}`. "
        "Put `<!-- not run: reason -->` above its block."
    )
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, f"`{command}` failed:\n{done.stdout}{done.stderr}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder with the demo photo, and the repository's own programs in reach."""
    for photo in (ROOT / "packages/dcs-tok/src/dcs_tok").glob("demo_photo.*"):
        (tmp_path / f"photo{photo.suffix}").write_bytes(photo.read_bytes())
    for name in ("benchmarks", "experiments"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("document", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_everything_in_it_runs(
    document: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(document):
        if block.skipped:
            continue
        if block.language == "python":
            # Empty lines in front make a traceback show the README's own line numbers.
            source = "\n" * (block.line - 1) + block.body
            exec(compile(source, str(document), "exec"), namespace)
        else:
            for command in block.commands():
                run_command(command, folder)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    """The one-liners are left out above because CI itself is that command."""
    command = next(
        line
        for block in blocks(ROOT / "README.md")
        for line in block.commands()
        if line.endswith("nox -s tests")
    )
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_blocks_are_read_as_a_reader_reads_them(tmp_path: Path) -> None:
    document = tmp_path / "x.md"
    document.write_text(
        "a\n\n```bash\ndcs-tok info \\\n  a.x\n# note\n```\n"
        "<!-- not run: needs a GPU -->\n```console\n$ dcs-tok demo\nwrote it\n```\n"
        "```python\nx = 1\n```\n"
    )
    shell, console, python = blocks(document)
    assert shell.commands() == ["dcs-tok info    a.x"]
    assert (shell.skipped, shell.line) == (False, 4)
    assert console.commands() == ["dcs-tok demo"]
    assert console.skipped
    assert (python.body, python.line, python.skipped) == ("x = 1\n", 14, False)
