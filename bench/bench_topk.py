"""Exact top-k search beside numpy, torch, faiss, usearch, scikit-learn, scann and numkong, in one run.

    python bench/bench_topk.py                          # four sizes, batches of 1 to 2048, one and all workers
    python bench/bench_topk.py --quick                  # the two sizes at d=128, about a minute
    python bench/bench_topk.py --sizes 500000x768 --queries 256 --k 1 10 100 --data gaussian --metric l2
    python bench/bench_topk.py --storage float16        # our index in 16 bits, with its recall
    python bench/bench_topk.py --small                  # one query on 1,000 x 128, microseconds a call
    python bench/bench_topk.py --memory                 # memory beyond the index while searching

Every run of a rival stands between two of ours, and the ratio is taken of these neighbours, so that a drift of the
machine's speed cancels. All rivals run once; those near the best are timed again, and alone in the cells that follow.
Small batches get as many threads as suit the rival. "slow" are those whose run would have taken longer than --patience
(the most promising three run anyhow). Without --queries and --k, only cells that tell something are run. The answer is
asserted: for sampled queries scores and ids are those of the definition in float64, to the last bit; what share of
these ids a rival finds is its recall. With --storage the definition is that of the stored values, and our own recall
against float32, of all queries of the batch, is printed too. One query is held against the speed of a plain reader of
the same array, the best seen in the run, batches against the float32 peak, measured before each size: on a busy machine
both are too low.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

import fastembed
from common import code_peak, fma_peak, force_isa, machine, paired, spread, timed
from search_rivals import Blocked, Rival, make_rivals
from vectors import defined_topk, make_vectors

SIZES = ["100000x128", "1000000x128", "1000000x384", "500000x768"]
CHECKED = np.array([0, 7, 15, 100, 255, 1500])
NEAR_THE_BEST = 1.25
GAIN = 0.75  # exponent of the time of a batch over its size, for the guess whether a run would take too long
MEMORY_SCRIPT = """
import sys
import time
import numpy as np
sys.path[:0] = [{bench!r}]
from search_rivals import make_rivals
def memory(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))
name, rows, dim, batch, k = sys.argv[1], *map(int, sys.argv[2:])
index = np.random.default_rng(1).standard_normal((rows, dim), dtype=np.float32)
queries = np.random.default_rng(2).standard_normal((batch, dim), dtype=np.float32)
if name == "fastembed":
    import fastembed
    search = lambda asked: fastembed.topk(asked, index, k, metric="dot")
else:
    rival = make_rivals(index, "dot", [name])[0][0]
    rival.prepare(2)
    search = lambda asked: rival.search(asked, k)
