"""What a run reports: ``scalars.jsonl`` always, TensorBoard where it is installed, a progress bar.

On resume, lines after the checkpoint are dropped, so that the file reads as if the run had never
stopped.
"""

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from dcs_common.atomic_file import write_atomically

SCALARS_FILE = "scalars.jsonl"


class RunLog:
    """Writes nothing unless it is the main process's."""

    def __init__(self, folder: Path, step: int, steps: int, *, is_main: bool, progress: bool):
        self.path = folder / SCALARS_FILE
        self.is_main = is_main
        self._board: Any = None
        self.bar = tqdm(
            total=steps,
            initial=step,
            unit=" steps",
            disable=not (is_main and progress and sys.stderr.isatty()),
        )
        if not is_main:
            return
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step_of(line) <= step]
            write_atomically(self.path, "".join(f"{line}\n" for line in kept).encode())
        with suppress(ImportError):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write the scalars of a step (counted from 1); JSON has null for what is not finite."""
        if not self.is_main:
            return
        record = {name: value if isfinite(value) else None for name, value in values.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **record}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    @property
    def shows_images(self) -> bool:
        """Whether there is anything to show them."""
        return self._board is not None

    def images(self, step: int, pictures: Mapping[str, Tensor]) -> None:
        """Show pictures (b, 3, H, W) in [0, 1]."""
        if self._board is not None:
            for name, picture in pictures.items():
                self._board.add_images(name, picture.detach().float().cpu().clamp(0, 1), step)

    def advance(self, loss: float | None) -> None:
        """Count a step on the terminal."""
        if loss is not None:
            self.bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self.bar.update()

    def close(self) -> None:
        """Finish what is open."""
        self.bar.close()
        if self._board is not None:
            self._board.close()


def _step_of(line: str) -> int:
    """Return a line's step; a line cut short by a crash lies after every checkpoint."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return sys.maxsize
