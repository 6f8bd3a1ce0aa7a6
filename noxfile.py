"""Thin wrappers around the checks of `.ci/run`, one at a time: nox -s tests | lint | asan | tsan | neon."""

from __future__ import annotations

import os
import platform
import subprocess

import nox

nox.options.sessions = ["lint", "tests"]


@nox.session
def tests(session: nox.Session) -> None:
    """The README's test command."""
    session.install(".[test]")
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types and format."""
    session.install(".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    sources = session.run("git", "ls-files", "csrc/*.[ch]pp", "tests/cpp/*.cpp", external=True, silent=True)
    session.run("clang-format", "--dry-run", "--Werror", *str(sources).split())


def runtime_library(name: str) -> str:
    found = subprocess.run(["c++", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return os.path.realpath(found.stdout.strip())


def install_instrumented(session: nox.Session, name: str, sanitizers: str) -> None:
    # A build folder of its own: CMake would keep the sanitizer in the cache of the plain one.
    session.install(
        ".[test]",
        f"--config-settings=build-dir=build/nox-{name}",
        "--config-settings=cmake.build-type=RelWithDebInfo",
        "--config-settings=install.strip=false",
        f"--config-settings=cmake.define.FASTEMBED_SANITIZE={sanitizers}",
    )


@nox.session
def asan(session: nox.Session) -> None:
    """The suite under the address and undefined-behaviour sanitizers."""
    install_instrumented(session, "asan", "address,undefined")
    environment = {
        "LD_PRELOAD": f"{runtime_library('libasan.so')} {runtime_library('libstdc++.so.6')}",
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
    }
    session.run("pytest", "-m", "not slow and not gpu", *session.posargs, env=environment)


@nox.session
def tsan(session: nox.Session) -> None:
    """The tests marked `threads` under the thread sanitizer."""
    install_instrumented(session, "tsan", "thread")
    environment = {
        "LD_PRELOAD": runtime_library("libtsan.so"),
        "TSAN_OPTIONS": "suppressions=.ci/tsan.supp exitcode=66 halt_on_error=1 die_after_fork=0",
    }
    command = [
        "setarch",
        platform.machine(),
        "--addr-no-randomize",
        "python",
        "-m",
        "pytest",
        "-m",
        "threads and not gpu",
    ]
    session.run(*command, *session.posargs, env=environment, external=True)


@nox.session
def neon(session: nox.Session) -> None:
    """Every kernel of the neon tier, cross-compiled and emulated."""
    session.install("cmake", "ninja")
    session.run("cmake", "--preset", "neon")
    session.run("cmake", "--build", "--preset", "neon")
    session.run("qemu-aarch64", "build/neon/kernel_check", external=True)
