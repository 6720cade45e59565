"""What the packages' commands have in common: how they end, and arguments and messages alike."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence

_NAMED = 3
# PyTorch has an exception of its own for it on GPUs alone.
_OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory")


def run_command(
    program: str, run: Callable[[], str | None], *, if_too_large: str, if_interrupted: str = ""
) -> int:
    """Run a command and print its last line; return its exit code: 2 for the caller's mistakes.

    Args:
        program: its name.
        run: returns the last line.
        if_too_large: what to ask for instead where memory runs out.
        if_interrupted: what to add to "interrupted".
    """
    try:
        said = run()
        if said:
            print(said)
    except (ValueError, OSError) as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error))):
            raise
        print(
            f"{program}: error: The result must fit into memory, but does not "
            f"({str(error).splitlines()[0] if str(error) else 'out of memory'}). {if_too_large}",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(f"{program}: interrupted{if_interrupted}", file=sys.stderr)
        return 130
    return 0


def parse_size(text: str, example: str = "1280x720") -> tuple[int, int]:
    """Read ``WxH`` as (height, width)."""
    match = re.fullmatch("([0-9]{1,6})[xX]([0-9]{1,6})", text)
    if match and all(int(side) > 0 for side in match.groups()):
        return int(match[2]), int(match[1])
    raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT such as {example}, but is {text!r}")


def name_first(names: Sequence[str]) -> str:
    """List the first names, and say how many more there are."""
    listed = ", ".join(names[:_NAMED])
    return listed if len(names) <= _NAMED else f"{listed} and {len(names) - _NAMED} more"
