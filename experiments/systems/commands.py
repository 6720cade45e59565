"""The packages' own commands, as a user gives them."""

from collections.abc import Sequence

from dcs_dit.cli import build_parser as parser_of_dit
from dcs_eval.cli import build_parser as parser_of_eval


def dcs_dit(*arguments: object) -> str:
    """Run ``dcs-dit``; return the line that it ends with.

    Raises:
        ValueError: as the command says it.
    """
    return _run(parser_of_dit(), arguments)


def dcs_eval(*arguments: object) -> str:
    """Run ``dcs-eval``; return what it prints.

    Raises:
        ValueError: as the command says it.
    """
    return _run(parser_of_eval(), arguments)


def _run(parser: object, arguments: Sequence[object]) -> str:
    args = parser.parse_args([str(argument) for argument in arguments])  # type: ignore[attr-defined]
    return str(args.run(args))
