"""Similarity matrices beside numpy, torch, scikit-learn, scipy and numkong, in one run.

    python bench/bench_similarity.py                     # 2,000 x 20,000 at d=128, 384 and 768, and small ones
    python bench/bench_similarity.py --quick             # d=128 and 768, two workers
    python bench/bench_similarity.py --sizes 100x100 --dims 300 --metrics l2 --workers 1

Every run of a rival stands between two of ours, and the ratio is taken of these neighbours. "dot" is the product alone,
"cosine" normalises both arguments in the call, "l2" is the squared distance. "into out" writes to an array that is
there already; a new one costs its pages. The answer is asserted against the scores in float64, of sampled rows and of
ours and the rivals: GFLOP/s count the product alone, against the float32 peak.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

import fastembed
from common import fma_peak, force_isa, machine, paired, spread, timed
from search_rivals import limit_blas
from vectors import make_vectors

NEAR_THE_BEST = 1.25
Call = Callable[[np.ndarray, np.ndarray, "np.ndarray | None"], Any]


def normalised(rows: np.ndarray) -> np.ndarray:
    return rows / np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]


def numpy_calls() -> dict[str, Call]:
    def distances(a: np.ndarray, b: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        scores = np.matmul(a, b.T, out=out)
        scores *= -2
        scores += np.einsum("ij,ij->i", a, a)[:, None]
        scores += np.einsum("ij,ij->i", b, b)
        return scores

    return {
        "dot": lambda a, b, out: np.matmul(a, b.T, out=out),
        "cosine": lambda a, b, out: np.matmul(normalised(a), normalised(b).T, out=out),
        "l2": distances,
    }


def torch_calls() -> dict[str, Call]:
    import torch

    def product(a: Any, b: Any, out: np.ndarray | None) -> Any:
        return torch.mm(a, b.T) if out is None else torch.mm(a, b.T, out=torch.from_numpy(out))

    def tensors(a: np.ndarray, b: np.ndarray) -> tuple[Any, Any]:
        return torch.from_numpy(a), torch.from_numpy(b)

    def cosine(a: np.ndarray, b: np.ndarray, out: np.ndarray | None) -> Any:
        return product(*(torch.nn.functional.normalize(rows) for rows in tensors(a, b)), out)

    return {
        "dot": lambda a, b, out: product(*tensors(a, b), out),
        "cosine": cosine,
        "l2": lambda a, b, out: torch.cdist(*tensors(a, b)).square_(),
    }


def sklearn_calls() -> dict[str, Call]:
    from sklearn import set_config
    from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances, linear_kernel

    set_config(assume_finite=True)
    return {
        "dot": lambda a, b, out: linear_kernel(a, b),
        "cosine": lambda a, b, out: cosine_similarity(a, b),
        "l2": lambda a, b, out: euclidean_distances(a, b, squared=True),
    }


def scipy_calls() -> dict[str, Call]:
    from scipy.spatial.distance import cdist

    return {
        "cosine": lambda a, b, out: 1 - cdist(a, b, "cosine"),
        "l2": lambda a, b, out: cdist(a, b, "sqeuclidean"),
    }


def numkong_calls() -> dict[str, Call]:
    """One thread: it has none of its own."""
    import numkong

    return {
        "dot": lambda a, b, out: np.asarray(numkong.dots_packed(a, numkong.dots_pack(b, "float32"))),
        "cosine": lambda a, b, out: 1 - np.asarray(numkong.angulars_packed(a, numkong.dots_pack(b, "float32"))),
    }


SOURCES = {
    "numpy": numpy_calls,
    "torch": torch_calls,
    "sklearn": sklearn_calls,
    "scipy": scipy_calls,
    "numkong": numkong_calls,
}
TAKES_OUT = {"numpy", "torch"}


def set_threads(name: str, workers: int) -> None:
    limit_blas(workers)
    if name == "torch":
        import torch

        torch.set_num_threads(workers)


def check(name: str, scores: Any, a: np.ndarray, b: np.ndarray, metric: str) -> None:
    """Sampled rows against float64: within the rounding of float32 products and of a sum in any order."""
    rows = np.linspace(0, len(a) - 1, 3).astype(int)
    q, x = a[rows].astype(np.float64), b.astype(np.float64)
    squares = np.einsum("ij,ij->i", q, q)[:, None], np.einsum("ij,ij->i", x, x)
    lengths = np.sqrt(squares[0]) * np.sqrt(squares[1])
    wanted = q @ x.T
    slack = 2 * a.shape[1] * np.finfo(np.float32).eps * lengths
    if metric == "cosine":
        wanted, slack = wanted / lengths, slack / lengths
    elif metric == "l2":
        wanted = squares[0] - 2 * wanted + squares[1]
        slack = 2 * slack + 4 * np.finfo(np.float32).eps * (squares[0] + squares[1])
    error = np.abs(np.asarray(scores)[rows] - wanted)
    assert (error <= slack).all(), f"{name} is {(error / slack).max():.1f} times as far off as rounding explains"


def compare(
    size: tuple[int, int], dim: int, metric: str, workers: int, into_out: bool, args: argparse.Namespace
) -> list[str]:
    """One line on one cell; names what is not installed."""
    a, b = make_vectors("realistic", size[0], dim, False, seed=2), make_vectors("realistic", size[1], dim, False)
    out = np.empty(size, dtype=np.float32) if into_out else None
    rivals: dict[str, Call] = {}
    missing = []
    for name, source in SOURCES.items():
        if (args.rivals and name not in args.rivals) or (into_out and name not in TAKES_OUT):
            continue
        try:
            calls = source()
        except ImportError:
            missing.append(name)
            continue
        if metric in calls:
            rivals[name] = calls[metric]

    def ours() -> Any:
        return fastembed.similarity(a, b, metric=metric, out=out, workers=workers)

    check("fastembed", ours(), a, b, metric)
    for name, call in rivals.items():
        set_threads(name, workers)
        check(name, call(a, b, out), a, b, metric)
    # Both pay for the pages of a new result, so none is kept between runs.
    own, seconds, ratios = paired(
        lambda: timed(ours),
        {
            name: (lambda name=name: set_threads(name, workers), lambda call=call: timed(lambda: call(a, b, out)))
            for name, call in rivals.items()
        },
        args.repeats,
        NEAR_THE_BEST,
    )
    took = statistics.median(own)
    flops = 2.0 * size[0] * size[1] * dim / took
    speed = f"{flops / 1e9:5.0f} {flops / (workers * args.peak):4.0%}"
    line = f"{size[0]:>5,} x {size[1]:<6,} {dim:>4} {metric:>6} {'out' if into_out else 'new':>4} {workers:>2}"
    line += f"  {spread([1e3 * s for s in own], '{:.3g}'):>22}  {speed}"
    if seconds:
        best = min(seconds, key=lambda name: statistics.median(seconds[name]))
        line += f"  {best:>8} {spread(ratios[best]):>19}"
        others = [f"{name} {1e3 * statistics.median(took):.3g}" for name, took in seconds.items()]
        line += f"   {', '.join(others)}"
    print(line, flush=True)
    return missing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["2000x20000", "100x100", "1x1000"])
    parser.add_argument("--dims", type=int, nargs="+", default=None)
    parser.add_argument("--metrics", nargs="+", choices=["dot", "cosine", "l2"], default=["dot", "cosine"])
    parser.add_argument("--workers", type=int, nargs="+", default=None)
    parser.add_argument("--rivals", nargs="+", default=[], help="only these")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--isa", default="", help="force an instruction set")
    args = parser.parse_args()

    force_isa(args.isa)
    args.peak = fma_peak(fastembed.isa.active())
    print(f"machine: {machine()}; kernels: {fastembed.isa.active()}; FMA peak {args.peak / 1e9:.0f} GFLOP/s a core")
    print("          size  dim metric out  w            fastembed ms  GFLOP/s, peak  best rival, ratio, ms of each")
    missing: set[str] = set()
    for text in args.sizes:
        rows, columns = map(int, text.split("x"))
        large = rows * columns > 1_000_000
        for dim in args.dims or ([128, 768] if args.quick else [128, 384, 768]):
            args.peak = max(args.peak, fma_peak(fastembed.isa.active()))
            for workers in args.workers or ([1, 2] if large and not args.quick else [2 if large else 1]):
                for metric in args.metrics:
                    missing.update(compare((rows, columns), dim, metric, workers, False, args))
                if large and "dot" in args.metrics:
                    compare((rows, columns), dim, "dot", workers, True, args)
    if missing:
        print(f"not installed: {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main()
