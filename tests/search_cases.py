"""What the tests of search share: data that is hard to rank, and comparison to the last bit."""

from __future__ import annotations

import functools
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fastembed import Index, _core
from fastembed._index_codes import CodedRows
from reference import search as reference

METRICS = ("cosine", "dot", "l2")


def normal(n_rows: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n_rows, dim)).astype(np.float32)


def assert_same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    """The bits are equal, those of NaN too: there is one."""
    assert found.dtype == expected.dtype == np.float32
    assert found.shape == expected.shape
    one_nan = np.where(np.isnan(expected), np.float32(np.nan), expected)
    np.testing.assert_array_equal(np.ascontiguousarray(found).view(np.int32), one_nan.view(np.int32))


def assert_same(found: tuple[np.ndarray, np.ndarray], expected: tuple[np.ndarray, np.ndarray]) -> None:
    """Ids and score bits are equal."""
    np.testing.assert_array_equal(found[1], expected[1])
    assert_same_bits(np.asarray(found[0]), np.asarray(expected[0]))


def near_ties(rng: np.random.Generator, n_rows: int, dim: int) -> np.ndarray:
    """One row over and over, in each copy one element moved by a unit in the last place or not at all."""
    rows = np.repeat(rng.standard_normal((1, dim)), n_rows, axis=0).astype(np.float32)
    columns = rng.integers(0, dim, n_rows)
    towards = rng.choice(np.array([-np.inf, np.inf], dtype=np.float32), n_rows)
    moved = np.nextafter(rows[np.arange(n_rows), columns], towards)
    rows[np.arange(n_rows), columns] = np.where(rng.random(n_rows) < 0.8, moved, rows[np.arange(n_rows), columns])
    return rows


