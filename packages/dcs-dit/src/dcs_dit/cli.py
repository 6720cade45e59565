"""The ``dcs-dit`` command."""

import argparse
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from dcs_dit.data import cache_command
from dcs_dit.sampling import command as sampling
from dcs_dit.training import command as training

# PyTorch has an exception of its own for it on GPUs alone.
_OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory")


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
    try:
        with _notes():
            said = args.run(args)
        if said:
            print(said)
    except (ValueError, OSError) as error:
        print(f"dcs-dit: error: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error))):
            raise
        print(
            "dcs-dit: error: The result must fit into memory, but does not "
            f"({str(error).splitlines()[0] if str(error) else 'out of memory'}). "
            "Ask for fewer samples, levels or patches.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("dcs-dit: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
