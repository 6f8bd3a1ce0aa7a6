"""Training at scale: a large vocabulary beside gensim, peak memory, and file to saved vectors.

    python bench/bench_scale.py                 # words/s with 900k words, d=100, 2 workers, beside gensim
    python bench/bench_scale.py --memory        # peak memory of training 1M words x 300
    python bench/bench_scale.py --end-to-end    # from a text file to saved vectors, 5 epochs, beside gensim
    python bench/bench_scale.py --end-to-end --lines 49339 --repeats 3    # the same on the first lines

Both train skip-gram with window 5, negative 5 and sample 1e-4; gensim in its fastest mode (`corpus_file`). Every run of
gensim stands between two of ours in each mode, and ratios are taken of the neighbours, so that a drift of the machine's
speed cancels. "a CPU second" divides by the processor time of all threads instead of the clock, which other programs
disturb less. The answer is asserted: the same vocabulary, every word trained, a loss below the untrained one.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastembed
from bench_corpus import many_types
from common import machine, spread, unpacked_corpus
from fastembed import _core
from fastembed._corpus import EncodedCorpus, encode_corpus

MODES = {"tile float32": ("tile", "float32"), "tile bfloat16": ("tile", "bfloat16"), "window": ("window", "float32")}
MEMORY_SCRIPT = """
import resource, sys
import numpy as np, fastembed
words, dim, sharing, precision = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
ids = np.concatenate([np.arange(words, dtype=np.int32)] * 2)
offsets = np.arange(0, len(ids) + 1, 1000)
vectors = fastembed.train_word2vec((ids, offsets), vector_size=dim, epochs=1, min_count=1, workers=2, sample=0,
                                   negative_sharing=sharing, precision=precision, progress=False)
