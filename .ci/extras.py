"""Print the requirements of one extra of pyproject.toml, one a line: the versions of tools are written there only."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path


def main() -> None:
    text = (Path(__file__).resolve().parent.parent / "pyproject.toml").read_text()
    found = re.search(rf"^{re.escape(sys.argv[1])} = (\[[^\n]*\])$", text, re.MULTILINE)
    if found is None:
        sys.exit(f"pyproject.toml has no extra {sys.argv[1]!r} on one line")
    print("\n".join(json.loads(found.group(1))))


if __name__ == "__main__":
    main()
