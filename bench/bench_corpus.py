"""Speed of the corpus reader beside gensim's vocabulary scan and plain Python, side by side in one run.

    python bench/bench_corpus.py               # a quarter of the corpus for all, the whole of it for ours
    python bench/bench_corpus.py --gate        # fails below 120 MB/s a worker, or if 2 workers do not scale
    python bench/bench_corpus.py --types 3000000 --word2vec word2vec --fasttext fasttext
                                               # a text of so many distinct words, beside word2vec.c and fastText

Ours counts *and* encodes; the rivals only count (and word2vec.c and fastText read the text again in every epoch). Runs
alternate, and ratios are taken run by run, so that a drift of the machine's speed cancels. The answer is asserted: all
have the same words with the same counts. MB are 10^6 bytes. "a CPU second" divides by the processor time of all threads
instead of the clock, which other programs cannot disturb. word2vec and fasttext are programs, built by whoever runs
this with their own flags; their time is that of the process up to the end of the vocabulary pass.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import machine, unpacked_corpus
from fastembed._corpus import EncodedCorpus, encode_corpus

QUARTER_LINES = 49_339
MIN_COUNT = 5
FLOOR_MB = 120
Vocabulary = dict[str, int]


def ours(path: Path, workers: int) -> Vocabulary:
    return vocabulary_of(encode_corpus(path, min_count=MIN_COUNT, workers=workers))


def vocabulary_of(encoded: EncodedCorpus) -> Vocabulary:
    return dict(zip(encoded.words, encoded.counts.tolist(), strict=True))


def plain_python(path: Path) -> Vocabulary:
    counts: Counter[str] = Counter()
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            counts.update(line.split())
    return {word: count for word, count in counts.items() if count >= MIN_COUNT}


def gensim_scan(path: Path) -> Vocabulary:
    from gensim.models import Word2Vec

    model = Word2Vec(vector_size=1, min_count=MIN_COUNT)
    model.build_vocab(corpus_file=str(path))
    return {word: model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key}


def contestants() -> dict[str, Callable[[Path], Vocabulary]]:
    found: dict[str, Callable[[Path], Vocabulary]] = {
        "fastembed, 1 worker": lambda path: ours(path, 1),
        "fastembed, 2 workers": lambda path: ours(path, 2),
        "str.split + Counter": plain_python,
    }
    try:
        import gensim  # noqa: F401
    except ImportError:
        print("gensim is not installed: left out")
    else:
        found["gensim build_vocab"] = gensim_scan
    return found


def side_by_side(path: Path, runs: int) -> None:
    size = path.stat().st_size / 1e6
    scans = contestants()
    seconds: dict[str, list[float]] = {name: [] for name in scans}
    answer: Vocabulary = {}
    for _ in range(runs):
        for name, scan in scans.items():
            started = time.perf_counter()
            vocabulary = scan(path)
            seconds[name].append(time.perf_counter() - started)
            answer = answer or vocabulary
            assert vocabulary == answer, f"{name} counts differently"
    base = seconds["fastembed, 1 worker"]
    print(f"\n{size:.0f} MB, {len(answer)} words of at least {MIN_COUNT} occurrences, medians of {runs} runs")
    print(f"{'':24}{'MB/s':>10}{'1 worker of ours is':>24}")
    for name, times in seconds.items():
        ratio = statistics.median(other / own for other, own in zip(times, base, strict=True))
        print(f"{name:24}{size / statistics.median(times):10.1f}{ratio:22.2f} x")


def scaling(path: Path, label: str, runs: int) -> tuple[float, float]:
    """MB per CPU second with 1 worker, and the speed-up of 2 workers."""
    size = path.stat().st_size / 1e6
    clock: dict[int, list[float]] = {1: [], 2: []}
    processor: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(runs):
        for workers in clock:
            started, used = time.perf_counter(), time.process_time()
            encoded = encode_corpus(path, min_count=MIN_COUNT, workers=workers)
            clock[workers].append(time.perf_counter() - started)
            processor[workers].append(time.process_time() - used)
    speed_up = statistics.median(one / two for one, two in zip(clock[1], clock[2], strict=True))
    tokens = f"{encoded.stats.raw_tokens / 1e6:.1f} M tokens of {encoded.stats.distinct_words} words"
    print(f"\n{label}: {size:.0f} MB, {tokens}, {runs} runs")
    print(f"{'workers':24}{'MB/s median':>14}{'best':>8}{'MB a CPU second':>18}")
    for workers, times in clock.items():
        used = statistics.median(processor[workers])
        print(f"{workers:<24}{size / statistics.median(times):14.1f}{size / min(times):8.1f}{size / used:18.1f}")
    print(f"2 workers are {speed_up:.2f} x as fast as 1")
    return size / statistics.median(processor[1]), speed_up


def many_types(types: int) -> Path:
    """A text of about so many distinct words, whose frequencies and lengths are those of a natural language: word r
    occurs types / r times (Zipf: half of the words once), 4.8 letters a token, 8.9 a word, 3% above 15."""
    path = Path(tempfile.gettempdir()) / f"fastembed-bench-types-{types}.txt"
    if path.exists():
        return path
    generator = np.random.default_rng(1)
    ranks = np.arange(types, dtype=np.int64)
    powers = 26 ** np.arange(1, 7, dtype=np.int64)
    digits = np.searchsorted(powers, ranks, side="right") + 1
    extra = generator.binomial(9, np.minimum(0.45, np.log10(ranks + 2) / 14)) + 8 * (generator.random(types) < 0.03)
    lengths = np.minimum(digits + extra, 24).astype(np.uint8)
    rows = generator.integers(97, 123, (types, 25), np.uint8)
    number = ranks * 1_000_003 % powers[digits - 1]  # unlike among words of as many digits
    for column in range(6):
        own = column < digits
        rows[own, column] = 97 + number[own] % 26
        number //= 26
    rows[ranks, lengths] = ord(" ")
    tokens = generator.permutation(np.repeat(ranks.astype(np.int32), types // (ranks + 1)))
    partial = path.with_suffix(f".{os.getpid()}")
    with partial.open("wb") as text:
        for begin in range(0, len(tokens), 1 << 20):
            words = tokens[begin : begin + (1 << 20)]
            block = rows[words]
            ends = np.arange(0, len(words), 20)
            block[ends, lengths[words[ends]]] = ord("\n")
            text.write(block[np.arange(25) <= lengths[words, None]].tobytes())
    partial.rename(path)
    return path


@dataclass
class Scan:
    """What one vocabulary pass took, and the number of words it kept."""

    seconds: float
    cpu_seconds: float
    words: int


def our_scan(path: Path, workers: int) -> Scan:
    started, used = time.perf_counter(), time.process_time()
    encoded = encode_corpus(path, min_count=MIN_COUNT, workers=workers)
    return Scan(time.perf_counter() - started, time.process_time() - used, len(encoded.words))


def program_scan(command: list[str], pattern: str) -> Scan:
    """Run a program until its output matches `pattern`, which is when its vocabulary is complete; then end it."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0) as process:
        assert process.stdout is not None
        output = b""
        while not (found := re.search(pattern.encode(), output)):
            piece = process.stdout.read(1 << 16)
            if not piece:
                sys.exit(f"{command[0]} ended without its vocabulary: {output[-300:]!r}")
            output = output[-300:] + piece
        seconds = time.perf_counter() - started
        process.kill()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
    return Scan(seconds, usage.ru_utime + usage.ru_stime, int(found[1]) - 1)  # without "</s>"


