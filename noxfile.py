"""Every check of the repository: `nox -l` lists them, `nox -s tests` runs the tests.

Dependencies come from packages/*/pyproject.toml and versions from constraints.txt, so that no
pin is repeated here. Packages are always installed from their wheels, never from the source tree:
a file missing from a wheel, or a dependency missing from a pyproject, fails.
"""

import os
import re
import tempfile
from pathlib import Path

import nox

PACKAGES = ("dcs-common", "dcs-tok", "dcs-dit", "dcs-eval")
CONSTRAINTS = ("-c", "constraints.txt")
DIST = Path("dist")

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|venv"
nox.options.sessions = ["tests"]

# uv does not read pip's settings, and must not fetch an interpreter of its own.
if "PIP_FIND_LINKS" in os.environ:
    os.environ.setdefault("UV_FIND_LINKS", ",".join(os.environ["PIP_FIND_LINKS"].split()))
os.environ.setdefault("UV_PYTHON_DOWNLOADS", "never")


def wheels(*packages: str, extra: str = "") -> list[str]:
    """Return the wheels of packages, with an extra, and of the siblings that they declare."""
    found: dict[str, str] = {}
    for package in packages:
        project = nox.project.load_toml(f"packages/{package}/pyproject.toml")["project"]
        names = (re.split(r"[^\w-]", line)[0] for line in project["dependencies"])
        for name in (name for name in names if name in PACKAGES):
            found.setdefault(name, wheel(name))
        found[package] = wheel(package) + extra
    return list(found.values())


def wheel(package: str) -> str:
    """Return the path of the wheel that the build session left."""
    (path,) = DIST.glob(f"{package.replace('-', '_')}-*.whl")
    return str(path)


def install_experiments(session: nox.Session) -> None:
    """Install what experiments/requirements.txt names, our packages from their wheels."""
    session.install(*CONSTRAINTS, *wheels(*PACKAGES), "-r", "experiments/requirements.txt")


@nox.session
def build(session: nox.Session) -> None:
    """Build the four wheels into dist/."""
    session.install(*CONSTRAINTS, "hatchling")
    for old in DIST.glob("dcs_*.whl"):
        old.unlink()
    for package in PACKAGES:
        with session.chdir(f"packages/{package}"):
            session.run("hatchling", "build", "-t", "wheel", "-d", "../../dist", silent=True)
        session.log(wheel(package))


@nox.session(requires=["build"])
@nox.parametrize("package", [nox.param(name, id=name) for name in (*PACKAGES, "experiments")])
def tests(session: nox.Session, package: str) -> None:
    """Run each package's tests in its own environment, from its own wheel, two at a time."""
    if package == "experiments":
        install_experiments(session)
        session.install(*CONSTRAINTS, "pytest", "pytest-xdist", "hypothesis")
        folder = "experiments/tests"
    else:
        session.install(*CONSTRAINTS, "pytest-xdist", *wheels(package, extra="[test]"))
        folder = f"packages/{package}/tests"
    # Two tests of one thread each finish sooner than one of two; `-- -n 0` is one after another.
    session.run(
        *("pytest", "-c", "pyproject.toml", "-n", "2", "--dist", "worksteal"),
        *(folder, "--ignore", "experiments/tests/slurm", *session.posargs),
        env={"OMP_NUM_THREADS": "1"},
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format and spelling."""
    session.install(*CONSTRAINTS, "ruff", "codespell")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")


@nox.session(requires=["build"])
def types(session: nox.Session) -> None:
    """Check the types of the packages' and experiments' sources."""
    session.install(*CONSTRAINTS, "mypy", "types-psutil", "types-tqdm", "av", *wheels(*PACKAGES))
    session.run("mypy")


@nox.session(requires=["build"])
@nox.parametrize("what", [nox.param(name, id=name) for name in ("direction", *PACKAGES)])
def imports(session: nox.Session, what: str) -> None:
    """Check who imports whom, and that each package's wheel imports alone and light."""
    if what == "direction":
        session.install(*CONSTRAINTS, "import-linter", *wheels(*PACKAGES))
        session.run("lint-imports")
    else:
        session.install(*CONSTRAINTS, *wheels(what))
        session.run("python", "tests/contracts/import_alone.py", what.replace("-", "_"))


@nox.session(requires=["build"])
def contracts(session: nox.Session) -> None:
    """Check what dependants rely on: interfaces, versions, links, README commands, wheels."""
    session.install(*CONSTRAINTS, "packaging", "uv", *wheels(*PACKAGES, extra="[test]"))
    session.run("pytest", "-c", "pyproject.toml", "tests", *session.posargs)


@nox.session(requires=["build"])
def bench(session: nox.Session) -> None:
    """Measure speed and memory as ratios; arguments after -- go to benchmarks/run.py."""
    session.install(*CONSTRAINTS, *wheels(*PACKAGES))
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session(requires=["build"])
def demo(session: nox.Session) -> None:
    """Rebuild a photo level by level at several sizes, into demo-output/."""
    session.install(*CONSTRAINTS, *wheels("dcs-tok"))
    session.run("dcs-tok", "demo", *session.posargs)


@nox.session(requires=["build"])
def experiment(session: nox.Session) -> None:
    """Run one: `nox -s experiment -- ablation_margin --cluster inline`."""
    scripts = Path("experiments").glob("*.py")
    names = sorted(p.stem for p in scripts if "EXPERIMENT = Experiment(" in p.read_text())
    name, *arguments = session.posargs or ("",)
    if name not in names:
        session.error(f"the first argument must be one of {', '.join(names)}, but is {name!r}")
    install_experiments(session)
    session.run("python", f"experiments/{name}.py", *arguments)


@nox.session(requires=["build"])
def slurm(session: nox.Session) -> None:
    """Run jobs on a SLURM of this machine alone: arrays, time limits, preemption, kills."""
    install_experiments(session)
    session.install(*CONSTRAINTS, "pytest")
    cluster, own = "experiments/slurm/one_node.sh", f"one-node-slurm-{os.getuid()}"
    session.env["ONE_NODE_FOLDER"] = str(Path(tempfile.gettempdir(), own))
    session.run("bash", cluster, "up", external=True, env={"ONE_NODE_GRACE": "10"})
    try:
        session.run(
            *("bash", "-c", f'eval "$(bash {cluster} env)" && exec "$@"', "bash"),
            *("pytest", "-c", "pyproject.toml", "experiments/tests/slurm", *session.posargs),
            external=True,
        )
    finally:
        session.run("bash", cluster, "down", external=True)
