"""Quality of the vectors in every mode and precision, against "pair" (word2vec.c's algorithm) and gensim.

    python bench/bench_quality.py                              # one seed of every mode, and gensim
    python bench/bench_quality.py --seeds 1 2 3 4 5 --gate     # the gate: half an hour on two cores
    python bench/bench_quality.py --half 1                     # on one half of the corpus
    python bench/bench_quality.py --lines 49339 --epochs 30    # a long training on its first quarter: do rows drift?

WS-353 and SimLex-999 (Spearman), Google analogies over the 30,000 most frequent words. Skip-gram (or --cbow), d=100,
window 5, negative 5, sample 1e-4, min_count 5, 5 epochs, on the real corpus or one half of its lines. With --gate the
run fails when a mode's mean over the seeds lies more than 0.01 (analogies: 1 point) below that of "pair" or of gensim,
or, on the whole corpus, the default mode's below WS-353 0.63, SimLex 0.27 or analogies 38%.
Means are given with their standard errors. --results FILE keeps what was measured, so that a long table can be made in
several runs.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import fastembed
from common import machine, shared_path, unpacked_corpus

FLOOR = {"WS-353": 0.63, "SimLex": 0.27, "analogies": 0.38}
MARGIN = 0.01
MODES = {
    "pair": {"negative_sharing": "pair"},
    "window": {"negative_sharing": "window"},
    "tile": {"negative_sharing": "tile"},
    "tile, bfloat16 rows": {"negative_sharing": "tile", "precision": "bfloat16"},
    "tile, float16 rows": {"negative_sharing": "tile", "precision": "float16"},
}
DEFAULT = "tile"


def scores(wv: fastembed.WordVectors) -> dict[str, float]:
    return {
        "WS-353": wv.evaluate_word_pairs(shared_path("eval", "EN-WS-353-ALL.txt")).spearman,
        "SimLex": wv.evaluate_word_pairs(shared_path("eval", "EN-SIMLEX-999.txt")).spearman,
        "analogies": wv.evaluate_analogies(shared_path("eval", "questions-words.txt"), restrict_vocab=30_000).accuracy,
    }


def train_ours(path: Path, mode: str, seed: int, args: argparse.Namespace) -> fastembed.WordVectors:
    options = {**MODES[mode], **({} if args.alpha is None else {"alpha": args.alpha})}
    options["deterministic"] = args.deterministic
    return fastembed.train_word2vec(
        path,
        sg=not args.cbow,
        sample=1e-4,
        epochs=args.epochs,
        seed=seed,
        workers=args.workers,
        progress=False,
        **options,
    )


def train_gensim(path: Path, seed: int, args: argparse.Namespace) -> fastembed.WordVectors:
    from gensim.models import Word2Vec

    model = Word2Vec(
        corpus_file=str(path), sg=int(not args.cbow), sample=1e-4, epochs=args.epochs, seed=seed, workers=args.workers
    )
    return fastembed.WordVectors(model.wv.vectors.copy(), list(model.wv.index_to_key))


class Results:
    """Rows by (corpus, mode, settings, seed), kept in a file of JSON lines if one is named."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self.rows = {record["key"]: record["row"] for record in map(json.loads, lines)}

    def get(self, key: str, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        if key not in self.rows:
            self.rows[key] = measure()
            if self.path is not None:
                with self.path.open("a") as file:
                    file.write(json.dumps({"key": key, "row": self.rows[key]}) + "\n")
        return self.rows[key]


def table_of(name: str, train: Callable[[int], fastembed.WordVectors], results: Results, args: argparse.Namespace):
    rows = []
    for seed in args.seeds:

        def measure(seed: int = seed) -> dict[str, float]:
            started = time.perf_counter()
            wv = train(seed)
            return {"seconds": time.perf_counter() - started, **scores(wv)}

        settings = "" if name == "gensim" else f" alpha={args.alpha or 'default'}"
        settings += " deterministic" if args.deterministic and name != "gensim" else ""
        part = f"half={args.half}" if args.lines is None else f"lines={args.lines}"
        key = f"{'cbow' if args.cbow else 'sg'} {part} epochs={args.epochs}{settings} {name} seed={seed}"
        row = results.get(key, measure)
        rows.append(row)
        cells = f"{row['WS-353']:.3f}   {row['SimLex']:.3f}   {row['analogies']:>9.1%}   {row['seconds']:>7.0f}"
        print(f"{name:<20} {seed:>5}  {cells}", flush=True)
    return rows


def mean(rows: list[dict[str, float]], key: str) -> float:
    return statistics.fmean(row[key] for row in rows)


def standard_error(rows: list[dict[str, float]], key: str) -> float:
    """Of the mean; nan for a single row."""
    return statistics.stdev(row[key] for row in rows) / len(rows) ** 0.5 if len(rows) > 1 else math.nan


def failures(means: dict[str, dict[str, float]], args: argparse.Namespace) -> list[str]:
    found = []
    for name, row in means.items():
        for rival in ("pair", "gensim"):
            if name == "gensim" or rival not in means:
                continue
            found += [
                f"{name}: {key} {row[key]:.3f} is below {rival}'s {means[rival][key]:.3f}"
                for key in FLOOR
                if row[key] < means[rival][key] - MARGIN
            ]
    if DEFAULT in means and args.half == 0 and args.lines is None and not args.cbow:
        found += [f"{DEFAULT}: {key} < {floor}" for key, floor in FLOOR.items() if means[DEFAULT][key] < floor]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=None)
    text = parser.add_mutually_exclusive_group()
    text.add_argument("--half", type=int, choices=[0, 1, 2], default=0, help="0: the whole corpus")
    text.add_argument("--lines", type=int, default=None, help="the first so many lines alone")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--alpha", type=float, default=None, help="of fastembed; gensim keeps its default, 0.025")
    parser.add_argument("--cbow", action="store_true")
    parser.add_argument("--deterministic", action="store_true")
    parser.add_argument("--no-gensim", action="store_true")
    parser.add_argument("--results", type=Path, default=None)
    parser.add_argument("--gate", action="store_true")
    args = parser.parse_args()

    path = unpacked_corpus(lines=args.lines, half=args.half)
    results = Results(args.results)
    print(f"machine: {machine()}; kernels: {fastembed.isa.active()}; {args.workers} workers")
    print(f"{'':<20}  seed  WS-353  SimLex   analogies   seconds (file to vectors)")
    tables = {}
    for mode in args.modes or MODES:
        tables[mode] = table_of(mode, lambda seed, m=mode: train_ours(path, m, seed, args), results, args)
    if not args.no_gensim:
        tables["gensim"] = table_of("gensim", lambda seed: train_gensim(path, seed, args), results, args)
    print(f"means of {len(args.seeds)} seeds, and their standard errors")
    for name, rows in tables.items():
        print(
            f"{name:<20}        "
            + "   ".join(f"{mean(rows, key):.4f} +- {standard_error(rows, key):.4f}" for key in FLOOR)
        )
    means = {name: {key: mean(rows, key) for key in FLOOR} for name, rows in tables.items()}
    found = failures(means, args) if args.gate else []
    if found:
        sys.exit("the gate: " + "; ".join(found))


if __name__ == "__main__":
    main()
