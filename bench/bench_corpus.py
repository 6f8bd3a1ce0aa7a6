"""Speed of the corpus reader beside gensim's vocabulary scan and plain Python, side by side in one run.

    python bench/bench_corpus.py               # a quarter of the corpus for all, the whole of it for ours
    python bench/bench_corpus.py --gate        # fails below 120 MB/s a worker, or if 2 workers do not scale

Ours counts *and* encodes; the rivals only count. Runs alternate, and ratios are taken run by run, so that a drift of
the machine's speed cancels. The answer is asserted: all have the same words with the same counts. MB are 10^6 bytes. "a
CPU second" divides by the processor time of all threads instead of the clock, which other programs cannot disturb.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

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


def many_types(tokens: int) -> Path:
    """A text of a million distinct words and more: every other lookup misses the caches."""
    path = Path(tempfile.gettempdir()) / f"fastembed-bench-types-{tokens}.txt"
    if not path.exists():
        generator = random.Random(1)
        # Half of the tokens from 1000 words, half of them evenly from four million.
        words = (generator.randrange(1000 if generator.random() < 0.5 else 4_000_000) for _ in range(tokens))
        path.write_text(" ".join(f"t{word:x}" for word in words))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--gate", action="store_true")
    options = parser.parse_args()
    print(machine())
    side_by_side(unpacked_corpus(QUARTER_LINES), options.runs)
    scaling(many_types(10_000_000), "millions of words", options.runs)
    rate, speed_up = scaling(unpacked_corpus(), "the whole corpus", options.runs)
    if options.gate and rate < FLOOR_MB:
        sys.exit(f"{rate:.0f} MB a CPU second are below {FLOOR_MB}")
    if options.gate and speed_up < 1.2:
        sys.exit(f"2 workers are only {speed_up:.2f} x as fast as 1")


if __name__ == "__main__":
    main()