assert vectors.vectors.shape == vectors.output_vectors.shape == (words, dim)
needed = vectors.vectors.nbytes + vectors.output_vectors.nbytes + ids.nbytes + offsets.nbytes
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, needed)
"""


@dataclass
class Run:
    """What one training took."""

    seconds: float
    cpu_seconds: float


def timed(work: Callable[[], Any]) -> Run:
    started, used = time.perf_counter(), time.process_time()
    work()
    return Run(time.perf_counter() - started, time.process_time() - used)


def beside(ours: dict[str, Callable[[], Run]], rival: Callable[[], Run] | None, repeats: int) -> dict[str, list[Run]]:
    """Runs in turn: ours, the rival, ours, the rival, ..., ours."""
    runs: dict[str, list[Run]] = {name: [] for name in (*ours, "gensim")}
    for turn in range(repeats + 1):
        for name, work in ours.items():
            runs[name].append(work())
        if turn < repeats and rival is not None:
            runs["gensim"].append(rival())
    return runs


def ratios(ours: list[Run], theirs: list[Run], of: Callable[[Run], float]) -> str:
    if not theirs:
        return "-"
    pairs = zip(theirs, ours[:-1], ours[1:], strict=True)
    return spread([2 * of(other) / (of(before) + of(after)) for other, before, after in pairs], "{:.1f}")


def report(runs: dict[str, list[Run]], words: int) -> None:
    print(f"{'':16}{'Mwords/s':>18}{'Mwords a CPU s':>18}{'x gensim, clock':>20}{'x gensim, CPU time':>20}")
    for name, own in runs.items():
        if not own:
            continue
        clock = spread([words / run.seconds / 1e6 for run in own])
        cpu = spread([words / run.cpu_seconds / 1e6 for run in own])
        theirs = runs["gensim"] if name != "gensim" else []
        by_clock, by_cpu = (ratios(own, theirs, of) for of in (lambda r: r.seconds, lambda r: r.cpu_seconds))
        print(f"{name:16}{clock:>18}{cpu:>18}{by_clock:>20}{by_cpu:>20}", flush=True)


def gensim_model(path: Path, args: argparse.Namespace, min_count: int, epochs: int) -> Any:
    from gensim.models import Word2Vec

    return Word2Vec(
        vector_size=args.dim,
        window=5,
        negative=5,
        sample=1e-4,
        min_count=min_count,
        sg=1,
        workers=args.workers,
        epochs=epochs,
    )


def train_ours(corpus: EncodedCorpus, args: argparse.Namespace, sharing: str, precision: str) -> Run:
    trainer = _core.Trainer(
        ids=corpus.ids,
        offsets=corpus.offsets,
        counts=corpus.counts,
        vector_size=args.dim,
        sg=True,
        negative_sharing=sharing,
        precision=precision,
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
    totals: dict[str, Any] = {}
    run = timed(lambda: totals.update(trainer.run_epoch(0, args.workers)))
    assert totals["token_count"] == len(corpus.ids), "not every word was trained"
    assert totals["loss"] / totals["positive_count"] < 0.95 * 6 * math.log(2), "the loss has not fallen"
    return run


def compare_speed(args: argparse.Namespace) -> None:
    """Words/s of one epoch of the training phase alone, every word of the text in the vocabulary."""
    path = many_types(args.words)
    corpus = encode_corpus(path, min_count=1)
    print(f"\n{len(corpus.ids):,} words of {len(corpus.words):,} kinds, d={args.dim}, {args.workers} workers")
    rival = None
    if not args.alone:
        model = gensim_model(path, args, min_count=1, epochs=1)
        model.build_vocab(corpus_file=str(path))
        assert len(model.wv) == len(corpus.words), "the two know different words"

        def rival() -> Run:
            total = model.corpus_total_words
            counts = {"total_words": total, "total_examples": model.corpus_count}
            return timed(lambda: model.train(corpus_file=str(path), epochs=1, **counts))

    ours = {name: (lambda mode=mode: train_ours(corpus, args, *mode)) for name, mode in MODES.items()}
    report(beside(ours, rival, args.repeats), len(corpus.ids))


def measure_memory() -> None:
    for name, (sharing, precision) in MODES.items():
        command = [sys.executable, "-c", MEMORY_SCRIPT, "1000000", "300", sharing, precision]
        peak, needed = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
        print(f"{name:16}peak {peak / 1e6:,.0f} MB, matrices and corpus {needed / 1e6:,.0f} MB: {peak / needed:.3f} x")


def compare_end_to_end(args: argparse.Namespace) -> None:
    """From the text to the saved vectors: vocabulary, training and writing."""
    path = unpacked_corpus(args.lines or None)
    found: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:

        def ours(sharing: str, precision: str) -> None:
            vectors = fastembed.train_word2vec(
                path,
                vector_size=args.dim,
                sample=1e-4,
                epochs=args.epochs,
                workers=args.workers,
                negative_sharing=sharing,
                precision=precision,
                progress=False,
            )
            vectors.save(Path(folder, "ours"))
            found["ours"] = len(vectors)
            found["words"] = int(vectors.counts.sum()) if vectors.counts is not None else 0
            assert vectors.history[-1]["loss"] < 0.9 * 6 * math.log(2), "the loss has not fallen"

        def theirs() -> None:
            model = gensim_model(path, args, min_count=5, epochs=args.epochs)
            model.build_vocab(corpus_file=str(path))
            counts = {"total_words": model.corpus_total_words, "total_examples": model.corpus_count}
            model.train(corpus_file=str(path), epochs=args.epochs, **counts)
            model.wv.save(str(Path(folder, "theirs")))
            found["theirs"] = len(model.wv)

        modes = {name: (lambda mode=mode: timed(lambda: ours(*mode))) for name, mode in MODES.items()}
        runs = beside(modes, None if args.alone else lambda: timed(theirs), args.repeats)
    assert args.alone or found["ours"] == found["theirs"], "the two know different words"
    print(f"\n{path.name}: {args.epochs} epochs, {found['ours']:,} words, d={args.dim}, {args.workers} workers")
    for name, own in runs.items():
        if own:
            print(f"{name:16}{statistics.median(run.seconds for run in own):.2f} s")
    report(runs, args.epochs * found["words"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--end-to-end", action="store_true")
    parser.add_argument("--alone", action="store_true", help="without gensim")
    parser.add_argument("--words", type=int, default=900_000, help="size of the synthetic vocabulary")
    parser.add_argument("--lines", type=int, default=0, help="lines of the real corpus; 0 is all")
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=5, help="for --end-to-end")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2, help="runs of gensim")
    args = parser.parse_args()
    print(f"{machine()}; kernels: {fastembed.isa.active()}")
    if args.memory:
        measure_memory()
    elif args.end_to_end:
        compare_end_to_end(args)
    else:
        compare_speed(args)


if __name__ == "__main__":
    main()
