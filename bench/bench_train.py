"""Training speed against gensim, side by side in one run, on real text.

    python bench/bench_train.py                # d=100 and 300, 1 and 2 workers, five pairs of runs each
    python bench/bench_train.py --gate         # fails below the ratio required of the mode and instruction set
    python bench/bench_train.py --cbow         # or --sharing window, --precision bfloat16, --isa avx2

Both train one epoch on the same words with the same settings (skip-gram unless --cbow, window 5, negative 5,
sample 1e-4, min_count 5); only the training phase is timed, gensim's in its fastest mode (`corpus_file`). Runs
alternate, ours before and after each of gensim's, and the ratio is taken of the neighbours, so that a drift of the
machine's speed cancels. The answer is asserted: the same vocabulary, the same words trained, and a loss that has fallen
below the untrained one. GFLOP/s are nominal: what word2vec.c's pairs would cost, against the float32 peak.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import fastembed
from common import fma_peak, force_isa, machine, spread, unpacked_corpus
from fastembed import _core
from fastembed._corpus import encode_corpus

QUARTER_LINES = 49_339


def gate_of(args: argparse.Namespace, dim: int, workers: int) -> float:
    """The least ratio asked for, 0 where none is."""
    isa = fastembed.isa.active()
    if args.cbow:
        return 10.0 if dim == 100 else 0.0
    if args.sharing == "pair":
        return 4.5 if dim == 100 else 0.0
    if args.sharing == "tile" and isa == "amx":
        amx = {(100, 1): 36.0, (100, 2): 30.0, (300, 1): 20.0, (300, 2): 25.0}
        half = {(100, 1): 42.0, (100, 2): 36.0}
        return (amx if args.precision == "float32" else amx | half).get((dim, workers), 0.0)
    if args.sharing == "tile" and dim == 100:
        return 20.0 if isa.startswith("avx512") else 10.0
    return {100: 8.0, 300: 6.0}.get(dim, 0.0)


class Rival:
    """gensim with its vocabulary built; `train` returns words/s of one epoch."""

    def __init__(self, path: Path, dim: int, workers: int, cbow: bool) -> None:
        from gensim.models import Word2Vec

        self.path = str(path)
        self.model = Word2Vec(
            vector_size=dim, window=5, negative=5, sample=1e-4, min_count=5, sg=int(not cbow), workers=workers, epochs=1
        )
        self.model.build_vocab(corpus_file=self.path)

    def vocabulary(self) -> dict[str, int]:
        return {word: self.model.wv.get_vecattr(word, "count") for word in self.model.wv.index_to_key}

    def train(self) -> float:
        started = time.perf_counter()
        self.model.train(
            corpus_file=self.path,
            total_words=self.model.corpus_total_words,
            total_examples=self.model.corpus_count,
            epochs=1,
        )
        return self.model.corpus_total_words / (time.perf_counter() - started)


def train_ours(corpus: Any, dim: int, workers: int, args: argparse.Namespace) -> tuple[float, float, dict[str, Any]]:
    """Words/s, FLOP/s and totals of one epoch."""
    trainer = _core.Trainer(
        ids=corpus.ids,
        offsets=corpus.offsets,
        counts=corpus.counts,
        vector_size=dim,
        sg=not args.cbow,
        negative_sharing=args.sharing,
        precision=args.precision,
        cbow_mean=True,
        shrink_windows=True,
        window=5,
        negative=5,
        epochs=1,
        alpha=0.025,
        min_alpha=1e-4,
        sample=1e-4,
        ns_exponent=0.75,
        seed=1,
        max_sentence_length=10_000,
    )
    started = time.perf_counter()
    totals = trainer.run_epoch(0, workers)
    seconds = time.perf_counter() - started
    # Score, both updates: three multiply-adds per pair, target and dimension (per center for CBOW, plus its sums).
    flops = totals["positive_count"] * 6 * 6 * dim
    return corpus.stats.raw_tokens / seconds, flops / seconds, dict(totals)


def compare(path: Path, corpus: Any, args: argparse.Namespace, dim: int, workers: int) -> float:
    rival = Rival(path, dim, workers, args.cbow)
    ours_vocabulary = dict(zip(corpus.words, corpus.counts.tolist(), strict=True))
    assert rival.vocabulary() == ours_vocabulary, "the two count different words"
    ours, theirs, flops, ratios = [], [], [], []

    def run_ours() -> float:
        words_per_second, flops_per_second, totals = train_ours(corpus, dim, workers, args)
        assert totals["token_count"] == len(corpus.ids), "not every word was trained"
        assert totals["loss"] / totals["positive_count"] < 0.9 * 6 * math.log(2), "the loss has not fallen"
        ours.append(words_per_second)
        flops.append(flops_per_second)
        return words_per_second

    before = run_ours()
    for _ in range(args.repeats):
        theirs.append(rival.train())
        after = run_ours()
        ratios.append((before + after) / 2 / theirs[-1])
        before = after
    share = statistics.median(flops) / (workers * args.peak)
    print(
        f"{dim:>4} {workers:>7}  {spread([o / 1e6 for o in ours]):>19}"
        f"  {spread([t / 1e3 for t in theirs], '{:.0f}'):>15}"
        f"  {spread(ratios, '{:.1f}'):>17}  {statistics.median(flops) / 1e9:>8.1f}  {share:>6.0%}",
        flush=True,
    )
    return statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[100, 300])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--lines", type=int, default=QUARTER_LINES, help="lines of the corpus; 0 is all")
    parser.add_argument("--cbow", action="store_true")
    parser.add_argument("--sharing", choices=["tile", "window", "pair"], default="tile")
    parser.add_argument("--precision", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--isa", default="", help="force an instruction set")
    parser.add_argument("--gate", action="store_true", help="exit 1 below the required ratios")
    args = parser.parse_args()

    force_isa(args.isa)
    path = unpacked_corpus(args.lines or None)
    corpus = encode_corpus(path, min_count=5)
    args.peak = fma_peak(fastembed.isa.active())
    mode = f"{'CBOW' if args.cbow else 'skip-gram'}, {args.sharing}, rows in {args.precision}"
    print(f"machine: {machine()}; kernels: {fastembed.isa.active()}; {mode}")
    print(
        f"corpus: {len(corpus.ids):,} words of {len(corpus.words):,} kinds; "
        f"FMA peak {args.peak / 1e9:.0f} GFLOP/s a core"
    )
    print(" dim workers   fastembed Mwords/s   gensim kwords/s              ratio   GFLOP/s  of peak")
    failed = []
    for dim in args.dims:
        for workers in args.workers:
            ratio = compare(path, corpus, args, dim, workers)
            gate = gate_of(args, dim, workers)
            if args.gate and ratio < gate:
                failed.append(f"{ratio:.1f}x at d={dim} with {workers} workers, {gate:g}x is asked for")
    if failed:
        sys.exit("below the gate: " + "; ".join(failed))


if __name__ == "__main__":
    main()
