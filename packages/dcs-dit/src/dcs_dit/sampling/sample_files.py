"""Where samples go: one folder per level, one per class, and a sheet of all levels side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from dcs_common.atomic_file import whole_file
from dcs_common.latents import Latents
from dcs_common.protocols import ImageTokenizer
from dcs_dit.sampling.pictures import contact_sheet, write_sample

SHEET_FILE = "contact-sheet.png"
_MOST_ROWS = 16


@dataclass
class SampleFiles:
    """Writes ``FOLDER/level-M/CLASS/00000.png``, or latents in place of pictures.

    Attributes:
        folder: where to.
        tokenizer: decodes; None writes latents.
        size: (height, width) to decode at; None for the trained scale.
    """

    folder: Path
    tokenizer: ImageTokenizer | None
    size: tuple[int, int] | None = None
    _written: int = 0
    _rows: dict[str, dict[int, Tensor]] = field(default_factory=dict)

    def write(self, level: int, latents: Latents, names: Sequence[str]) -> None:
        """Write samples, each under its name, after ``level`` levels."""
        folder = self.folder / f"level-{level}"
        self._written += len(names)
        if self.tokenizer is None:
            for i, name in enumerate(names):
                path = folder / f"{name}.safetensors"
                path.parent.mkdir(parents=True, exist_ok=True)
                some = slice(i, i + 1)
                one = replace(latents, tokens=latents.tokens[some], levels=latents.levels[some])
                one.save(path)
            return
        pixels = self.tokenizer.decode(latents, self.size)
        fps = None if latents.fps is None else float(latents.fps)
        for name, picture in zip(names, pixels, strict=True):
            write_sample(folder / name, picture, fps)
            if name in self._rows or len(self._rows) < _MOST_ROWS:
                self._rows.setdefault(name, {})[level] = picture.cpu()

    def finish(self) -> str:
        """Write the sheet of the first samples; return what was written."""
        if self.tokenizer is None:
            return f"wrote {self.folder}: {self._written} latents"
        levels = sorted(next(iter(self._rows.values())))
        image = contact_sheet(
            [[row[level] for level in levels] for row in self._rows.values()],
            [f"level {level}" for level in levels],
        )
        with whole_file(self.folder / SHEET_FILE) as temporary:
            image.save(temporary)
        return f"wrote {self.folder}: {self._written} pictures and {SHEET_FILE}"
