"""The libraries that bench_topk times beside fastembed, each behind the same two calls.

A rival keeps what it likes of the index (not timed), then `prepare(workers)` before a timed run and
`search(queries, k)`, which returns row numbers. For "cosine" they are given rows and queries normalised beforehand.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

PRODUCT_BYTES = 1 << 27


def limit_blas(workers: int) -> None:
    """Threads of every BLAS and OpenMP that is loaded."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return
    threadpool_limits(limits=workers)


class Rival:
    """What they have in common: the index, the metric, the number of workers."""

    name = ""

    def __init__(self, index: np.ndarray, metric: str) -> None:
        self.index, self.l2 = index, metric == "l2"
        self.workers = 1
        self.build()

    def build(self) -> None:
        """Import the library, which may raise ImportError, and make its index."""

    def prepare(self, workers: int) -> None:
        self.workers = workers
        limit_blas(workers)

    def search(self, queries: np.ndarray, k: int) -> np.ndarray:
        raise NotImplementedError


class Blocked(Rival):
    """A product and a partition for one block of rows after the other, each worker its own blocks; best block size."""

    def build(self) -> None:
        self.squares = np.einsum("ij,ij->i", self.index, self.index) if self.l2 else None
        self.pools: dict[int, ThreadPoolExecutor] = {}
        self.best: dict[tuple[int, int], int] = {}

    def prepare(self, workers: int) -> None:
        super().prepare(workers)
        limit_blas(1)
        self.pools.setdefault(workers, ThreadPoolExecutor(workers))

    def product(self, queries: np.ndarray, start: int, stop: int) -> np.ndarray:
        return queries @ self.index[start:stop].T

    def block(self, queries: np.ndarray, k: int, start: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        stop = min(start + rows, len(self.index))
        scores = self.product(queries, start, stop)
        if self.squares is not None:
            scores *= 2
            scores -= self.squares[start:stop]
        if scores.shape[1] > k:
            found = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:]
            return np.take_along_axis(scores, found, axis=1), found + start
        return scores, np.broadcast_to(np.arange(start, stop), scores.shape)

    def search(self, queries: np.ndarray, k: int, rows: int = 0) -> np.ndarray:
        rows = rows or self.best.get((len(queries), self.workers), 1 << 14)
        starts = range(0, len(self.index), rows)
        run = map if self.workers == 1 or len(starts) == 1 else self.pools[self.workers].map
        parts = list(run(lambda start: self.block(queries, k, start, rows), starts))
        scores, ids = (np.concatenate(column, axis=1) for column in zip(*parts, strict=True))
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(ids, order, axis=1)

    def choices(self, batch: int) -> list[int]:
        """Block sizes to try for a batch."""
        most = PRODUCT_BYTES // (4 * batch)
        sizes = [1 << 11, 1 << 14, 1 << 17, -(-len(self.index) // self.workers)]
        return sorted({size for size in sizes if k_fits(size, most, len(self.index))}) or [1 << 11]


def k_fits(size: int, most: int, rows: int) -> bool:
    return 1_000 <= size <= min(most, rows)


class NumPy(Blocked):
    name = "numpy"


class NumKong(Blocked):
    """Products with float64 accumulation; the selection is NumPy's."""

    name = "numkong"
    block_rows = 1 << 14

    def build(self) -> None:
        import numkong

        super().build()
        self.dots = numkong.dots_packed
        starts = range(0, len(self.index), self.block_rows)
        self.packed = [numkong.dots_pack(self.index[s : s + self.block_rows], "float32") for s in starts]

    def product(self, queries: np.ndarray, start: int, stop: int) -> np.ndarray:
        return np.asarray(self.dots(queries, self.packed[start // self.block_rows]))

    def choices(self, batch: int) -> list[int]:
        return [self.block_rows]


class Torch(Rival):
    name = "torch"

    def build(self) -> None:
        import torch

        self.torch = torch
        self.rows = torch.from_numpy(self.index)
        self.squares = (self.rows * self.rows).sum(1) if self.l2 else None

    def prepare(self, workers: int) -> None:
        super().prepare(workers)
        self.torch.set_num_threads(workers)

    def search(self, queries: np.ndarray, k: int) -> np.ndarray:
        torch, block = self.torch, max(PRODUCT_BYTES // (4 * len(queries)), 1 << 12)
        asked = torch.from_numpy(queries)
        scores, ids = [], []
        for start in range(0, len(self.index), block):
            part = asked @ self.rows[start : start + block].T
            if self.squares is not None:
                part = 2 * part - self.squares[start : start + block]
            best = part.topk(min(k, part.shape[1]), dim=1)
            scores.append(best.values)
            ids.append(best.indices + start)
        merged = torch.cat(scores, 1).topk(k, dim=1).indices
        return torch.cat(ids, 1).gather(1, merged).numpy()


class Faiss(Rival):
    name = "faiss"
    threshold = 0
    as_shipped = 0

    def build(self) -> None:
        import faiss

        self.faiss = faiss
        Faiss.as_shipped = Faiss.as_shipped or faiss.cvar.distance_compute_blas_threshold
        self.flat = (faiss.IndexFlatL2 if self.l2 else faiss.IndexFlatIP)(self.index.shape[1])
        self.flat.add(self.index)

    def prepare(self, workers: int) -> None:
        super().prepare(workers)
        self.faiss.omp_set_num_threads(workers)
        self.faiss.cvar.distance_compute_blas_threshold = self.threshold or self.as_shipped

    def search(self, queries: np.ndarray, k: int) -> np.ndarray:
        return self.flat.search(queries, k)[1]


class FaissBlas(Faiss):
    """The same index, with the number of queries from which BLAS is used lowered to 2."""

    name = "faiss+blas"
    threshold = 2

    @classmethod
    def beside(cls, shipped: Faiss) -> FaissBlas:
        """Shares the copy of the rows."""
        made = cls.__new__(cls)
        made.__dict__.update(shipped.__dict__)
        return made


class USearch(Rival):
    name = "usearch"

    def build(self) -> None:
        from usearch.index import search

        self.exact = search

    def search(self, queries: np.ndarray, k: int) -> np.ndarray:
        metric = "l2sq" if self.l2 else "ip"
        found = self.exact(self.index, queries, k, metric, exact=True, threads=self.workers)
        return found.keys.astype(np.int64).reshape(len(queries), k)


class ScikitLearn(Rival):
    """Its distances for brute force know no inner product: rows are normalised, so Euclidean gives the same order."""

    name = "sklearn"

    def build(self) -> None:
        from sklearn import set_config
        from sklearn.neighbors import NearestNeighbors

        set_config(assume_finite=True)
        self.model = NearestNeighbors(algorithm="brute").fit(self.index)

    def search(self, queries: np.ndarray, k: int) -> np.ndarray:
        return self.model.kneighbors(queries, k, return_distance=False)


class Scann(Rival):
    name = "scann"

    def build(self) -> None:
        from scann.scann_ops.py import scann_ops_pybind

        metric = "squared_l2" if self.l2 else "dot_product"
        self.searcher = scann_ops_pybind.builder(self.index, 10, metric).score_brute_force().build()

    def prepare(self, workers: int) -> None:
        super().prepare(workers)
        self.searcher.set_num_threads(workers)

    def search(self, queries: np.ndarray, k: int) -> np.ndarray:
        several = len(queries) > 1 and self.workers > 1
        call: Any = self.searcher.search_batched_parallel if several else self.searcher.search_batched
        return np.asarray(call(queries, final_num_neighbors=k)[0]).astype(np.int64)


RIVALS: list[type[Rival]] = [NumPy, Torch, Faiss, FaissBlas, USearch, ScikitLearn, Scann, NumKong]


def make_rivals(index: np.ndarray, metric: str, names: list[str]) -> tuple[list[Rival], list[str]]:
    """The rivals that are installed, and the names of those that are not."""
    made: list[Rival] = []
    missing = []
    for kind in RIVALS:
        if names and kind.name not in names:
            continue
        shipped = next((rival for rival in made if type(rival) is Faiss), None)
        try:
            made.append(FaissBlas.beside(shipped) if kind is FaissBlas and shipped else kind(index, metric))
        except ImportError:
            missing.append(kind.name)
    return made, missing