def duplicates(rng: np.random.Generator, n_rows: int, dim: int) -> np.ndarray:
    distinct = rng.standard_normal((max(1, n_rows // 7), dim)).astype(np.float32)
    return distinct[rng.integers(0, len(distinct), n_rows)]


def cancelling(rng: np.random.Generator, n_rows: int, dim: int) -> np.ndarray:
    """Large elements that nearly cancel in any product, beside small ones that decide."""
    rows = rng.standard_normal((n_rows, dim))
    half = dim // 2
    large = np.repeat(rng.standard_normal((1, half)) * 1e6, n_rows, axis=0)
    rows[:, :half] += large
    rows[:, half : 2 * half] -= large
    return rows.astype(np.float32)


def zero_rows(rng: np.random.Generator, n_rows: int, dim: int) -> np.ndarray:
    return (rng.standard_normal((n_rows, dim)) * (rng.random((n_rows, 1)) < 0.6)).astype(np.float32)


def heavy_tails(rng: np.random.Generator, n_rows: int, dim: int) -> np.ndarray:
    return (rng.standard_normal((n_rows, dim)) * rng.pareto(0.5, (n_rows, 1))).astype(np.float32)


def all_scales(rng: np.random.Generator, n_rows: int, dim: int) -> np.ndarray:
    """Rows from 1e-38 to 1e30: products from denormal to beyond float32."""
    return (rng.standard_normal((n_rows, dim)) * 10.0 ** rng.uniform(-38, 30, (n_rows, 1))).astype(np.float32)


def clusters(spread: float) -> Callable[[np.random.Generator, int, int], np.ndarray]:
    """A few clusters of nearly equal rows."""

    def rows(rng: np.random.Generator, n_rows: int, dim: int) -> np.ndarray:
        centers = rng.standard_normal((5, dim))
        return (centers[rng.integers(0, 5, n_rows)] + spread * rng.standard_normal((n_rows, dim))).astype(np.float32)

    return rows


def loud_column(rng: np.random.Generator, n_rows: int, dim: int) -> np.ndarray:
    """One column a thousand times the others."""
    rows = rng.standard_normal((n_rows, dim)).astype(np.float32)
    rows[:, dim // 2] *= 1000
    return rows


def common_mean(rng: np.random.Generator, n_rows: int, dim: int) -> np.ndarray:
    """Rows at a mean cosine of about 0.9."""
    return (rng.standard_normal((n_rows, dim)) + 3).astype(np.float32)


def by_size(rng: np.random.Generator, n_rows: int, dim: int) -> np.ndarray:
    """Rows in ascending order of an element, and of their norms."""
    rows = rng.standard_normal((n_rows, dim)).astype(np.float32)
    return rows[np.argsort(rows[:, 0])] * np.linspace(0.1, 2, n_rows, dtype=np.float32)[:, None]


def one_giant(rng: np.random.Generator, n_rows: int, dim: int) -> np.ndarray:
    """One row 1e15 times as long as the others."""
    rows = rng.standard_normal((n_rows, dim)).astype(np.float32)
    rows[n_rows // 2] *= np.float32(1e15)
    return rows


def scaled(scale: float) -> Callable[[np.random.Generator, int, int], np.ndarray]:
    return lambda rng, n_rows, dim: (rng.standard_normal((n_rows, dim)) * scale).astype(np.float32)


#: By name, functions of (rng, n_rows, dim). Hard for sums of float32:
HARD: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "near ties": near_ties,
    "duplicates": duplicates,
    "denormals": scaled(1e-42),
    "1e-30": scaled(1e-30),
    "1e30": scaled(1e30),
    "all scales": all_scales,
    "cancelling": cancelling,
    "all equal": lambda rng, n_rows, dim: np.repeat(rng.standard_normal((1, dim)).astype(np.float32), n_rows, axis=0),
    "zero rows": zero_rows,
    "heavy tails": heavy_tails,
    "small integers": lambda rng, n_rows, dim: rng.integers(-2, 3, (n_rows, dim)).astype(np.float32),
    "normal": scaled(1.0),
}
#: The same and what is hard for codes.
HARD_TO_CODE = HARD | {
    "clusters, 1e-4": clusters(1e-4),
    "clusters, 1e-6": clusters(1e-6),
    "loud column": loud_column,
    "common mean": common_mean,
    "sorted": by_size,
    "one giant": one_giant,
}


#: Kinds of data. What sanitizers look at does not depend on values: a few will do.
KINDS, CODE_KINDS = (sorted(kinds)[:: 6 if _core.sanitizers else 1] for kinds in (HARD, HARD_TO_CODE))


def hard(kind: str, n_queries: int, n_rows: int, dim: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Queries and index of one kind: some queries are rows of the index."""
    rng = np.random.default_rng(seed)
    rows = HARD_TO_CODE[kind](rng, n_queries + n_rows, dim)
    queries, index = rows[:n_queries].copy(), rows[n_queries:].copy()
    queries[::3] = index[rng.integers(0, n_rows, len(queries[::3]))]
    return queries, index


@functools.cache
def solved(kind: str, metric: str, size: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Queries, index, and scores and rows of all of it in order."""
    queries, index = hard(kind, *size, seed=sum(size))
    return queries, index, *reference.topk(queries, index, len(index), metric)


@functools.cache
def solved_in_part(
    kind: str, metric: str, size: tuple[int, int, int], asked: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Queries, index, and scores and rows of the 10 best of the queries that are asked."""
    queries, index = hard(kind, *size, seed=sum(size))
    return queries, index, reference.topk(queries[list(asked)], index, 10, metric)


def coded_of(index: Index) -> CodedRows:
    """The codes that an index keeps."""
    coded = index._rows.state.coded
    assert coded is not None
    return coded


def two_clusters(n_queries: int, n_rows: int, dim: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Queries near one of two opposite centers, and rows so near to either."""
    rng = np.random.default_rng(1)
    center = rng.standard_normal(dim)
    rows = np.where(rng.random((n_rows, 1)) < 0.5, center, -center) + spread * rng.standard_normal((n_rows, dim))
    queries = center + spread * rng.standard_normal((n_queries, dim))
    return queries.astype(np.float32), rows.astype(np.float32)


def medium_topk(
    index: Index, queries: np.ndarray, k: int, *, mask: np.ndarray | None = None, workers: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, rows, and counts of a search by medium codes, whatever the size of the index and the instruction set."""
    state, shape = index._rows.state, (len(queries), min(k, len(index)))
    found, counts = (np.empty(shape, np.float32), np.empty(shape, np.int64)), np.zeros(4, dtype=np.int64)
    given = {"norms": state.norms, "codes": coded_of(index).core, "mask": mask, "workers": workers}
    _core.search_topk(queries, state.vectors, index.metric, *found, **given, counts=counts, medium=True)
    return *found, counts


def saved_without(index: Index, directory: Path, key: str, n_terms: int) -> Index:
    """The index, saved, loaded from files as they were before this one, whose groups had so many terms."""
    index.save(directory / "new")
    old = directory / "old"
    shutil.copytree(directory / "new", old)
    saved = json.loads((old / "metadata.json").read_text())
    (old / saved["files"].pop(key)["name"]).unlink()
    terms = old / saved["files"]["code_terms"]["name"]
    np.save(terms, np.load(terms)[:n_terms])
    saved["files"]["code_terms"] |= {"bytes": terms.stat().st_size, "crc32": zlib.crc32(terms.read_bytes())}
    (old / "metadata.json").write_text(json.dumps(saved))
    return Index.load(old)
