"""`Index`: vectors with ids, searched exactly, that rows can be added to and removed from.

Holds the meaning of its methods. Locks and the places of ids are in _index_rows.py, how states follow each other in
_index_state.py, what ids are in _index_ids.py, files in _index_storage.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._arrays import as_rows
from fastembed._engine import (
    PerQueryMask,
    RangeHits,
    TopK,
    check_k,
    check_metric,
    check_threshold,
    run_range,
    run_topk,
)
from fastembed._filters import as_bool_mask, as_filter, rows_mask
from fastembed._index_codes import Coder, Plan, plan_of
from fastembed._index_elements import STORAGES, Stored, as_stored, finite_norms, storage_of, widened
from fastembed._index_ids import as_ids, is_str_ids, row_ids
from fastembed._index_rows import IndexRows
from fastembed._index_state import append, compact, make, without
from fastembed._validate import check_choice, check_int
from fastembed.vectors import WordVectors

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    import numpy.typing as npt

    from fastembed._index_state import Snapshot

    Float32Array = npt.NDArray[np.float32]
    Int64Array = npt.NDArray[np.int64]
    BoolArray = npt.NDArray[np.bool_]
    #: ids, all int or all str.
    Ids = npt.NDArray[Any] | Iterable[int] | Iterable[str]

__all__ = ["Index", "Plan"]


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view: npt.NDArray[Any] = array.view()
    view.flags.writeable = False
    return view


class Index:
    """Vectors with ids, for exact search, in memory or mapped from a file.

    Parameters
    ----------
    vectors : array_like of float32, shape (n, dim), or WordVectors
        Held without a copy when it is float32 with contiguous rows (a memory map stays one): the caller must not change
        it afterwards. In another `storage` it is not held. What else is accepted is said at `fastembed.topk`. For
        `WordVectors` the ids are its words, unless others are given. May have no rows.
    metric : {"cosine", "dot", "l2"}, default "cosine"
        **Cosine is the default**: rows need not be normalised. ``"dot"`` is the inner product, ``"l2"`` the *squared*
        Euclidean distance, for which smaller is nearer.
    ids : array_like of int or sequence of str, length n, optional
        Distinct, ints not negative; a set has no order and is refused. By default 0, 1, 2 and so on.
    accelerate : {"auto", "none", "int8", "bf16"}, default "auto"
        Whether to keep codes of the vectors, which most of a search then reads in place of the vectors: the results are
        the same to the last bit, sooner. ``"int8"`` keeps codes of 8 bits, ``"bf16"`` of 16 (bfloat16), which take
        longer to read and tell rows apart that are several times nearer to each other. ``"auto"`` keeps codes of 8 bits
        from 4,096 rows and 32 columns on, and reads them unless results are many. `plan` says what a search will do.
    storage : {"float32", "float16", "bfloat16", "int8"}, default "float32"
        What is kept of the vectors. In anything but float32 that is less than was given, and all results are those of
        the float32 that the stored values stand for, exactly: of an index that `Index(index.vectors)` would be.
        ``"float16"`` and ``"bfloat16"`` round to the nearest, ties to even. ``"int8"`` keeps of each row a float32
        ``scale`` of max |x| / 127, rounded up, and ``c``, the integers nearest to x / scale; an element then stands for
        float32(c) * scale, rounded to float32.

    Raises
    ------
    TypeError
        The elements of `vectors` are no real numbers, `ids` is a set, or an id is neither int nor str.
    ValueError
        `vectors` holds NaN or infinity, or a number that the storage rounds to infinity (beyond 65,519 in float16);
        `ids` has another length, or an id occurs twice.

    Notes
    -----
    Any number of threads may search while others add, remove and update (these take turns): a search sees the index as
    it was when the search began. Searching releases the GIL.

    Memory: 4 bytes an element, 2 in float16 and bfloat16, 1 in int8 (and 4 a row); with codes of 8 bits a byte more, in
    float32 one and a half, above 64 elements two, of bfloat16 2 (and 2 a row); 12 bytes a row for norms and ids, about
    100 for the ids' places if they are str or not ascending. `add` to an index that is mapped or was made from an array
    copies it once, and keeps spare room from then on. Removed rows are skipped, and dropped when they outnumber the
    others.

    Examples
    --------
    >>> import fastembed
    >>> index = fastembed.Index([[1, 0], [0, 1], [1, 1]], ids=["east", "north", "northeast"])
    >>> index.search([2, 1], k=2)
    TopK(scores=array([0.9486833, 0.8944272], dtype=float32), ids=array(['northeast', 'east'], dtype=object))
    >>> index.remove(["northeast"])
    >>> index.add([[-1, 0]], ids=["west"])
    array(['west'], dtype=object)
    >>> index
    <Index: 3 vectors x 2 float32, metric 'cosine', str ids>
    """

    def __init__(
        self,
        vectors: Any,
        metric: str = "cosine",
        ids: Ids | None = None,
        *,
        accelerate: str = "auto",
        storage: str = "float32",
    ) -> None:
        coder = Coder(check_metric(metric), accelerate, check_choice("storage", storage, STORAGES))
        stored = as_stored("vectors", vectors, storage)
        count = len(stored.elements)
        if ids is None and isinstance(vectors, WordVectors):
            ids = vectors.index_to_key
        # A copy, where an array was given: who owns that may change it.
        keys = np.arange(count, dtype=np.int64) if ids is None else row_ids(ids, count).copy()
        next_id = 0 if is_str_ids(keys) or not len(keys) else int(keys.max()) + 1
        self._metric = metric
        self._rows = IndexRows(make(stored, finite_norms("vectors", stored.rows), keys), next_id, coder)

    # What there is

    def __len__(self) -> int:
        return self._rows.state.live_count

    @property
    def dim(self) -> int:
        """Number of columns."""
        return int(self._rows.state.elements.shape[1])

    @property
    def metric(self) -> str:
        """The metric it was made for: "cosine", "dot" or "l2"."""
        return self._metric

    @property
    def accelerate(self) -> str:
        """As it was made: "auto", "none", "int8" or "bf16"."""
        return self._rows.coder.mode

    @property
    def storage(self) -> str:
        """As it was made: "float32", "float16", "bfloat16" or "int8"."""
        return storage_of(self._rows.state.elements)

    def plan(self, k: int = 10, n_queries: int = 1) -> Plan:
        """Tell what a search for the `k` best of `n_queries` at once will read.

        Parameters
        ----------
        k : int, default 10
            With ``accelerate="auto"`` a search for very many of the rows reads float32: scoring them takes its time.
        n_queries : int, default 1

        Returns
        -------
        Plan
        """
        return plan_of(self._rows.state, self.accelerate, check_k(k), check_int("n_queries", n_queries, 0))

    @property
    def vectors(self) -> Float32Array:
        """The rows in the order of insertion, float32, shape (len(index), dim), read-only.

        Unless the storage is ``"float32"``, a copy of what the stored values stand for: four bytes an element.
        """
        return _read_only(widened(self._rows.compacted().vectors))

    @property
    def ids(self) -> npt.NDArray[Any]:
        """The ids in the order of insertion, that of `vectors`: int64, or objects that are str. Read-only."""
        return _read_only(self._rows.compacted().ids)

    def __contains__(self, key: object) -> bool:
        if isinstance(key, bool) or not isinstance(key, (int, str, np.integer)):
            return False
        try:
            ids = as_ids("ids", [key])
        except ValueError:
            return False
        return bool(self._rows.locate(ids)[1][0] >= 0)

    def __repr__(self) -> str:
        state = self._rows.state
        kind = ", str ids" if is_str_ids(state.ids) else ""
        return f"<Index: {len(self):,} vectors x {self.dim} {self.storage}, metric {self._metric!r}{kind}>"

    # Searching

    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        filter: Any = None,
        threshold: float | None = None,
        workers: int | None = None,
        check_finite: bool = True,
    ) -> TopK:
        """Find the k best vectors for each query; see `fastembed.topk`, whose parameters and result these are.

        Parameters
        ----------
        queries : array_like of float32, shape (n_queries, dim) or (dim,)
        k : int, default 10
            More than ``len(index)`` is cut down to it.
        filter : ndarray of bool, shape (len(index),) or (n_queries, len(index)), or array or set of ids, optional
            What may be found. Columns of a mask are in the order of `ids`.
        threshold : float, optional
            Only scores of at least this (``"l2"``: at most) are found.
        workers : int, optional
        check_finite : bool, default True

        Returns
        -------
        TopK
            Its `ids` are int64, -1 where nothing was found, or objects: str, None where nothing was found.

        Raises
        ------
        KeyError
            `filter` holds an id that the index does not.
        ValueError
            The dimensions differ, or `queries` holds NaN or infinity.
        """
        matrix, single = as_rows("queries", queries)
        k = check_k(k)
        state, mask = self._admitted(matrix, filter)
        scores, rows = run_topk(
            matrix,
            state.vectors,
            min(k, state.live_count),
            self._metric,
            norms=state.norms,
            mask=mask,
            order=state.order,
            threshold=None if threshold is None else check_threshold(threshold),
            codes=None if state.coded is None else state.coded.core,
            accelerate=self._rows.coder.mode,
            check_finite=check_finite,
            workers=workers,
            single=single,
        )
        return TopK(scores, state.ids_of(rows))

    def range_search(
        self,
        queries: Any,
        threshold: float,
        *,
        filter: Any = None,
        workers: int | None = None,
        check_finite: bool = True,
    ) -> RangeHits:
        """Find all vectors that score at least `threshold` (``"l2"``: at most); see `fastembed.range_search`.

        Parameters
        ----------
        queries : array_like of float32, shape (n_queries, dim) or (dim,)
        threshold : float
        filter, workers, check_finite
            As in `search`.

        Returns
        -------
        RangeHits

        Raises
        ------
        KeyError
            `filter` holds an id that the index does not.
        ValueError
            The dimensions differ, or `queries` holds NaN or infinity.
        """
        matrix, _ = as_rows("queries", queries)
        state, mask = self._admitted(matrix, filter)
        offsets, scores, rows = run_range(
            matrix,
            state.vectors,
            check_threshold(threshold),
            self._metric,
            norms=state.norms,
            mask=mask,
            order=state.order,
            codes=None if state.coded is None else state.coded.core,
            accelerate=self._rows.coder.mode != "none",
            check_finite=check_finite,
            workers=workers,
        )
        return RangeHits(offsets, scores, state.ids_of(rows))

    def _admitted(self, queries: Float32Array, given: Any) -> tuple[Snapshot, BoolArray | PerQueryMask | None]:
        """The state to search and the mask of what may be found in it."""
        state, rows, array = self._rows.state, None, None
        if given is not None:
            array = as_filter(given)
            if array.dtype != np.bool_:
                state, rows = self._rows.known("filter", as_ids("filter", array if array.dtype.kind in "iu" else given))
        if queries.shape[1] != state.vectors.shape[1]:
            raise ValueError(f"queries has dim {queries.shape[1]} but index has dim {state.vectors.shape[1]}")
        if rows is not None:
            return state, rows_mask(rows, len(state.ids))
        if array is not None:
            return state, as_bool_mask(array, len(queries), state.live_count, len(state.ids), state.positions)
        return state, state.alive

    # Changing

    def add(self, vectors: Any, ids: Ids | None = None) -> npt.NDArray[Any]:
        """Add rows behind the others.

        Parameters
        ----------
        vectors : array_like of float32, shape (n, dim) or (dim,)
        ids : array_like of int or sequence of str, length n, optional
            Of the kind that the index has, and new to it. By default the ints that follow the greatest id the index
            ever had: ids are not used again after `remove`.

        Returns
        -------
        ndarray of int64, or of object for str ids, shape (n,)
            The ids.

        Raises
        ------
        TypeError
            `ids` are a set, of another kind than those of the index, or left out though those are str.
        ValueError
            The dimensions differ, a number is not finite or beyond the storage, or an id is there already or given
            twice.
        """
        stored, norms = self._new_rows(vectors)
        with self._rows.writing:
            keys = self._rows.new_ids(ids, len(norms))
            if len(keys):
                if not is_str_ids(keys):
                    self._rows.next_id = max(self._rows.next_id, int(keys.max()) + 1)
                self._rows.extend(append(self._rows.state, stored, norms, keys))
        return keys

    def remove(self, ids: Ids) -> None:
        """Remove these rows. The others keep their ids.

        Parameters
        ----------
        ids : array_like of int, or sequence or set of str or int

        Raises
        ------
        KeyError
            The index does not hold one of `ids`; nothing is removed then.
        """
        keys = as_ids("ids", ids)
        with self._rows.writing:
            state, rows = self._rows.known("ids", keys)
            if len(rows):
                self._rows.replace(without(state, rows))

    def update(self, ids: Ids, vectors: Any) -> None:
        """Replace the vectors of these ids. Searches under way still see the old ones.

        Parameters
        ----------
        ids : array_like of int or sequence of str, length n
        vectors : array_like of float32, shape (n, dim)

        Raises
        ------
        KeyError
            The index does not hold one of `ids`; nothing is replaced then.
        TypeError
            `ids` are a set.
        ValueError
            The dimensions differ, a number is not finite or beyond the storage, or an id is given twice.
        """
        stored, norms = self._new_rows(vectors)
        keys = row_ids(ids, len(norms))
        with self._rows.writing:
            state, rows = self._rows.known("ids", keys)
            if len(rows):
                self._rows.replace(append(state, stored, norms, keys, replaced=rows))

    def _new_rows(self, vectors: Any) -> tuple[Stored, Float32Array]:
        """What is to be added, as this index keeps it, and its norms."""
        stored = as_stored("vectors", vectors, self.storage, self.dim)
        return stored, finite_norms("vectors", stored.rows)

    # Files and copies

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to the directory `path`: .npy files, plain ids and JSON.

        Parameters
        ----------
        path : str or os.PathLike
            Made if absent. An index that is there is replaced in one step: killed at any moment, the old or the new one
            is there whole, and who has the old one mapped keeps it. Anything else is an error and stays untouched.

        Raises
        ------
        FileExistsError
            `path` is a file, or a directory that is neither empty nor a store.
        FileNotFoundError
            The parent directory does not exist.
        TypeError
            `path` is neither a str nor an os.PathLike of one.
        ValueError
            `path` holds a store of something else.
        """
        from fastembed._index_storage import save_index

        save_index(path, *self._rows.current(), self._rows.coder)

    @classmethod
    def load(cls, path: str | os.PathLike[str], mmap: bool = True, *, verify: bool = False) -> Index:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or os.PathLike
        mmap : bool, default True
            Map the vectors instead of reading them: processes share the memory, and the index may be larger than it.
            Their checksum is then verified only if asked for; sizes and shapes always.
        verify : bool, default False
            Verify the checksum of what is mapped too, which reads it once.

        Returns
        -------
        Index

        Raises
        ------
        FileNotFoundError
            There is nothing at `path`, or a first save into it was interrupted.
        ValueError
            It is no saved index, or a file of it is missing, cut short, or of another save; the message names the file.
        """
        from fastembed._index_storage import load_index

        index = cls.__new__(cls)
        state, next_id, coder = load_index(path, mmap, verify)
        index._metric = coder.metric
        index._rows = IndexRows(state, next_id, coder)
        return index

    def __getstate__(self) -> dict[str, Any]:
        state, next_id = self._rows.current()
        state = compact(state)
        return {
            "vectors": np.asarray(state.elements),
            "scales": state.scales,
            "norms": state.norms,
            "ids": state.ids,
            "metric": self._metric,
            "next_id": next_id,
            "accelerate": self.accelerate,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._metric = state["metric"]
        stored = Stored(state["vectors"], state.get("scales"))  # earlier versions pickled no scales
        coder = Coder(self._metric, state["accelerate"], storage_of(stored.elements))
        self._rows = IndexRows(make(stored, state["norms"], state["ids"]), state["next_id"], coder)
