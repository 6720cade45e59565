"""Text and arguments without the paths of the machine they came from."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_ABSOLUTE = re.compile(r"~?/[^\n]*[^\n/]|[A-Za-z]:[\\/][^\n]*")


class WithoutPaths:
    """Puts names in place of paths: of those given wherever they stand, of others in arguments."""

    def __init__(self, known: Iterable[Path]):
        spellings: dict[str, str] = {}
        for path in known:
            for spelling in (str(path.absolute()), str(path.resolve())):
                spellings[spelling] = path.resolve().name
        # A folder's files before the folder; whole names only, so that /a/run leaves /a/runs.
        longest_first = sorted(spellings, key=len, reverse=True)
        pattern = "|".join(re.escape(spelling) for spelling in longest_first if len(spelling) > 1)
        self._names = spellings
        self._known = re.compile(f"(?:{pattern})(?![\\w-])") if pattern else None

    def text(self, text: str) -> str:
        """Return text in which known paths are names."""
        if self._known is None:
            return text
        return self._known.sub(lambda match: self._names[match[0]], text)

    def value(self, value: Any) -> Any:
        """Return plain JSON in which every absolute path is the name of its last part."""
        if isinstance(value, dict):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if isinstance(value, Path):
            value = str(value)
        if isinstance(value, str):
            if _ABSOLUTE.fullmatch(value):
                return Path(value).name
            return self.text(value)
        return value
