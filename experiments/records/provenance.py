"""What decides a figure beside the code's arguments: commit, versions, machine."""

import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("dcs-common", "dcs-tok", "dcs-dit", "dcs-eval")
_LIBRARIES = (
    *("torch", "torchvision", "numpy", "scipy", "einops", "Pillow", "av", "scikit-image"),
    *("matplotlib", "lpips", "torchmetrics", "submitit"),
)
#: What a figure can depend on. A page or a README may change without changing a figure.
_SOURCES = ("packages", "experiments", "constraints.txt")


def commit() -> str | None:
    """Return the commit of the code, None outside a git repository."""
    return _git("rev-parse", "HEAD")


def is_dirty() -> bool | None:
    """Return whether packages or experiments differ from the commit; None outside git."""
    changed = _git("status", "--porcelain", "--", *_SOURCES)
    return None if changed is None else bool(changed)


def versions() -> dict[str, dict[str, str]]:
    """Return versions of our packages and of the installed libraries that can change a figure."""
    return {"packages": _installed(_PACKAGES), "libraries": _installed(_LIBRARIES)}


def this_machine() -> dict[str, Any]:
    """Return what times depend on: processor, cores we may use, memory in GiB, names of GPUs."""
    memory = None
    with suppress(AttributeError, ValueError, OSError):  # no sysconf, or not these names
        memory = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "memory_gib": memory,
        "gpus": [torch.cuda.get_device_name(i) for i in range(gpus)],
    }


def _installed(names: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=_ROOT, capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
