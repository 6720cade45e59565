"""Versions agree: packages, changelogs, sibling ranges, pins, licence copies."""

import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(path.parent.name for path in (ROOT / "packages").glob("*/pyproject.toml"))


def project(package: str) -> dict[str, Any]:
    text = (ROOT / "packages" / package / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["project"]


def requirements(package: str) -> list[Requirement]:
    declared = project(package)
    groups = [declared["dependencies"], *declared["optional-dependencies"].values()]
    return [Requirement(line) for group in groups for line in group]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.parametrize("package", PACKAGES)
def test_changelog_and_module_carry_the_version(package: str) -> None:
    version = project(package)["version"]
    changelog = (ROOT / "packages" / package / "CHANGELOG.md").read_text(encoding="utf-8")
    top = re.search(r"^## (\S+)", changelog, flags=re.MULTILINE)
    assert top is not None
    assert top[1] == version
    assert import_module(package.replace("-", "_")).__version__ == version


@pytest.mark.parametrize("package", PACKAGES)
def test_ranges_admit_siblings_and_pins(package: str) -> None:
    for requirement in requirements(package):
        name = canonicalize_name(requirement.name)
        version = project(name)["version"] if name in PACKAGES else pins()[name]
        assert version in requirement.specifier, f"{package} wants {requirement}"


@pytest.mark.parametrize("package", PACKAGES)
def test_siblings_are_bounded_and_others_are_not_pinned(package: str) -> None:
    for requirement in requirements(package):
        operators = {part.operator for part in requirement.specifier}
        if requirement.name == package:  # an extra that takes in another extra
            continue
        assert operators == ({">=", "<"} if requirement.name in PACKAGES else {">="}), requirement


@pytest.mark.parametrize("package", PACKAGES)
def test_every_wheel_carries_the_licence(package: str) -> None:
    copy = ROOT / "packages" / package / "LICENSE"
    assert copy.read_bytes() == (ROOT / "LICENSE").read_bytes()
