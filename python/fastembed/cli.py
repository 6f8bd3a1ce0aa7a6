"""The command line: ``fastembed train | phrases | neighbors | eval | info | demo``.

Holds the options and their translation to calls of the public API; no option has a default of its own here, so that the
command line and Python cannot disagree. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from fastembed._cli_saving import FORMATS, partial_path, save_aside, save_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from fastembed.vectors import WordVectors

__all__ = ["load_vectors", "main"]

_INTERRUPTED = 130

_USAGE = """\
usage: fastembed COMMAND ...

commands:
  train CORPUS... -o OUT   train word vectors
  phrases CORPUS... -o OUT  write the text with its phrases joined: new york -> new_york
  neighbors VECTORS WORD...  nearest words
  eval VECTORS             word similarity and analogies
  info [VECTORS]           what a file of vectors holds; without one, how fastembed was built
  demo                     train on the English text inside this Python installation

fastembed COMMAND --help lists the options of a command; fastembed --version prints the version."""


class _UsageError(Exception):
    """Wrong usage: one line on stderr and exit code 2."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{self.prog}: error: {message} (see {self.prog} --help)")


def _parser(command: str, description: str, epilog: str | None = None) -> _Parser:
    return _Parser(prog=f"fastembed {command}", description=description, epilog=epilog, allow_abbrev=False)


# Places


def _identity(path: str) -> object:
    """What tells one file from another whatever its name is; for what is not there yet, where it would be."""
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def _check_places(
    command: str,
    inputs: Iterable[tuple[str, str]],
    targets: Iterable[tuple[str, str]],
    may_replace: Collection[tuple[str, str]],
) -> None:
    """Refuse targets at the place of an input or of each other, unless `may_replace` has the input and the target."""
    labels = {_identity(path): label for label, path in inputs}
    for label, path in targets:
        other = labels.get(_identity(path))
        if other is not None and (other, label) not in may_replace:
            raise _UsageError(
                f"fastembed {command}: error: {other} and {label} must name different places, got {path!r}"
            )
        labels[_identity(path)] = label


def _check_outside(command: str, folders: Collection[str], targets: Sequence[tuple[str, str]]) -> None:
    """Refuse targets within those that `folders` names."""
    for folder, where in targets:
        within = os.path.join(os.path.realpath(where), "")
        for label, path in targets if folder in folders else ():
            if os.path.realpath(path).startswith(within):
                raise _UsageError(f"fastembed {command}: error: {label} must not lie within {folder}, got {path!r}")


# Loading


def load_vectors(path: str) -> WordVectors:
    """Read vectors in any of our formats; see `fastembed._continue.load_vectors`."""
    from fastembed import _continue

    return _continue.load_vectors(path)


