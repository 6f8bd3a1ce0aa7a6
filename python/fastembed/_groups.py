"""Near-duplicates and communities within one set of vectors: `deduplicate` and `communities`.

Holds the two greedy procedures. Both scan in tiles of a fixed size, so that memory is bounded however many pairs match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastembed import _core
from fastembed._arrays import as_matrix
from fastembed._engine import check_threshold, run_count, run_range, run_topk, worker_count
from fastembed._index_elements import widened
from fastembed._validate import check_int
from fastembed.index import Index
from fastembed.search import metric_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from fastembed._engine import KernelRows

    Float32Array = npt.NDArray[np.float32]
    Int64Array = npt.NDArray[np.int64]
    BoolArray = npt.NDArray[np.bool_]

__all__ = ["Deduplication", "communities", "deduplicate"]

#: Rows of a tile on the diagonal, so at most a quarter of a Mi hits.
_TILE_QUERIES = 512
#: Rows that are copied at a time to be counted.
_COUNTED_QUERIES = 4096
_HITS_HELD = 1 << 19


class Deduplication(NamedTuple):
    """What `deduplicate` returns.

    Attributes
    ----------
    kept : ndarray of int64, shape (n_kept,)
        The rows that stay, ascending. For an `Index` their ids, in its order.
    representatives : ndarray of int64, shape (n,)
        For each row the kept one that stands for it: a kept row itself, a dropped one the best of the kept rows before
        it.
    """

    kept: npt.NDArray[Any]
    representatives: npt.NDArray[Any]


class _Set(NamedTuple):
    """The vectors to be grouped, and what a search among them needs."""

    matrix: KernelRows
    norms: Float32Array
    metric: str
    threshold: float
    workers: int | None
    names: npt.NDArray[Any] | None

    def named(self, rows: Int64Array) -> npt.NDArray[Any]:
        return rows if self.names is None else self.names[rows]


def _as_set(vectors: Any, threshold: float, metric: str | None, workers: int | None) -> _Set:
    metric = metric_of(vectors, metric)
    threshold = check_threshold(threshold)
    if isinstance(vectors, Index):
        state = vectors._rows.compacted()
        return _Set(state.vectors, state.norms, metric, threshold, workers, state.ids)
    matrix = as_matrix("vectors", vectors)
    norms = _core.row_norms(matrix, worker_count(workers, matrix.size))
    bad = np.isnan(norms)
    if bad.any():
        raise ValueError(f"vectors holds NaN or infinity in row {int(np.argmax(bad))}")
    return _Set(matrix, norms, metric, threshold, workers, None)


def deduplicate(
    vectors: Any, threshold: float, *, metric: str | None = None, workers: int | None = None
) -> Deduplication:
    """Drop every row that is nearly equal to one kept before it.

    Rows are taken in order. A row is dropped if its score with an earlier row that was kept is at least `threshold`
    (``"l2"``: at most); otherwise it is kept.

    Parameters
    ----------
    vectors : array_like of float32, shape (n, dim), or Index or WordVectors
        See `fastembed.topk` for what is accepted.
    threshold : float
        Rounded to float32 first.
    metric : {"cosine", "dot", "l2"}, optional
        **Cosine is the default**; an `Index` has its own.
    workers : int, optional
        Threads; None as in `fastembed.set_num_threads`. The result does not depend on it.

    Returns
    -------
    Deduplication
        ``kept``, the rows that stay, and ``representatives``, for each row the kept one that stands for it.

    Raises
    ------
    TypeError, ValueError
        As for `fastembed.topk`.

    Notes
    -----
    At most n * n / 2 scores, exact as those of `fastembed.topk`. Memory: some tens of megabytes beyond the result.

    Examples
    --------
    >>> import fastembed
    >>> fastembed.deduplicate([[1, 0], [0, 1], [1, 0.01], [3, 0]], threshold=0.99)
    Deduplication(kept=array([0, 1]), representatives=array([0, 1, 0, 0]))
    """
    among = _as_set(vectors, threshold, metric, workers)
    n_rows = len(among.matrix)
    kept = np.zeros(n_rows, dtype=np.bool_)
    representatives = np.arange(n_rows, dtype=np.int64)
    for begin in range(0, n_rows, _TILE_QUERIES):
        end = min(begin + _TILE_QUERIES, n_rows)
        best_scores, best_rows = _best_kept(among, kept, begin, end)
        offsets, scores, rows = _tile(among, np.arange(begin, end), begin, end, None)
        for row in range(begin, end):
            hits = slice(offsets[row - begin], offsets[row - begin + 1])
            earlier = rows[hits]
            candidates = np.flatnonzero((earlier < row) & kept[earlier])
            score, best = best_scores[row - begin], best_rows[row - begin]
            if candidates.size:
                found = scores[hits][candidates[0]]
                if best < 0 or (found < score if among.metric == "l2" else found > score):
                    best = earlier[candidates[0]]
            kept[row] = best < 0
            representatives[row] = row if best < 0 else best
    return Deduplication(among.named(np.flatnonzero(kept)), among.named(representatives))


def _best_kept(among: _Set, kept: BoolArray, begin: int, end: int) -> tuple[Float32Array, Int64Array]:
    """For each row of [begin, end) the best kept row before `begin`, with its score; -1 for none."""
    scores, rows = run_topk(
        widened(among.matrix[begin:end]),
        among.matrix[:begin],
        1,
        among.metric,
        norms=among.norms[:begin],
        mask=kept[:begin],
        threshold=among.threshold,
        check_finite=False,
        workers=among.workers,
    )
    return scores[:, 0], rows[:, 0]


def _tile(
    among: _Set, queries: Int64Array, begin: int, end: int, mask: BoolArray | None
) -> tuple[Int64Array, Float32Array, Int64Array]:
    """Hits of the rows `queries` among the rows [begin, end) that `mask` admits."""
    offsets, scores, rows = run_range(
        _rows_of(among, queries),
        among.matrix[begin:end],
        among.threshold,
        among.metric,
        norms=among.norms[begin:end],
        mask=None if mask is None else mask[begin:end],
        check_finite=False,
        workers=among.workers,
    )
    return offsets, scores, rows + begin


def _counts(among: _Set, queries: Int64Array, free: BoolArray | None) -> Int64Array:
    """How many rows that are free each of these rows matches, itself included."""
    counts = np.zeros(len(queries), dtype=np.int64)
    for first in range(0, len(queries), _COUNTED_QUERIES):
        part = queries[first : first + _COUNTED_QUERIES]
        counts[first : first + len(part)] = run_count(
            _rows_of(among, part),
            among.matrix,
            among.threshold,
            among.metric,
            norms=among.norms,
            mask=free,
            workers=among.workers,
        )
    return counts


def _rows_of(among: _Set, rows: Int64Array) -> Float32Array:
    """These rows, in place when they are consecutive and kept in float32."""
    consecutive = len(rows) > 0 and rows[-1] - rows[0] == len(rows) - 1
    return widened(among.matrix[rows[0] : rows[-1] + 1] if consecutive else among.matrix[rows])


def communities(
    vectors: Any,
    threshold: float = 0.75,
    min_size: int = 10,
    *,
    metric: str | None = None,
    workers: int | None = None,
) -> list[npt.NDArray[Any]]:
    """Find groups of rows that are all near one of them.

    The neighbourhood of a row is all rows that score at least `threshold` with it (``"l2"``: at most). Neighbourhoods
    of at least `min_size` rows are taken largest first, of equal sizes by row; each becomes a community of those of its
    rows that are in none yet, if these are at least `min_size`. This is what ``community_detection`` of
    sentence-transformers does.

    Parameters
    ----------
    vectors : array_like of float32, shape (n, dim), or Index or WordVectors
        See `fastembed.topk` for what is accepted.
    threshold : float, default 0.75
        Rounded to float32 first.
    min_size : int, default 10
        At least 1; more than n is cut down to n.
    metric : {"cosine", "dot", "l2"}, optional
        **Cosine is the default**; an `Index` has its own.
    workers : int, optional
        Threads; None as in `fastembed.set_num_threads`. The result does not depend on it.

    Returns
    -------
    list of ndarray of int64
        Largest first, of equal sizes in the order they were taken. In each the row whose neighbourhood it is comes
        first, unless an earlier community has it, then the others, best score first, equal scores by row. For an
        `Index` they are ids.

    Raises
    ------
    TypeError, ValueError
        As for `fastembed.topk`.

    Notes
    -----
    n * n scores, exact as those of `fastembed.topk`, and once more for the rows with large neighbourhoods. Memory: some
    tens of megabytes beyond the result, however many pairs match.

    Examples
    --------
    >>> import fastembed
    >>> fastembed.communities([[1, 0], [0, 1], [1, 0.1], [2, 0.1]], threshold=0.9, min_size=2)
    [array([0, 3, 2])]
    """
    among = _as_set(vectors, threshold, metric, workers)
    n_rows = len(among.matrix)
    min_size = min(check_int("min_size", min_size, 1), n_rows)
    sizes = _counts(among, np.arange(n_rows, dtype=np.int64), None)
    candidates = np.argsort(-sizes, kind="stable")
    candidates = candidates[sizes[candidates] >= min_size]
    taken = list(_take(among, candidates, sizes, min_size))
    taken.sort(key=len, reverse=True)
    return [among.named(rows) for rows in taken]


def _take(among: _Set, candidates: Int64Array, sizes: Int64Array, min_size: int) -> Iterator[Int64Array]:
    """Communities in the order they are taken. `sizes` tells how many rows each row matches, free or not."""
    free = np.ones(len(among.matrix), dtype=np.bool_)
    free_count = len(free)
    for first in range(0, len(candidates), _TILE_QUERIES):
        batch = candidates[first : first + _TILE_QUERIES]
        bounds, counted_at = sizes[batch], len(free)
        while len(batch) and free_count >= min_size:
            bounds = np.minimum(bounds, free_count)
            if bounds.sum() > _HITS_HELD and free_count < counted_at:  # too many to hold, and perhaps no longer so many
                bounds, counted_at = _counts(among, batch, free), free_count
                batch, bounds = batch[bounds >= min_size], bounds[bounds >= min_size]
                continue
            count = max(1, int(np.searchsorted(np.cumsum(bounds), _HITS_HELD, side="right")))
            for center, rows in _neighbourhoods(among, batch[:count], free):
                members = rows[free[rows]]
                if len(members) >= min_size:
                    free[members] = False
                    free_count -= len(members)
                    yield np.concatenate([members[members == center], members[members != center]])
            batch, bounds = batch[count:], bounds[count:]


def _neighbourhoods(among: _Set, centers: Int64Array, free: BoolArray) -> Iterator[tuple[int, Int64Array]]:
    """Each center with the free rows it matches, best first."""
    offsets, _, rows = run_range(
        widened(among.matrix[centers]),
        among.matrix,
        among.threshold,
        among.metric,
        norms=among.norms,
        mask=free.copy(),
        check_finite=False,
        workers=among.workers,
    )
    for position, center in enumerate(centers):
        yield int(center), rows[offsets[position] : offsets[position + 1]]
