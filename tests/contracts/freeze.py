"""The public interface of each package as text: names, signatures, fields, commands.

    python tests/contracts/freeze.py            write tests/contracts/frozen/*.txt
    python tests/contracts/freeze.py --check    compare with them and print the difference

After a release the interface may change only together with the version: an interface that
differs under an unchanged version is not written unless the changelog calls it unreleased.
"""

import argparse
import difflib
import importlib
import inspect
import re
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

PACKAGES = ("dcs-common", "dcs-tok", "dcs-dit", "dcs-eval")
ROOT = Path(__file__).parents[2]
FROZEN = Path(__file__).parent / "frozen"


def dump(package: str) -> str:
    """Return the interface that a package exports, one name or method per line."""
    module = importlib.import_module(package.replace("-", "_"))
    installed = distribution(package)
    lines = [f"# {package} {installed.version}"]
    for command in sorted(installed.entry_points.select(group="console_scripts")):
        lines.append(f"command {command.name} = {command.value}")
    for name in sorted(module.__all__):
        if name != "__version__":
            lines += _describe(name, getattr(module, name))
    return "\n".join(lines) + "\n"


def _describe(name: str, value: Any) -> list[str]:
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        lines = [f"class {name}({bases})", f"  {name}{_signature(value)}"]
        return lines + [f"  {line}" for line in _members(value)]
    if callable(value):
        return [f"def {name}{_signature(value)}"]
    shown = f" = {value!r}" if isinstance(value, (int, float, str, tuple)) else ""
    return [f"{name}: {type(value).__name__}{shown}"]


def _members(owner: type) -> list[str]:
    """Return the public methods and properties written in our own packages, inherited or not."""
    members: dict[str, str] = {}
    fields = getattr(owner, "__dataclass_fields__", {})
    for base in reversed(owner.__mro__):
        if not base.__module__.startswith("dcs_"):
            continue
        for name, member in vars(base).items():
            if name.startswith("_") or name in fields:  # the constructor shows the fields
                continue
            if isinstance(member, (classmethod, staticmethod)):
                kind = type(member).__name__
                members[name] = f"{kind} {name}{_signature(member.__func__)}"
            elif isinstance(member, property):
                members[name] = f"property {name}"
            elif inspect.isfunction(member):
                members[name] = f"def {name}{_signature(member)}"
            elif hasattr(member, "__get__"):  # a cached property
                members[name] = f"attribute {name}"
    return [members[name] for name in sorted(members)]


def _signature(value: Any) -> str:
    try:
        text = str(inspect.signature(value))
    except (TypeError, ValueError):  # an exception or a protocol without a constructor
        return "(...)"
    text = re.sub(r" at 0x[0-9a-f]+", "", text)
    # Which module a type lives in is nobody's business: `torch.Tensor` reads `Tensor`.
    return re.sub(r"(?<![\w.'\"])(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", text)


def _is_unreleased(package: str) -> bool:
    changelog = (ROOT / "packages" / package / "CHANGELOG.md").read_text(encoding="utf-8")
    top = re.search(r"^## .*$", changelog, flags=re.MULTILINE)
    return top is not None and "unreleased" in top[0].lower()


def main() -> None:
    """Write the frozen interfaces, or compare with them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("packages", nargs="*", default=PACKAGES)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    for package in arguments.packages:
        path = FROZEN / f"{package}.txt"
        old, new = path.read_text(encoding="utf-8") if path.exists() else "", dump(package)
        if old == new:
            continue
        if arguments.check:
            sys.stdout.writelines(
                difflib.unified_diff(
                    old.splitlines(keepends=True), new.splitlines(keepends=True), path.name, "now"
                )
            )
            sys.exit(
                f"The interface of {package} must be the frozen one, but differs as shown. Raise "
                f"the version, say it in the changelog and run {Path(__file__).name}."
            )
        if old.partition("\n")[0] == new.partition("\n")[0] and not _is_unreleased(package):
            sys.exit(
                f"The interface of {package} differs from the released one under the same "
                f"version. Raise the version in its pyproject.toml and its changelog first."
            )
        path.write_text(new, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
