"""Importing torchvision of another build than torch's, with stand-ins for its package."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dcs_common.torchvision_import import import_torchvision

# As torchvision itself: the operators are described, but the file that declares them is not there.
UNDECLARED = """
from . import extension
import torch
@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold): ...
@torch.library.register_fake("torchvision::qnms")
def qnms(dets, scores, iou_threshold): ...
"""


def write_package(folder: Path, source: str) -> None:
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(source)
    (package / "extension.py").write_text("")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that Python imports from first, and no torchvision imported."""

    def imported() -> list[str]:
        return [name for name in sys.modules if name.split(".")[0] == "torchvision"]

    for name in imported():
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in imported():
        del sys.modules[name]


def test_missing_operators_are_declared_and_the_import_passes(tmp_path: Path) -> None:
    """In a process of its own, as declarations last."""
    write_package(tmp_path, UNDECLARED)
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import torch
try:
    import torchvision
except RuntimeError as error:
    print(error)
stale = sys.modules["torchvision.extension"]
from dcs_common.torchvision_import import import_torchvision
torchvision = import_torchvision()
print(torchvision.__file__)
print(torchvision.extension is sys.modules["torchvision.extension"] is not stale)
print(torch.ops.torchvision.nms, torch.ops.torchvision.qnms)
print(import_torchvision() is torchvision)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "operator torchvision::nms does not exist",
        str(tmp_path / "torchvision" / "__init__.py"),
        "True",
        "torchvision.nms torchvision.qnms",
        "True",
    ]


def test_a_torchvision_that_imports_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(folder, "healthy = True")
    monkeypatch.setattr(torch.library, "Library", None)  # a declaration would fail
    assert import_torchvision().healthy


def test_other_failures_pass_through(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = "operator torchvision::nms does not exist in this test"
    write_package(folder, f"raise RuntimeError({message!r})")
    monkeypatch.setattr(torch.library, "Library", None)
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        import_torchvision()


def test_what_torchvision_lacks_itself_is_named_by_python(folder: Path) -> None:
    write_package(folder, "import a_package_that_does_not_exist")
    with pytest.raises(ModuleNotFoundError, match="a_package_that_does_not_exist"):
        import_torchvision()


@pytest.mark.parametrize("extra", ["dcs-tok[train]", "dcs-eval[features]"])
def test_a_missing_torchvision_is_one_clear_error(
    extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    message = (
        "torchvision is needed here, but it is not installed. Install it with "
        f"`pip install '{extra}'`."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        import_torchvision(extra)
