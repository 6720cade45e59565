"""Import every module of one package in an environment that holds only its own requirements.

    python tests/contracts/import_alone.py dcs_tok

Fails if a module needs what its pyproject does not declare, or if anything on the way so much as
tries to import a library that belongs to an extra.
"""

import importlib
import pkgutil
import sys
from importlib.abc import MetaPathFinder

# Heavy, or with compiled parts that break beside another torch: extras import them late.
FORBIDDEN = frozenset(
    {
        "av",
        "diffusers",
        "lpips",
        "matplotlib",
        "pandas",
        "skimage",
        "submitit",
        "tensorboard",
        "torch_fidelity",
        "torchaudio",
        "torchmetrics",
        "torchvision",
        "transformers",
    }
)
SIBLINGS = frozenset({"dcs_tok", "dcs_dit", "dcs_eval"})


class Watch(MetaPathFinder):
    """Notes which forbidden libraries somebody asked for, and finds nothing."""

    def __init__(self, forbidden: frozenset[str]):
        self.forbidden = forbidden
        self.asked: set[str] = set()

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Note the name and leave the search to others."""
        if fullname.partition(".")[0] in self.forbidden:
            self.asked.add(fullname)


def main() -> None:
    """Import the package named on the command line and all that is in it."""
    (name,) = sys.argv[1:]
    watch = Watch(FORBIDDEN | (SIBLINGS - {name}))
    sys.meta_path.insert(0, watch)
    package = importlib.import_module(name)
    if "site-packages" not in str(package.__file__):
        sys.exit(f"{name} must come from its wheel, but comes from {package.__file__}.")
    modules = [
        module.name
        for module in pkgutil.walk_packages(package.__path__, f"{name}.")
        if not module.name.endswith("__main__")
    ]
    for module in modules:
        importlib.import_module(module)
    if watch.asked:
        sys.exit(f"{name} must not import {sorted(watch.asked)} while it is being imported.")
    missing = [public for public in package.__all__ if not hasattr(package, public)]
    if missing:
        sys.exit(f"{name}.__all__ must name what exists, but {missing} do not.")
    print(f"{name} and its {len(modules)} modules import alone.")


if __name__ == "__main__":
    main()
