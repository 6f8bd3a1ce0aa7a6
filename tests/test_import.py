"""What importing does: quickly, quietly, and never on top of another distribution's files."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastembed
from fastembed import _core

PACKAGE = Path(fastembed.__file__).parent


def seconds_to_run(code: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begin


@pytest.mark.timed
@pytest.mark.slow
@pytest.mark.skipif(bool(_core.sanitizers), reason="a sanitizer makes imports slow")
def test_import_takes_little_longer_than_numpys() -> None:
    seconds_to_run("import fastembed")  # compiles and caches what is not yet cached
    pairs = [(seconds_to_run("import numpy"), seconds_to_run("import fastembed")) for _ in range(9)]
    extra = min(ours for _, ours in pairs) - min(numpys for numpys, _ in pairs)
    assert extra < 0.060, f"import fastembed takes {extra * 1000:.0f} ms beyond NumPy's own"


def test_import_is_quiet_and_starts_no_thread(run_python) -> None:
    code = "import fastembed, threading; from fastembed import _core; "
    done = run_python(code + "print(threading.active_count(), _core.pool_thread_count())")
    assert (done.stdout, done.stderr) == ("1 0\n", "")


def test_import_leaves_the_optional_and_the_slow_out(run_python) -> None:
    heavy = ["scipy", "gensim", "zstandard", "pandas", "polars", "pyarrow", "matplotlib", "torch", "mpi4py", "pytest"]
    done = run_python(f"import fastembed, sys; print([name for name in {heavy} if name in sys.modules])")
    assert done.stdout == "[]\n", done.stderr


def test_version() -> None:
    assert fastembed.__version__ == importlib.metadata.version("fastembed-native") == _core.__version__


def test_public_names_exist() -> None:
    assert sorted(set(fastembed.__all__)) == sorted(fastembed.__all__)
    for name in fastembed.__all__:
        assert hasattr(fastembed, name)


def test_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "_core.pyi").exists()


def test_show_config() -> None:
    config = fastembed.show_config()
    assert config["version"] == fastembed.__version__
    assert config["compiler"] == _core.compiler
    assert config["isa"] == fastembed.isa.active()
    assert config["isa_available"] == fastembed.isa.available()
    assert config["workers"] == _core.default_worker_count()
    assert config["cuda"] is fastembed.cuda.is_available()
    assert config["cuda_reason"] == fastembed.cuda.why_not()
    for key, value in config.items():
        assert f"{key} " in str(config)
        assert str(value) in str(config)


def test_cuda_says_why_not() -> None:
    if fastembed.cuda.is_available():
        assert not fastembed.cuda.why_not()
    else:
        assert len(fastembed.cuda.why_not()) > 10


@pytest.mark.parametrize("foreign", ["text/text_embedding.py", "common/types.py"])
def test_another_distributions_files_are_refused(tmp_path: Path, run_python, foreign: str) -> None:
    # The other distribution with this import name holds these files; pip mixes both into one folder.
    mixed = tmp_path / "fastembed"
    shutil.copytree(PACKAGE, mixed, ignore=shutil.ignore_patterns("__pycache__"))
    (mixed / foreign).parent.mkdir()
    (mixed / foreign).write_text("")
    done = run_python("import fastembed", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith("ImportError"), done.stderr
    assert "fastembed-native" in done.stderr
    assert "uninstall" in done.stderr


def test_a_clean_copy_is_accepted(tmp_path: Path, run_python) -> None:
    shutil.copytree(PACKAGE, tmp_path / "fastembed", ignore=shutil.ignore_patterns("__pycache__"))
    done = run_python("import fastembed; print(fastembed.__file__)", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent == tmp_path / "fastembed"
