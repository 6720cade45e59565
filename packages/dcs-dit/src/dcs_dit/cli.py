"""The ``dcs-dit`` command."""

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from dcs_common.command_line import run_command
from dcs_dit.data import cache_command
from dcs_dit.sampling import command as sampling
from dcs_dit.training import command as training


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        prog="dcs-dit",
        description="Generate pictures and clips coarse to fine, as hierarchical latents.",
    )
    parser.add_argument("--version", action="version", version=version("dcs-dit"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = commands.add_parser("sample", help=sampling.run.__doc__)
    sampling.add_arguments(command)
    command.set_defaults(run=sampling.run)
    command = commands.add_parser("cache", help=cache_command.run.__doc__)
    cache_command.add_arguments(command)
    command.set_defaults(run=cache_command.run)
    command = commands.add_parser("train", help=training.run.__doc__)
    training.add_arguments(command)
    command.set_defaults(run=training.run)
    return parser


@contextmanager
def _notes() -> Iterator[None]:
    """Show what this package warns of as one line; leave the warnings of others as they are."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def note(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if category is UserWarning:
                print(f"dcs-dit: note: {message}", file=sys.stderr)
            else:
                show(message, category, *where)

        warnings.showwarning = note  # type: ignore[assignment]
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 2 for what the caller got wrong."""
    args = build_parser().parse_args(arguments)
    with _notes():
        return run_command(
            "dcs-dit",
            lambda: args.run(args),
            if_too_large="Ask for fewer samples, levels or patches.",
        )


if __name__ == "__main__":
    sys.exit(main())