# train


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    # argparse.SUPPRESS: what is not given is not passed on, and train_word2vec's own default holds.
    group = parser.add_argument_group("training", argument_default=argparse.SUPPRESS)
    group.add_argument("--vector-size", type=int, metavar="N", help="numbers per vector (100)")
    group.add_argument("--window", type=int, metavar="N", help="words of context on each side (5)")
    group.add_argument("--negative", type=int, metavar="N", help="negative samples per positive (5)")
    group.add_argument("--epochs", type=int, metavar="N", help="passes over the corpus (5)")
    group.add_argument("--min-count", type=int, metavar="N", help="leave out words rarer than this (5)")
    group.add_argument("--sample", type=float, metavar="F", help="threshold of subsampling of frequent words (1e-3)")
    group.add_argument("--alpha", type=float, metavar="F", help="first learning rate (0.025, CBOW 0.05)")
    group.add_argument("--min-alpha", type=float, metavar="F", help="last learning rate (1e-4)")
    group.add_argument("--cbow", dest="sg", action="store_false", help="train CBOW instead of skip-gram")
    group.add_argument("--cbow-mean", type=int, choices=(0, 1), metavar="0|1", help="CBOW: mean (1) or sum of context")
    group.add_argument("--ns-exponent", type=float, metavar="F", help="exponent of the negatives' distribution (0.75)")
    group.add_argument(
        "--no-shrink-windows", dest="shrink_windows", action="store_false", help="full windows, not random smaller ones"
    )
    group.add_argument("--max-final-vocab", type=int, metavar="N", help="keep the N most frequent words only")
    group.add_argument("--max-vocab-size", type=int, metavar="N", help="bound of distinct words held while counting")
    group.add_argument("--max-sentence-length", type=int, metavar="N", help="cut longer sentences in pieces (10000)")
    group.add_argument("--seed", type=int, metavar="N", help="seed of all random choices (1)")
    group.add_argument("--workers", type=int, metavar="N", help="threads (all that may be used)")
    group.add_argument("--negative-sharing", choices=("tile", "window", "pair"), help="who shares negatives (tile)")
    group.add_argument("--precision", choices=("float32", "bfloat16", "float16"), help="of the rows in training")
    group.add_argument("--deterministic", action="store_true", help="the same bits for any number of threads")
    group.add_argument("--errors", choices=("strict", "replace", "ignore"), help="on invalid UTF-8 (strict)")
    group.add_argument("--memory-budget", type=int, metavar="BYTES", help="encoded corpus held in memory (a quarter)")
    group.add_argument("--init", metavar="VECTORS", help="go on from these vectors, adding the words of CORPUS")
    group.add_argument("--checkpoint", metavar="DIR", help="write checkpoints into this directory")
    group.add_argument(
        "--checkpoint-every", type=_epoch_or_minutes, metavar="epoch|MINUTES", help="how often (every epoch)"
    )
    group.add_argument("--resume", action="store_true", help="go on from the checkpoint, if there is one")
    group.add_argument("--no-progress", dest="progress", action="store_false", help="no progress bar")


def _epoch_or_minutes(text: str) -> str | float:
    if text == "epoch":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'epoch' or a number of minutes was wanted, got {text!r}") from None


def _train_parser() -> argparse.ArgumentParser:
    from fastembed._word2vec_flags import FLAGS_HELP

    parser = _parser("train", "Train word vectors: skip-gram (or --cbow) with negative sampling.", FLAGS_HELP)
    parser.add_argument("corpus", nargs="+", metavar="CORPUS", help="text file (.gz .bz2 .xz .zst), directory or glob")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="where to write the vectors")
    parser.add_argument("--format", choices=FORMATS, default="native", help="format of OUT (native: a directory)")
    parser.add_argument("--save-vocabulary", metavar="FILE", help="also write lines 'word count'")
    _add_training_options(parser)
    return parser


def _files_of(corpus: str | list[str]) -> list[str]:
    """The files of `corpus`; none if it is wrong, of which `train_word2vec` says more."""
    from fastembed._corpus import paths_of

    try:
        return paths_of(corpus) or []
    except (OSError, TypeError):
        return []


def _check_targets(
    corpus: str | list[str], output: str, chosen_format: str, vocabulary: str | None, options: dict[str, Any]
) -> None:
    """Hours of training must not end with "no such directory", nor with the corpus overwritten."""
    from fastembed._atomic import check_file_target
    from fastembed._storage import check_store_target

    inputs = [("--init", options["init"])] if "init" in options else []
    inputs += [("CORPUS", path) for path in _files_of(corpus)]
    saved = {"--output": output, "--output's .interrupted": partial_path(output)}
    places = {"--checkpoint": options.get("checkpoint"), **saved, "--save-vocabulary": vocabulary}
    targets = [(label, path) for label, path in places.items() if path]
    _check_places("train", inputs, targets, may_replace=[("--init", label) for label in saved])
    # Whose files are our own.
    _check_outside("train", ["--checkpoint", *(saved if chosen_format == "native" else ())], targets)
    if chosen_format == "native":
        check_store_target(output)
    else:
        check_file_target(output, compress=True)
    if vocabulary is not None:
        check_file_target(vocabulary, compress=True)


