"""Speed of finding and joining phrases beside gensim's Phrases, and the original program if given, in one run.

    python bench/bench_phrases.py                                # a quarter of the corpus
    python bench/bench_phrases.py --word2phrase ./word2phrase    # also the compiled word2phrase.c

Runs alternate, ratios are taken run by run. gensim is given word2phrase's formula as its scorer. The answers are
asserted: the same phrases with the same scores and the same joined text as gensim; the same joined text as
word2phrase.c, which is given the text as a single line without words of more than 25 bytes or with an underscore,
because it counts pairs across lines, cuts off long words and pairs, and confuses pairs with words. MB are 10^6 bytes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fastembed
from common import machine, spread, unpacked_corpus

QUARTER_LINES = 49_339
MIN_COUNT, THRESHOLD = 5, 100.0
Seconds = tuple[float, float]  # finding, joining


def timed(work: Callable[[], object]) -> tuple[float, object]:
    started = time.perf_counter()
    answer = work()
    return time.perf_counter() - started, answer


def ours(source: Path, target: Path, workers: int) -> tuple[Seconds, fastembed.Phrases]:
    options = {"workers": workers, "progress": False}
    learned, phrases = timed(
        lambda: fastembed.learn_phrases(source, min_count=MIN_COUNT, threshold=THRESHOLD, **options)
    )
    assert isinstance(phrases, fastembed.Phrases)
    joined, _ = timed(lambda: phrases.transform_file(source, target, **options))
    return (learned, joined), phrases


def word2phrase_score(
    worda_count: int, wordb_count: int, bigram_count: int, len_vocab: int, min_count: int, corpus_word_count: int
) -> float:
    return (bigram_count - min_count) * corpus_word_count / (worda_count * wordb_count)


def lines_of(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            yield line.split()


def gensim_phrases(source: Path, target: Path) -> tuple[Seconds, dict[str, float]]:
    from gensim.models.phrases import FrozenPhrases, Phrases

    def learn() -> FrozenPhrases:
        found = Phrases(lines_of(source), min_count=MIN_COUNT, threshold=THRESHOLD, scoring=word2phrase_score)
        return found.freeze()

    def join() -> None:
        with target.open("w", encoding="utf-8", newline="\n") as file:
            for tokens in phrases[lines_of(source)]:
                file.write(" ".join(tokens) + "\n")

    learned, phrases = timed(learn)
    assert isinstance(phrases, FrozenPhrases)
    joined, _ = timed(join)
    return (learned, joined), phrases.phrasegrams


def report(name: str, runs: list[Seconds], base: list[Seconds], megabytes: float) -> None:
    rates = [megabytes / sum(run) for run in runs]
    ratios = [sum(run) / sum(own) for run, own in zip(runs, base, strict=True)]
    parts = [statistics.median(run[part] for run in runs) for part in (0, 1)]
    print(f"{name:24}{parts[0]:10.2f}{parts[1]:10.2f}{statistics.median(rates):10.1f}   {spread(ratios, '{:.1f}')} x")


def head(title: str) -> None:
    print(f"\n{title}\n{'':24}{'find s':>10}{'join s':>10}{'MB/s':>10}   time to that of fastembed, 1 worker")


def beside_gensim(folder: Path, runs: int) -> None:
    source = unpacked_corpus(QUARTER_LINES)
    megabytes = source.stat().st_size / 1e6
    seconds: dict[str, list[Seconds]] = {"fastembed, 1 worker": [], "fastembed, 2 workers": []}
    try:
        import gensim
    except ImportError:
        print("gensim is not installed: left out (pip install '.[bench]')")
        gensim = None
    else:
        seconds[f"gensim {gensim.__version__}"] = []
    for _ in range(runs):
        for workers, name in ((1, "fastembed, 1 worker"), (2, "fastembed, 2 workers")):
            took, phrases = ours(source, folder / f"{workers}", workers)
            seconds[name].append(took)
        assert (folder / "1").read_bytes() == (folder / "2").read_bytes()
        if gensim is not None:
            took, grams = gensim_phrases(source, folder / "gensim")
            seconds[f"gensim {gensim.__version__}"].append(took)
            assert {"_".join(pair): score for pair, score in phrases.scores.items()} == grams
            assert list(lines_of(folder / "gensim")) == list(lines_of(folder / "1"))
    head(f"{megabytes:.0f} MB, {len(phrases):,} phrases, medians of {runs} runs")
    for name, times in seconds.items():
        report(name, times, seconds["fastembed, 1 worker"], megabytes)


def beside_word2phrase(folder: Path, program: str, runs: int) -> None:
    source = folder / "line"
    with unpacked_corpus().open("rb") as lines:
        words = (word for line in lines for word in line.split())
        source.write_bytes(b" ".join(word for word in words if len(word) <= 25 and b"_" not in word) + b"\n")
    megabytes = source.stat().st_size / 1e6
    seconds: dict[str, list[Seconds]] = {"fastembed, 1 worker": [], "fastembed, 2 workers": [], "word2phrase.c": []}
    options = ["-min-count", str(MIN_COUNT), "-threshold", str(THRESHOLD), "-debug", "0"]
    # Its buffer for paths has 60 bytes.
    command = [str(Path(program).resolve()), "-train", "line", "-output", "original", *options]
    for _ in range(runs):
        for workers, name in ((1, "fastembed, 1 worker"), (2, "fastembed, 2 workers")):
            took, phrases = ours(source, folder / "joined", workers)
            seconds[name].append(took)
        whole, _ = timed(lambda: subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL))
        seconds["word2phrase.c"].append((whole, 0.0))
        assert (folder / "joined").read_bytes().split() == (folder / "original").read_bytes().split()
    head(f"{megabytes:.0f} MB in one line, {len(phrases):,} phrases, medians of {runs} runs; word2phrase.c does both")
    for name, times in seconds.items():
        report(name, times, seconds["fastembed, 1 worker"], megabytes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--word2phrase", metavar="PROGRAM", help="the compiled word2phrase.c (needs 2 GB of memory)")
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        beside_gensim(Path(folder), options.runs)
        if options.word2phrase:
            beside_word2phrase(Path(folder), options.word2phrase, options.runs)


if __name__ == "__main__":
    sys.exit(main())
