"""The command lines of word2vec.c and word2phrase.c, translated to ours.

Holds pure functions: ``-size 200 -iter 3 ...`` becomes ``--vector-size 200 --epochs 3 ...`` before the options are
parsed, so that the parser knows one spelling of each. What fastembed does not do is an error, what it does otherwise
is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

__all__ = ["FLAGS_HELP", "PHRASE_FLAGS_HELP", "FlagError", "translate", "translate_phrase_flags"]

FLAGS_HELP = (
    "word2vec.c's flags are accepted too: -train -output -size -window -sample -negative -threads -iter -min-count "
    "-alpha -cbow 0|1 -binary 0|1 -debug -save-vocab (and -hs 0, -classes 0). Note that skip-gram is the default here."
)

PHRASE_FLAGS_HELP = "word2phrase.c's flags are accepted too: -train -output -min-count -threshold -debug."

_RENAMED = {
    "-output": "--output",
    "-size": "--vector-size",
    "-window": "--window",
    "-sample": "--sample",
    "-negative": "--negative",
    "-threads": "--workers",
    "-iter": "--epochs",
    "-min-count": "--min-count",
    "-alpha": "--alpha",
    "-save-vocab": "--save-vocabulary",
}
_PHRASES_RENAMED = {"-output": "--output", "-min-count": "--min-count", "-threshold": "--threshold"}
_SPECIAL = frozenset({"-train", "-hs", "-classes", "-debug", "-binary", "-cbow", "-read-vocab"})


class FlagError(ValueError):
    """A flag of word2vec.c without a value, with a wrong one, or with one that is not supported."""


def _switch(flag: str, value: str) -> bool:
    if value not in ("0", "1"):
        raise FlagError(f"argument {flag}: 0 or 1 was wanted, got {value!r}")
    return value == "1"


def _natural(flag: str, value: str) -> int:
    if not value.isdigit():
        raise FlagError(f"argument {flag}: a whole number was wanted, got {value!r}")
    return int(value)


def _collect(arguments: list[str], known: Container[str]) -> tuple[list[str], dict[str, str]]:
    """Split `arguments` into those that are not `known` and the values of those that are."""
    others: list[str] = []
    values: dict[str, str] = {}
    position = 0
    while position < len(arguments):
        flag = arguments[position]
        if flag == "--":  # what follows are file names, whatever they look like
            others += arguments[position:]
            break
        if flag in known:
            if position + 1 == len(arguments):
                raise FlagError(f"argument {flag}: a value was wanted after it")
            values[flag] = arguments[position + 1]
            position += 2
        else:
            others.append(flag)
            position += 1
    return others, values


def _refuse_unsupported(values: dict[str, str]) -> None:
    if _switch("-hs", values.get("-hs", "0")):
        raise FlagError("argument -hs: hierarchical softmax is not supported; use -hs 0 -negative 5")
    if _natural("-classes", values.get("-classes", "0")):
        raise FlagError("argument -classes: clustering is not supported; use -classes 0 and cluster the saved vectors")
    if "-read-vocab" in values:
        raise FlagError("argument -read-vocab: reading a vocabulary is not supported; it is counted from the corpus")


def translate(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Rewrite word2vec.c's flags.

    Parameters
    ----------
    arguments : list of str
        What follows ``fastembed train``.

    Returns
    -------
    arguments : list of str
        The same in our spelling. Without any flag of word2vec.c: unchanged.
    notes : list of str
        What the user must hear about, one line each.

    Raises
    ------
    FlagError
        A value is missing, wrong, or asks for what fastembed does not do.
    """
    others, values = _collect(arguments, _SPECIAL | _RENAMED.keys())
    if not values:
        return list(arguments), []
    _refuse_unsupported(values)
    notes: list[str] = []
    options: list[str] = []
    for flag, renamed in _RENAMED.items():
        if flag in values:
            options += [renamed, values[flag]]
    if "-cbow" in values:
        if _switch("-cbow", values["-cbow"]):
            options.append("--cbow")
    elif "--cbow" not in others:
        notes.append(
            "TRAINING SKIP-GRAM, the default of fastembed; word2vec.c without -cbow trains CBOW. "
            "Give -cbow 1 for CBOW, or -cbow 0 to confirm skip-gram"
        )
    binary = _switch("-binary", values.get("-binary", "0"))
    if ("-output" in values or "-binary" in values) and "--format" not in others:
        options += ["--format", "word2vec-binary" if binary else "word2vec-text"]
    if _natural("-debug", values.get("-debug", "2")) == 0:
        options.append("--no-progress")
    corpus = [values["-train"]] if "-train" in values else []
    return options + corpus + others, notes


def translate_phrase_flags(arguments: list[str]) -> list[str]:
    """Rewrite word2phrase.c's flags.

    Parameters
    ----------
    arguments : list of str
        What follows ``fastembed phrases``.

    Returns
    -------
    list of str
        The same in our spelling. Without any flag of word2phrase.c: unchanged.

    Raises
    ------
    FlagError
        A value is missing or wrong.
    """
    others, values = _collect(arguments, {"-train", "-debug"} | _PHRASES_RENAMED.keys())
    options: list[str] = []
    for flag, renamed in _PHRASES_RENAMED.items():
        if flag in values:
            options += [renamed, values[flag]]
    if _natural("-debug", values.get("-debug", "2")) == 0:
        options.append("--no-progress")
    return options + ([values["-train"]] if "-train" in values else []) + others