def _train(arguments: list[str]) -> int:
    from fastembed._word2vec_flags import FlagError, translate

    try:
        translated, notes = translate(arguments)
    except FlagError as error:
        raise _UsageError(f"fastembed train: error: {error}") from error
    options = vars(_train_parser().parse_intermixed_args(translated))
    for note in notes:
        print(f"fastembed train: note: {note}", file=sys.stderr)
    names, output = options.pop("corpus"), options.pop("output")
    chosen_format, vocabulary = options.pop("format"), options.pop("save_vocabulary")
    if "cbow_mean" in options:
        options["cbow_mean"] = bool(options["cbow_mean"])

    corpus = names[0] if len(names) == 1 else names
    _check_targets(corpus, output, chosen_format, vocabulary, options)

    import fastembed

    try:
        vectors = fastembed.train_word2vec(corpus, **options)
    except fastembed.TrainingInterrupted as interrupt:
        save_aside(interrupt.vectors, output, chosen_format, f"{interrupt}; the vectors so far")
        return _INTERRUPTED
    return _save_trained(vectors, output, chosen_format, vocabulary)


def _save_trained(vectors: WordVectors, output: str, chosen_format: str, vocabulary: str | None) -> int:
    """Save what was trained, if not to `output` then aside, and return the exit code."""
    try:
        save_vectors(vectors, output, chosen_format)
    except KeyboardInterrupt:
        save_aside(vectors, output, chosen_format, "interrupted while saving; the vectors")
        return _INTERRUPTED
    except (OSError, ValueError) as error:
        print(f"fastembed: error: {_message(error)}", file=sys.stderr)
        save_aside(vectors, output, chosen_format, "the vectors")
        return 1
    print(f"{len(vectors):,} vectors of {vectors.vector_size} numbers are in {output}", flush=True)
    if vocabulary is not None:
        from fastembed._word2vec_format import save_vocabulary

        try:
            save_vocabulary(vocabulary, vectors)
        except KeyboardInterrupt:
            print("\nfastembed: interrupted, the vocabulary was not saved", file=sys.stderr)
            return _INTERRUPTED
    return 0


# phrases


def _phrases_parser() -> argparse.ArgumentParser:
    from fastembed._word2vec_flags import PHRASE_FLAGS_HELP

    description = "Find pairs of words that belong together (new york) and write the text with them joined (new_york)."
    parser = _parser("phrases", description, PHRASE_FLAGS_HELP)
    parser.add_argument("corpus", nargs="+", metavar="CORPUS", help="text file (.gz .bz2 .xz .zst), directory or glob")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="where to write the text (.gz .bz2 .xz)")
    parser.add_argument("--save-phrases", metavar="FILE", help="also write the phrases, as JSON")
    group = parser.add_argument_group("finding phrases", argument_default=argparse.SUPPRESS)
    group.add_argument("--min-count", type=int, metavar="N", help="subtracted from the count of each pair (5)")
    group.add_argument("--threshold", type=float, metavar="F", help="score that a phrase exceeds (100)")
    group.add_argument("--delimiter", metavar="S", help="what joins the words (_)")
    group.add_argument("--max-vocab-size", type=int, metavar="N", help="bound of distinct words held while counting")
    group.add_argument("--workers", type=int, metavar="N", help="threads (all that may be used)")
    group.add_argument("--errors", choices=("strict", "replace", "ignore"), help="on invalid UTF-8 (strict)")
    group.add_argument("--memory-budget", type=int, metavar="BYTES", help="encoded corpus held in memory (a quarter)")
    group.add_argument("--no-progress", dest="progress", action="store_false", help="no progress bar")
    return parser