search(queries[:1])
before = memory("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
result = search(queries)
print(memory("VmHWM") - before, before - index.nbytes)
"""


def read_speed(index: np.ndarray, workers: int) -> tuple[float, str]:
    """Bytes/s of the fastest plain reader of the array, and which it is."""
    flat = index.reshape(-1)
    parts = np.array_split(flat, workers)
    readers: dict[str, Callable[[np.ndarray], object]] = {
        "int64 sum": lambda part: part[: len(part) // 2 * 2].view(np.int64).sum(),
        "int64 or": lambda part: np.bitwise_or.reduce(part[: len(part) // 2 * 2].view(np.int64)),
        "float32 max": lambda part: part.max(),
    }
    best = (0.0, "")
    with ThreadPoolExecutor(workers) as pool:
        for name, reader in readers.items():
            for _ in range(4):
                seconds = timed(lambda reader=reader: list(pool.map(reader, parts)), 0.02)
                best = max(best, (index.nbytes / seconds, name))
    return best


@dataclass
class Cell:
    """Seconds of our runs and of each rival's, the fastest first; its ratios and recall; who would take too long."""

    own: list[float]
    rivals: dict[str, list[float]]
    ratios: dict[str, list[float]]
    recalls: dict[str, float]
    slow: list[str]


class Bench:
    """One index, ours and the rivals' copies of it, and what is known of their speed."""

    def __init__(self, rows: int, dim: int, kind: str, args: argparse.Namespace) -> None:
        self.args, self.kind, self.metric = args, kind, args.metric
        normalised = args.metric == "dot"
        self.vectors = make_vectors(kind, rows, dim, normalised)
        self.queries = make_vectors(kind, 2048, dim, normalised, seed=2)
        started = time.perf_counter()
        self.index = fastembed.Index(self.vectors, metric=args.metric, accelerate=args.accelerate, storage=args.storage)
        self.built = time.perf_counter() - started
        # Rivals without a cosine of their own get rows and queries that are normalised already.
        given = fastembed.normalize(self.vectors) if args.metric == "cosine" else self.vectors
        self.asked = fastembed.normalize(self.queries) if args.metric == "cosine" else self.queries
        self.rivals, self.missing = make_rivals(given, args.metric, args.rivals)
        most = min(100, rows)
        self.truth = defined_topk(self.queries[CHECKED], self.index.vectors, most, args.metric)
        # What rivals, which were given float32, and our own recall are held against.
        self.full = self.truth[1]
        self.full_ids = None
        if args.storage != "float32":
            self.full = defined_topk(self.queries[CHECKED], self.vectors, most, args.metric)[1]
            self.full_ids = fastembed.topk(self.queries, self.vectors, most, metric=args.metric).ids
            assert np.array_equal(self.full_ids[CHECKED], self.full)
        self.reading = {workers: read_speed(self.vectors, workers) for workers in args.workers}
        self.speeds: dict[tuple[str, int], tuple[int, float]] = {}
        self.leaders: dict[tuple[int, int], list[str]] = {}
        self.threads: dict[tuple[str, int, int], int] = {}

    def search(self, queries: np.ndarray, k: int, workers: int) -> fastembed.TopK:
        if self.args.plain:
            return fastembed.topk(queries, self.vectors, k, metric=self.metric, workers=workers)
        return self.index.search(queries, k, workers=workers)

    def check(self, scores: np.ndarray, ids: np.ndarray, k: int) -> None:
        for place, query in enumerate(CHECKED[len(ids) > CHECKED]):
            assert np.array_equal(ids[query], self.truth[1][place, :k]), f"wrong ids for query {query}"
            same = scores[query].view(np.int32) == self.truth[0][place, :k].view(np.int32)
            assert same.all(), f"scores of query {query} are not those of the definition"

    def recall(self, ids: np.ndarray, k: int) -> float:
        queries = CHECKED[len(ids) > CHECKED]
        return float(np.mean([np.isin(self.full[p, :k], ids[q]).mean() for p, q in enumerate(queries)]))

    def own_recall(self, batch: int, k: int) -> str:
        """The share of the k best in float32 that our index finds, if it keeps less than float32."""
        if self.full_ids is None:
            return ""
        found = self.search(self.queries[:batch], k, max(self.args.workers)).ids
        shares = [np.isin(best, ids).mean() for best, ids in zip(self.full_ids[:batch, :k], found, strict=True)]
        return f"  recall@{k} {np.mean(shares):.4f}"

    def tune(self, rival: Rival, queries: np.ndarray, k: int, workers: int) -> None:
        """Choose the number of threads of small batches and the block size of a blocked rival, once for each batch."""
        if workers > 1 and len(queries) <= 16 and (rival.name, len(queries), workers) not in self.threads:
            rates = {}
            for threads in (1, workers):
                rival.prepare(threads)
                rival.search(queries, k)
                rates[threads] = timed(lambda: rival.search(queries, k))
            self.threads[rival.name, len(queries), workers] = min(rates, key=rates.__getitem__)
            rival.prepare(self.threads[rival.name, len(queries), workers])
        workers = rival.workers
        if isinstance(rival, Blocked) and (len(queries), workers) not in rival.best:
            sizes = rival.choices(len(queries))
            if len(sizes) > 1:
                rates = {size: timed(lambda size=size: rival.search(queries, k, size), 0.02) for size in sizes}
                rival.best[len(queries), workers] = min(rates, key=rates.__getitem__)
            else:
                rival.best[len(queries), workers] = sizes[0]

    def expected(self, rival: Rival, batch: int, workers: int) -> float:
        """Seconds of a batch, guessed from the last smaller one: products gain by larger batches."""
        known = self.speeds.get((rival.name, workers))
        return 0.0 if known is None else known[1] * max(1.0, batch / known[0]) ** GAIN

    def chosen(self, batch: int, workers: int) -> list[Rival]:
        """All rivals for the first cell of a batch size, the best of it for the others."""
        names = self.leaders.get((batch, workers)) or self.leaders.get((256 if batch > 256 else batch, workers))
        return [rival for rival in self.rivals if names is None or rival.name in names]

    def cell(self, batch: int, k: int, workers: int) -> Cell:
        queries, asked = self.queries[:batch], self.asked[:batch]
        rivals = self.chosen(batch, workers)
        promising = sorted(rivals, key=lambda rival: self.expected(rival, batch, workers))
        slow = [r.name for r in promising[3:] if self.expected(r, batch, workers) > self.args.patience]
        rivals = [rival for rival in rivals if rival.name not in slow]
        found: dict[str, np.ndarray] = {}
        tuned: set[str] = set()

        def prepare(rival: Rival) -> None:
            rival.prepare(self.threads.get((rival.name, batch, workers), workers))
            if rival.name not in tuned:
                self.tune(rival, asked, k, workers)
                tuned.add(rival.name)

        def run(rival: Rival) -> float:
            return timed(lambda: found.__setitem__(rival.name, rival.search(asked, k)))

        self.check(*self.search(queries, k, workers), k)
        own, seconds, ratios = paired(
            lambda: timed(lambda: self.search(queries, k, workers)),
            {rival.name: (partial(prepare, rival), partial(run, rival)) for rival in rivals},
            self.args.repeats,
            NEAR_THE_BEST,
        )
        ranked = sorted(seconds, key=lambda name: statistics.median(seconds[name]))
        for name in ranked:
            self.speeds[name, workers] = (batch, min(seconds[name]))
        near = [name for name in ranked if min(seconds[name]) <= NEAR_THE_BEST * min(seconds[ranked[0]])]
        self.leaders.setdefault((batch, workers), near[:2])
        recalls = {name: self.recall(ids, k) for name, ids in found.items()}
        return Cell(own, {name: seconds[name] for name in ranked}, ratios, recalls, slow)

    def survivors(self, batch: int, k: int, workers: int) -> str:
        """What is left of the rows after each stage of our search, a query."""
        state, queries = self.index._rows.state, self.queries[:batch]
        found = np.empty((batch, k), np.float32), np.empty((batch, k), np.int64)
        counts = np.zeros(4, np.int64)
        codes = None if state.coded is None else state.coded.core
        accelerate = self.args.accelerate != "none"
        fastembed._core.search_topk(
            queries, state.vectors, self.metric, *found, norms=state.norms, workers=workers, codes=codes,
            accelerate=accelerate, counts=counts,
        )  # fmt: skip
        sampled, candidates, refused, scored = counts / batch
        refined = f"{candidates - refused:,.0f} by their residuals too, " if refused else ""
        return (
            f"a query: {sampled:,.0f} scored in a sample, {candidates:,.0f} candidates, {refined}{scored:,.0f} scored"
        )

    def report(self, batch: int, k: int, workers: int) -> None:
        rows, dim = self.vectors.shape
        cell = self.cell(batch, k, workers)
        seconds = statistics.median(cell.own)
        plan = self.index.plan(k, batch)
        if batch == 1:
            self.reading[workers] = max(self.reading[workers], read_speed(self.vectors, workers))
            rate = plan.scan_bytes / seconds
            of = f"{rate / 1e9:6.1f} GB/s {rate / self.reading[workers][0]:4.0%} of reading"
        else:
            flops = 2.0 * rows * dim * batch / seconds
            # Products of bfloat16 have no measured peak of their own: a share of float32's may be above 100%.
            kind, peak = ("int8", self.args.code_peak) if plan.scan == "int8" else ("float32", self.args.peak)
            of = f"{flops / 1e9:6.0f} GOP/s {flops / (workers * peak):4.0%} of {kind} peak"
        line = f"{batch:>5} {k:>4} {workers:>2}  {spread([batch / s for s in cell.own], '{:,.0f}'):>28}  {of:>34}"
        rates = {name: f"{batch / statistics.median(taken):,.0f}" for name, taken in cell.rivals.items()}
        for best in list(rates)[:1]:
            line += f"  {best:>10} {rates[best]:>8}  {spread(cell.ratios[best]):>19}"
        print(line + self.own_recall(batch, k), flush=True)
        others = [
            f"{name} {rate}" + (f" (recall {cell.recalls[name]:.3f})" if cell.recalls[name] < 1 else "")
            for name, rate in rates.items()
        ]
        if not self.args.plain:
            print("      " + self.survivors(batch, k, workers))
        if len(others) > 1 or cell.slow or "recall" in "".join(others):
            print("      " + ", ".join(others + [f"{name} slow" for name in cell.slow]), flush=True)


def cells(args: argparse.Namespace) -> list[tuple[int, int, int]]:
    """(queries, k, workers): all that were asked for, or those that tell something."""
    if args.queries or args.k:
        batches, counts = args.queries or [1, 16, 256, 2048], args.k or [10]
        return [(batch, k, workers) for workers in args.workers for batch in batches for k in counts]
    most, chosen = max(args.workers), []
    for workers in sorted(args.workers, reverse=True):
        if workers == most:
            chosen += [(1, 10, workers), (1, 1, workers), (1, 100, workers), (16, 10, workers)]
            chosen += [(256, 10, workers), (256, 1, workers), (256, 100, workers)]
            chosen += [] if args.quick else [(2048, 10, workers)]
        else:
            chosen += [(1, 10, workers), (16, 10, workers), (256, 10, workers)]
    return chosen


def compare(rows: int, dim: int, kind: str, args: argparse.Namespace) -> None:
    bench = Bench(rows, dim, kind, args)
    missing = f"; not installed: {', '.join(bench.missing)}" if bench.missing else ""
    print(f"\n{rows:,} x {dim}, {kind}, {args.metric}{missing}")
    for workers, (speed, reader) in bench.reading.items():
        print(f"plain reading with {workers} threads: {speed / 1e9:.1f} GB/s ({reader})")
    plan = bench.index.plan(10, 256)
    made = f"Index in {bench.index.storage} made in {bench.built:.2f} s"
    print(f"{made} ({bench.vectors.nbytes / bench.built / 1e9:.1f} GB/s); {plan}")
    print(f"    Q    k  w           fastembed queries/s{'':33}best rival      q/s                ratio", flush=True)
    for batch, k, workers in cells(args):
        bench.report(batch, k, workers)


def measure_small(args: argparse.Namespace) -> None:
    """Microseconds of one query on 1,000 x 128, k=10."""
    vectors = make_vectors("realistic", 1000, 128)
    query = make_vectors("realistic", 1, 128, seed=2)
    index = fastembed.Index(vectors, metric="dot")
    rivals, _ = make_rivals(vectors, "dot", args.rivals)
    truth = defined_topk(query, vectors, 10, "dot")
    calls: dict[str, Callable[[], object]] = {
        "Index.search": lambda: index.search(query[0], 10),
        "topk": lambda: fastembed.topk(query[0], vectors, 10, metric="dot"),
        "topk, 1 worker": lambda: fastembed.topk(query[0], vectors, 10, metric="dot", workers=1),
    }
    for rival in rivals:
        calls[rival.name] = lambda rival=rival: rival.search(query, 10)
    assert np.array_equal(index.search(query, 10).ids, truth[1]) and np.array_equal(
        index.search(query, 10).scores, truth[0]
    )
    print("\none query, 1,000 x 128, k=10: microseconds a call")
    by_name = {rival.name: rival for rival in rivals}
    for name, call in calls.items():
        if name in by_name:
            by_name[name].prepare(1)
        call()
        print(f"{name:>16}  {spread([1e6 * timed(call, 0.03) for _ in range(9)], '{:.1f}'):>22}", flush=True)


def measure_memory(args: argparse.Namespace) -> None:
    """Growth of the resident memory while searching 1M x 128, and what was held before beside the array."""
    print("\n1,000,000 x 128, 256 queries, k=10: MB while searching; MB held before (interpreter, libraries, copies)")
    script = MEMORY_SCRIPT.format(bench=sys.path[0])
    for name in [
        "fastembed",
        *(args.rivals or ["numpy", "torch", "faiss", "faiss+blas", "usearch", "scann", "numkong"]),
    ]:
        command = [sys.executable, "-c", script, name, "1000000", "128", "256", "10"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            print(f"{name:>12}  {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
            continue
        peak, held = map(int, done.stdout.split())
        print(f"{name:>12}  {peak / 1e6:>8,.0f}  {held / 1e6:>8,.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=None, help="rows x dim, such as 100000x128")
    parser.add_argument("--data", nargs="+", choices=["realistic", "gaussian", "clusters"], default=["realistic"])
    parser.add_argument("--queries", type=int, nargs="+", default=None, help="sizes of the batches, at most 2048")
    parser.add_argument("--k", type=int, nargs="+", default=None, help="at most 100")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--metric", choices=["dot", "cosine", "l2"], default="dot")
    parser.add_argument("--plain", action="store_true", help="our topk on the array in place of an Index")
    parser.add_argument("--accelerate", choices=["auto", "none", "int8", "bf16"], default="auto", help="of our index")
    parser.add_argument(
        "--storage", choices=["float32", "float16", "bfloat16", "int8"], default="float32", help="of our index"
    )
    parser.add_argument("--rivals", nargs="+", default=[], help="only these")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--patience", type=float, default=3.0, help="seconds a run of a rival may take")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--small", action="store_true", help="only the small call")
    parser.add_argument("--memory", action="store_true", help="only the memory")
    parser.add_argument("--isa", default="", help="force an instruction set")
    args = parser.parse_args()
    if args.plain and args.storage != "float32":
        parser.error("--plain has no Index, so no --storage")
    args.sizes = args.sizes or (SIZES[:2] if args.quick else SIZES)

    force_isa(args.isa)
    args.peak = fma_peak(fastembed.isa.active())
    args.code_peak = code_peak(fastembed.isa.active())
    print(f"machine: {machine()}; kernels: {fastembed.isa.active()}")
    print(f"peaks a core: {args.peak / 1e9:.0f} GFLOP/s float32, {args.code_peak / 1e9:.0f} GOP/s int8")
    if args.memory:
        measure_memory(args)
    elif args.small:
        measure_small(args)
    else:
        for size in args.sizes:
            for kind in args.data:
                args.peak = max(args.peak, fma_peak(fastembed.isa.active()))
                compare(*map(int, size.split("x")), kind, args)
        measure_small(args)


if __name__ == "__main__":
    main()
