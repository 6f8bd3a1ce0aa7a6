"""Quality of the vectors against gensim trained alike: WS-353, SimLex-999, Google analogies, on the whole real corpus.

    python bench/bench_quality.py                    # fastembed, window and pair, and gensim; one seed
    python bench/bench_quality.py --seeds 1 2 3 --no-gensim --gate

Skip-gram, d=100, window 5, negative 5, sample 1e-4, min_count 5, 5 epochs. With --gate the run fails when the default
mode's mean is below WS-353 0.63, SimLex 0.27 or analogies 38% (over the 30,000 most frequent words).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import fastembed
from common import machine, shared_path, unpacked_corpus

GATE = {"WS-353": 0.63, "SimLex": 0.27, "analogies": 0.38}


def scores(wv: fastembed.WordVectors) -> dict[str, float]:
    return {
        "WS-353": wv.evaluate_word_pairs(shared_path("eval", "EN-WS-353-ALL.txt")).spearman,
        "SimLex": wv.evaluate_word_pairs(shared_path("eval", "EN-SIMLEX-999.txt")).spearman,
        "analogies": wv.evaluate_analogies(shared_path("eval", "questions-words.txt"), restrict_vocab=30_000).accuracy,
    }


def train_ours(path: Path, sharing: str, seed: int, workers: int) -> fastembed.WordVectors:
    return fastembed.train_word2vec(
        path, sample=1e-4, negative_sharing=sharing, seed=seed, workers=workers, progress=False
    )


def train_gensim(path: Path, seed: int, workers: int) -> fastembed.WordVectors:
    from gensim.models import Word2Vec

    model = Word2Vec(corpus_file=str(path), sg=1, sample=1e-4, seed=seed, workers=workers)
    return fastembed.WordVectors(model.wv.vectors.copy(), list(model.wv.index_to_key))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--modes", nargs="+", choices=["window", "pair"], default=["window", "pair"])
    parser.add_argument("--no-gensim", action="store_true")
    parser.add_argument("--gate", action="store_true")
    args = parser.parse_args()

    path = unpacked_corpus()
    runs = {f"fastembed, {mode}": (lambda seed, m=mode: train_ours(path, m, seed, args.workers)) for mode in args.modes}
    if not args.no_gensim:
        runs["gensim"] = lambda seed: train_gensim(path, seed, args.workers)
    print(f"machine: {machine()}; kernels: {fastembed.isa.active()}; {args.workers} workers")
    print(f"{'':<20} {'seed':>6}  WS-353  SimLex  analogies  seconds (file to vectors)")
    failed = []
    for name, train in runs.items():
        table = []
        for seed in args.seeds:
            started = time.perf_counter()
            wv = train(seed)
            seconds = time.perf_counter() - started
            table.append(scores(wv))
            row = table[-1]
            print(
                f"{name:<20} {seed:>6}  {row['WS-353']:.3f}   {row['SimLex']:.3f}   {row['analogies']:.1%}"
                f"     {seconds:.0f}",
                flush=True,
            )
        means = {key: statistics.fmean(row[key] for row in table) for key in GATE}
        if args.gate and name == "fastembed, window":
            failed = [f"{key} {means[key]:.3f} < {floor}" for key, floor in GATE.items() if means[key] < floor]
    if failed:
        sys.exit("below the gate: " + "; ".join(failed))


if __name__ == "__main__":
    main()
