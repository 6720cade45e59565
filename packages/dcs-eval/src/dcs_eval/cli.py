"""The ``dcs-eval`` command."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from dcs_common.command_line import run_command
from dcs_eval import (
    compare_command,
    generation_command,
    rate_distortion_command,
    reconstruction_command,
)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
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
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 2 for what the caller got wrong."""
    args = build_parser().parse_args(arguments)
    return run_command(
        "dcs-eval",
        lambda: args.run(args),
        if_too_large="Give smaller pictures, shorter clips, or a device with more memory.",
    )


if __name__ == "__main__":
    sys.exit(main())
