"""What a protocol used in one run: printed, and kept beside the figures."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from typing import Any

from dcs_common.atomic_file import write_atomically
from dcs_eval.protocols.protocol import Protocol

PROTOCOL_FILE = "protocol.json"
#: The version of that file.
PROTOCOL_FORMAT = 1
# Those whose versions can change a figure.
_PACKAGES = (
    *("dcs-eval", "dcs-common", "torch", "torchvision", "torchmetrics", "torch-fidelity"),
    *("lpips", "pillow", "av", "numpy", "scipy"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtocolRecord:
    """A protocol, what it was run on, and what came out.

    Attributes:
        protocol: the protocol.
        reference: paths of what was compared with, as given.
        reference_sha256: of a file, or of the names and contents of pictures.
        reference_count: of real pictures or clips.
        counts: what else was counted, by what it is: pictures, or samples of each level.
        space: name of the feature space, which tells unverified weights; None without any.
        rows: of the protocol's table.
        values: every figure, as numbers.
    """

    protocol: Protocol
    reference: Sequence[str]
    reference_sha256: str
    reference_count: int
    counts: Mapping[str, int]
    space: str | None
    rows: Sequence[tuple[str, ...]]
    values: Sequence[Mapping[str, Any]] = ()

    def used(self) -> str:
        """Return what the figures depend on, as a list in Markdown."""
        protocol = self.protocol
        sizes = " or ".join(f"{width}x{height}" for height, width in protocol.sizes)
        resize = {
            "none": f"{sizes}, never resized",
            "adm-centre-crop": f"centre crop to {sizes}: halved by box filter, then bicubic (ADM)",
            "centre-square": f"the square in the centre of real clips, resized to {sizes} "
            "(bilinear, antialiased where it is reduced, rounded to 8 bits); generated clips are "
            "never resized",
        }
        lines = [
            f"protocol {protocol.name}: {protocol.citation}",
            f"reference: {', '.join(self.reference)} ({self.reference_count} {protocol.media}s, "
            f"SHA-256 {self.reference_sha256})",
            *(f"{what}: {count}" for what, count in self.counts.items()),
            f"size: {resize[protocol.resize]}",
        ]
        if protocol.clip is not None:
            lines.append(f"clips: {protocol.clip.text}")
        if self.space is not None:
            lines.append(f"feature space: {self.space}")
        lines.append(f"random seed: {protocol.seed}")
        lines.append(", ".join(f"{name} {found}" for name, found in package_versions().items()))
        return "\n".join(f"- {line}" for line in lines)

    def markdown(self) -> str:
        """Return the table of the protocol, and what it depends on."""
        return f"{self.protocol.table(list(self.rows))}\n\n{self.used()}\n"

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything as JSON; the file appears when it is whole.

        Raises:
            ValueError: if its folder does not exist.
        """
        content = {
            "format": PROTOCOL_FORMAT,
            "protocol": self.protocol.content(),
            "reference": list(self.reference),
            "reference_sha256": self.reference_sha256,
            "reference_count": self.reference_count,
            "counts": dict(self.counts),
            "space": self.space,
            "columns": ["model", *self.protocol.columns],
            "rows": [list(row) for row in self.rows],
            "values": [dict(row) for row in self.values],
            "packages": package_versions(),
        }
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
        write_atomically(path, text.encode() + b"\n")


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a figure."""
    found = {"python": sys.version.split()[0]}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