def _phrases(arguments: list[str]) -> int:
    from fastembed._word2vec_flags import FlagError, translate_phrase_flags

    try:
        translated = translate_phrase_flags(arguments)
    except FlagError as error:
        raise _UsageError(f"fastembed phrases: error: {error}") from error
    options = vars(_phrases_parser().parse_intermixed_args(translated))
    names, output, saved = options.pop("corpus"), options.pop("output"), options.pop("save_phrases")
    import fastembed
    from fastembed._atomic import check_file_target
    from fastembed._corpus import paths_of

    corpus = names[0] if len(names) == 1 else names
    files = paths_of(corpus) or []
    targets = [(label, path) for label, path in (("--output", output), ("--save-phrases", saved)) if path]
    _check_places("phrases", [("CORPUS", path) for path in files], targets, may_replace=[("CORPUS", "--output")])
    check_file_target(output, compress=True)
    if saved is not None:
        check_file_target(saved)
    for path in files:
        if os.path.exists(path) and not os.path.isfile(path):
            raise ValueError(
                f"{path!r} is not a regular file: the text is read twice, to find phrases and to join them"
            )
    phrases = fastembed.learn_phrases(corpus, **options)
    passed_on = {name: options[name] for name in ("workers", "progress") if name in options}
    phrases.transform_file(corpus, output, **passed_on)
    if saved is not None:
        phrases.save(saved)
    print(f"{len(phrases):,} phrases are joined in {output}")
    return 0


# neighbors, eval, info, demo


def _print_neighbours(neighbours: list[tuple[str, float]]) -> None:
    width = max((len(word) for word, _ in neighbours), default=0)
    for word, cosine in neighbours:
        print(f"  {word:<{width}}  {cosine:.4f}")


def _neighbors(arguments: list[str]) -> int:
    parser = _parser(
        "neighbors", "Print the words nearest by cosine to each WORD, or to a sum and difference of words."
    )
    parser.add_argument("vectors", metavar="VECTORS", help="a saved directory, or a word2vec text or binary file")
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--positive", nargs="+", default=[], metavar="WORD", help="words to add (one query)")
    parser.add_argument("--negative", nargs="+", default=[], metavar="WORD", help="words to subtract (one query)")
    parser.add_argument("--topn", type=int, default=10, metavar="N", help="how many neighbours (10)")
    options = parser.parse_intermixed_args(arguments)
    if not (options.words or options.positive or options.negative):
        parser.error("at least one WORD, --positive or --negative is needed")
    vectors = load_vectors(options.vectors)
    if options.positive or options.negative:
        # Words outside the options count as positive: king --negative man reads as it looks.
        positive = [*options.words, *options.positive]
        title = " ".join(["+" + word for word in positive] + ["-" + word for word in options.negative])
        answers = [(title, vectors.most_similar(positive, options.negative, topn=options.topn))]
    else:
        answers = [(word, vectors.most_similar(word, topn=options.topn)) for word in options.words]
    for title, neighbours in answers:
        print(f"{title}:")
        _print_neighbours(neighbours)
    return 0


def _eval(arguments: list[str]) -> int:
    parser = _parser("eval", "Measure vectors by word similarity and word analogies.")
    parser.add_argument("vectors", metavar="VECTORS", help="a saved directory, or a word2vec text or binary file")
    parser.add_argument("--pairs", nargs="+", default=[], metavar="FILE", help="lines: word word score")
    parser.add_argument("--analogies", nargs="+", default=[], metavar="FILE", help="lines: a b c d; ': name' = section")
    parser.add_argument("--restrict-vocab", type=int, default=300_000, metavar="N", help="first N words only (300000)")
    parser.add_argument("--case-sensitive", action="store_true", help="compare words as they are")
    options = parser.parse_intermixed_args(arguments)
    if not (options.pairs or options.analogies):
        parser.error("at least one file is needed: --pairs FILE or --analogies FILE")
    vectors = load_vectors(options.vectors)
    settings = {"restrict_vocab": options.restrict_vocab, "case_insensitive": not options.case_sensitive}
    for path in options.pairs:
        print(f"{path}: {vectors.evaluate_word_pairs(path, **settings)}")
    for path in options.analogies:
        print(f"{path}: {vectors.evaluate_analogies(path, **settings)}")
    return 0


