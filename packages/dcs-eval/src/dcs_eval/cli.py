"""The ``dcs-eval`` command."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from dcs_eval import (
    compare_command,
    generation_command,
    rate_distortion_command,
    reconstruction_command,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="dcs-eval", description="Measure codecs, tokenizers and generators on pictures."
    )
    parser.add_argument("--version", action="version", version=f"dcs-eval {version('dcs-eval')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (
        rate_distortion_command,
        reconstruction_command,
        generation_command,
        compare_command,
    ):
        command.add_parser(commands)
    args = parser.parse_args(arguments)
    try:
        print(args.run(args))
    except ValueError as error:
        print(f"dcs-eval: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"dcs-eval: error: {error}. Nothing more was written.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dcs-eval: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
