"""Check what a wheel holds: the package, typed and stripped, under 5 MB, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LIMIT_BYTES = 5_000_000


def main() -> None:
    path = Path(sys.argv[1])
    problems = []
    if path.stat().st_size >= LIMIT_BYTES:
        problems.append(f"{path.stat().st_size} bytes, must be under {LIMIT_BYTES}")
    with zipfile.ZipFile(path) as wheel, tempfile.TemporaryDirectory() as folder:
        names = wheel.namelist()
        allowed = r"fastembed/([\w/]+\.pyi?|py\.typed|_core\.[\w-]+\.so)|fastembed_native-[^/]+\.dist-info/.+"
        problems += [f"unexpected {name}" for name in names if not re.fullmatch(allowed, name)]
        extensions = [name for name in names if name.endswith(".so")]
        problems += [f"missing {name}" for name in ("fastembed/py.typed", "fastembed/_core.pyi") if name not in names]
        if len(extensions) != 1:
            problems.append(f"wanted one extension module, got {extensions}")
        for name in extensions:
            sections = subprocess.run(
                ["readelf", "--sections", "--wide", wheel.extract(name, folder)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            problems += [f"{name} has {s}" for s in (".symtab", ".debug_info", ".gnu.lto_") if s in sections]
    if problems:
        sys.exit(f"{path.name}: " + "; ".join(problems))
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB, {len(names)} files")


if __name__ == "__main__":
    main()