def _info(arguments: list[str]) -> int:
    parser = _parser("info", "Say what VECTORS hold; without VECTORS, how fastembed was built and what it uses.")
    parser.add_argument("vectors", nargs="?", metavar="VECTORS")
    options = parser.parse_args(arguments)
    if options.vectors is None:
        import fastembed

        config = fastembed.show_config()
        if config is not None:
            print(config)
        return 0
    vectors = load_vectors(options.vectors)
    kind = "fastembed store" if os.path.isdir(options.vectors) else "word2vec file"
    print(f"{options.vectors}: {kind}")
    print(f"words: {len(vectors):,}")
    print(f"vector size: {vectors.vector_size}")
    print(f"output vectors: {'no' if vectors.output_vectors is None else 'yes'}")
    if vectors.counts is not None:
        print(f"counts: {int(vectors.counts.sum()):,} occurrences")
    print(f"first words: {' '.join(vectors.index_to_key[:10])}")
    for name, value in vectors.config.items():
        print(f"{name}: {value}")
    for record in vectors.history:
        print(", ".join(f"{name} {_short(value)}" for name, value in record.items()))
    return 0


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _demo(arguments: list[str]) -> int:
    parser = _parser("demo", "Train on the English text inside this Python installation and print neighbours.")
    group = parser.add_argument_group("options", argument_default=argparse.SUPPRESS)
    group.add_argument("--output", "-o", metavar="DIR", help="where to save the vectors (fastembed-demo)")
    group.add_argument("--epochs", type=int, metavar="N", help="passes over the text (20)")
    group.add_argument("--workers", type=int, metavar="N", help="threads (all that may be used)")
    group.add_argument("--memory-budget", type=int, metavar="BYTES", help="encoded corpus held in memory (a quarter)")
    group.add_argument("--no-progress", dest="progress", action="store_false", help="no progress bar")
    options = vars(parser.parse_args(arguments))

    from fastembed.demo import run_demo

    run_demo(**options)
    return 0


_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "phrases": _phrases,
    "neighbors": _neighbors,
    "eval": _eval,
    "info": _info,
    "demo": _demo,
}


# Dispatch


def _message(error: BaseException) -> str:
    """One line that says what went wrong, without Python's decoration."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{error.strerror}: {error.filename!r}"
    elif isinstance(error, KeyError) and len(error.args) == 1:
        text = str(error.args[0])  # str(KeyError) would add quotes
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())


def _as_typed(message: str, arguments: Collection[str]) -> str:
    """`message`, with the Python argument that it may begin with named as the option among `arguments`."""
    name, space, rest = message.partition(" ")
    option = "--" + name.replace("_", "-")
    typed = any(argument.partition("=")[0] == option for argument in arguments)
    return option + space + rest if typed else message


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_USAGE, file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        import fastembed

        print(getattr(fastembed, "__version__", "unknown"))
        return 0
    command = _COMMANDS.get(arguments[0])
    if command is None:
        raise _UsageError(f"fastembed: error: unknown command {arguments[0]!r}, wanted one of {', '.join(_COMMANDS)}")
    return command(arguments[1:])


def _open_streams() -> None:
    """Print nowhere where whoever started us closed a stream, and words that its encoding lacks with backslashes."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            setattr(sys, name, os.fdopen(nowhere, "w", errors="replace", closefd=False))
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the program's name; None takes them from `sys.argv`.

    Returns
    -------
    int
        The exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_streams()
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except SystemExit as stop:  # argparse after --help
        return stop.code if isinstance(stop.code, int) else 0
    except _UsageError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nfastembed: interrupted, nothing was saved", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the flush at exit fails again
        return 1
    except (OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError, ImportError, MemoryError) as error:
        print(f"fastembed: error: {_as_typed(_message(error), arguments)}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