def scans_of(path: Path, options: argparse.Namespace) -> dict[str, Callable[[], Scan]]:
    """One thread each, but for our second line."""
    text, count = str(path), str(MIN_COUNT)
    scans: dict[str, Callable[[], Scan]] = {
        "fastembed, 1 worker": lambda: our_scan(path, 1),
        "fastembed, 2 workers": lambda: our_scan(path, 2),
    }
    if options.word2vec:
        command = [options.word2vec, "-train", text, "-min-count", count]
        scans["word2vec.c"] = lambda: program_scan(command, r"Vocab size: (\d+)\n")
    if options.fasttext:
        flags = ["-minCount", count, "-minn", "0", "-maxn", "0", "-wordNgrams", "1", "-dim", "1", "-thread", "1"]
        skipgram = [options.fasttext, "skipgram", "-input", text, "-output", os.devnull, *flags]
        scans["fastText"] = lambda: program_scan(skipgram, r"Number of words: +(\d+)\n")
    for name in ("word2vec", "fasttext"):
        if not getattr(options, name):
            print(f"{name} is left out: no program was given (--{name})")
    return scans


def beside_programs(path: Path, options: argparse.Namespace) -> None:
    scans = scans_of(path, options)
    size = path.stat().st_size / 1e6
    taken: dict[str, list[Scan]] = {name: [] for name in scans}
    for _ in range(options.runs):
        for name, scan in scans.items():
            taken[name].append(scan())
    for name, runs in taken.items():
        assert runs[0].words == taken["fastembed, 1 worker"][0].words, f"{name} keeps {runs[0].words} words"
    base = taken["fastembed, 1 worker"]
    print(f"\n{path.name}: {size:.0f} MB, {base[0].words} words of at least {MIN_COUNT} occurrences")
    print(f"{'':24}{'MB/s median':>12}{'best':>8}{'MB a CPU second':>17}{'1 worker of ours is, clock and CPU':>39}")
    for name, runs in taken.items():
        clock = statistics.median(theirs.seconds / ours.seconds for theirs, ours in zip(runs, base, strict=True))
        cpu = statistics.median(theirs.cpu_seconds / ours.cpu_seconds for theirs, ours in zip(runs, base, strict=True))
        seconds = [run.seconds for run in runs]
        used = statistics.median(run.cpu_seconds for run in runs)
        rates = f"{size / statistics.median(seconds):12.1f}{size / min(seconds):8.1f}{size / used:17.1f}"
        print(f"{name:24}{rates}{clock:26.2f} x {cpu:9.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--gate", action="store_true")
    parser.add_argument("--types", type=int, help="distinct words of a synthetic text; only this text is measured then")
    parser.add_argument("--word2vec", help="word2vec.c as a program")
    parser.add_argument("--fasttext", help="fastText as a program")
    options = parser.parse_args()
    print(machine())
    if options.types:
        beside_programs(many_types(options.types), options)
        return
    side_by_side(unpacked_corpus(QUARTER_LINES), options.runs)
    scaling(many_types(2_000_000), "millions of words", options.runs)
    rate, speed_up = scaling(unpacked_corpus(), "the whole corpus", options.runs)
    if options.gate and rate < FLOOR_MB:
        sys.exit(f"{rate:.0f} MB a CPU second are below {FLOOR_MB}")
    if options.gate and speed_up < 1.2:
        sys.exit(f"2 workers are only {speed_up:.2f} x as fast as 1")


if __name__ == "__main__":
    main()
