"""Every relative link of every Markdown file leads to something."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("docs", "packages", "benchmarks", "experiments", "tests")
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(path for name in FOLDERS for path in (ROOT / name).rglob("*.md"))]
)
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", flags=re.MULTILINE | re.DOTALL)
INLINE = r"\]\(\s*<?([^)\s>]+)"
HTML = r"(?:src|href)=\"([^\"]+)\""
REFERENCE = r"^\[[^\]]+\]:\s*(\S+)"
LINK = re.compile(f"{INLINE}|{HTML}|{REFERENCE}", flags=re.MULTILINE)
ABROAD = re.compile(r"[a-z][a-z+.-]*:|#")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_exist(document: Path) -> None:
    text = CODE.sub("", document.read_text(encoding="utf-8"))
    targets = {"".join(groups) for groups in LINK.findall(text)}
    relative = {target for target in targets if not ABROAD.match(target)}
    broken = {t for t in relative if not (document.parent / t.partition("#")[0]).exists()}
    assert not broken, f"{document.name} links to what does not exist: {sorted(broken)}"
