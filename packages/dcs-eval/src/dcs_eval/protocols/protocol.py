"""What a protocol is: everything that decides a figure beside the model that is measured."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dcs_eval.labelled_files import Media
from dcs_eval.markdown import table
from dcs_eval.protocols.clip_rule import ClipRule

Task = Literal["reconstruction", "generation"]
#: "same": the pictures that are reconstructed themselves. "adm-statistics": the npz of ADM's
#: evaluation. "held-out": real pictures or clips that the generator was not trained on.
ReferenceRule = Literal["same", "adm-statistics", "held-out"]
#: What is done to a picture of another size: nothing but a refusal, or ADM's centre crop. Of real
#: clips: the square in the centre, resized bilinearly; generated ones are refused.
ResizeRule = Literal["none", "adm-centre-crop", "centre-square"]

NOT_RUN = "not run"


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """A way to measure, by name.

    Attributes:
        name: that ``--protocol`` takes.
        task: of a tokenizer or a generator.
        media: pictures or clips.
        sizes: (height, width) that pictures may have when they are measured.
        resize: how they come to it.
        space: the feature space of distances; None without any.
        reference: what is compared with.
        count: of pictures, or of samples at each level and seed.
        reference_count: of real pictures or clips; None for any number, or for the same.
        seeds: runs of a generator.
        metrics: columns of the table, in the order of papers.
        guided: whether they come a second time, for a generator with guidance.
        seed: of what is drawn at random.
        clip: how clips are taken from videos; None for pictures.
        citation: where it is from.
    """

    name: str
    task: Task
    media: Media = "picture"
    sizes: tuple[tuple[int, int], ...]
    resize: ResizeRule = "none"
    space: str | None = None
    reference: ReferenceRule
    count: int
    reference_count: int | None = None
    seeds: int = 1
    metrics: tuple[str, ...]
    guided: bool = False
    seed: int = 0
    clip: ClipRule | None = None
    citation: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The heads of the table's columns beside the model's name."""
        guided = tuple(f"{metric} with guidance" for metric in self.metrics)
        return self.metrics + (guided if self.guided else ())

    def row(self, name: str, values: Mapping[str, str], *, guided: bool = False) -> tuple[str, ...]:
        """Return a row of the table: the name, and a value or "not run" for each column.

        Args:
            name: of the model.
            values: as texts, by metric.
            guided: whether samples were made with guidance.

        Raises:
            ValueError: if there is a value of another metric.
        """
        unknown = sorted(set(values) - set(self.metrics))
        if unknown:
            raise ValueError(
                f"The metrics of {self.name} must be of {', '.join(self.metrics)}, but there is "
                f"{', '.join(unknown)}. Leave it out, or use another protocol."
            )
        suffix = " with guidance" if guided and self.guided else ""
        placed = {metric + suffix: text for metric, text in values.items()}
        return (name, *(placed.get(column, NOT_RUN) for column in self.columns))

    def table(self, rows: list[tuple[str, ...]]) -> str:
        """Return rows as a Markdown table."""
        return table(["model", *self.columns], rows)

    def content(self) -> dict[str, Any]:
        """Return what a record of it holds."""
        clip = None if self.clip is None else {**asdict(self.clip), "fps": str(self.clip.fps)}
        return {**asdict(self), "clip": clip}
