"""What is accepted as vectors: dtypes, layouts, other libraries' objects; what is copied, and what is refused."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

import fastembed
from fastembed import _arrays
from fastembed._arrays import as_matrix, as_rows
from search_cases import assert_same, normal


def converted(value: Any) -> np.ndarray:
    matrix, _ = as_rows("x", value)
    assert matrix.dtype == np.float32 and matrix.ndim == 2
    assert matrix.strides[1] == 4 and matrix.strides[0] > 0 and matrix.strides[0] % 4 == 0 and matrix.flags.aligned
    return matrix


# Not copied


def test_plain_arrays_pass_through(tmp_path) -> None:
    x = normal(6, 5)
    assert as_rows("x", x)[0] is x
    for view in (x[1:], x[::2], x[:, 1:4], x[2]):
        assert np.shares_memory(converted(view), x)
    x.flags.writeable = False
    assert as_rows("x", x)[0] is x
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.shares_memory(converted(mapped), mapped) and type(converted(mapped)) is np.ndarray
    wv = fastembed.WordVectors(x, list("abcdef"))
    assert np.shares_memory(converted(wv), x)
    windows = np.lib.stride_tricks.sliding_window_view(normal(1, 9)[0], 4)
    assert np.shares_memory(converted(windows), windows)


class Dlpack:
    """An object that exports its memory and nothing else."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class Arrayish:
    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.array if dtype is None else self.array.astype(dtype)


@pytest.mark.parametrize("wrapper", [Dlpack, Arrayish])
def test_objects_of_other_libraries_are_not_copied(wrapper: Any) -> None:
    x = normal(6, 5)
    assert np.shares_memory(converted(wrapper(x)), x)
    np.testing.assert_array_equal(converted(wrapper(x[:, ::-1])), x[:, ::-1])


# Copied


@pytest.mark.parametrize(
    "view",
    [
        np.asfortranarray,
        lambda x: x[:, ::2],
        lambda x: x[::-1],
        lambda x: x[:, ::-1],
        lambda x: np.broadcast_to(x[0], x.shape),
        lambda x: x.astype(">f4"),
        lambda x: x[:, :1].T.copy().T,
        lambda x: np.frombuffer(b"\0" + x.tobytes(), dtype=np.uint8)[1:].view(np.float32).reshape(x.shape),
        lambda x: x[:0],
        lambda x: np.empty((0, 5), dtype=np.float32),
        lambda x: x[1:2, ::2],
        lambda x: x[2, ::-2],
    ],
)
def test_any_layout(view: Any) -> None:
    x = view(normal(6, 5))
    np.testing.assert_array_equal(converted(x), x if x.ndim == 2 else x[None])


def test_dtypes() -> None:
    x = np.random.default_rng(0).integers(-100, 100, (5, 7))
    for dtype in ("f2", "f4", "f8", "g", "i1", "i2", "i4", "i8", ">i4", ">f8"):
        np.testing.assert_array_equal(converted(x.astype(dtype)), x)
        np.testing.assert_array_equal(converted(np.asfortranarray(x.astype(dtype))), x)
        np.testing.assert_array_equal(converted(x[0].astype(dtype)), x[:1])
    for dtype in ("u1", "u2", "u4", "u8"):
        np.testing.assert_array_equal(converted(np.abs(x).astype(dtype)), np.abs(x))
    np.testing.assert_array_equal(converted(x > 0), x > 0)
    wide = np.random.default_rng(1).standard_normal((300, 7000))  # several blocks
    np.testing.assert_array_equal(converted(wide), wide.astype(np.float32))


def test_bfloat16() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    x = normal(3, 4).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(converted(x), x.astype(np.float32))


def test_lists_and_frames() -> None:
    rows = [[1, 2.5], [3, 4]]
    np.testing.assert_array_equal(converted(rows), rows)
    np.testing.assert_array_equal(converted(tuple(rows)), rows)
    np.testing.assert_array_equal(converted([np.asarray(row) for row in rows]), rows)
    assert as_rows("x", [1, 2])[1] and not as_rows("x", rows)[1]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(library: str) -> None:
    frames = pytest.importorskip(library, reason=f"{library} is not installed")
    np.testing.assert_array_equal(converted(frames.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})), [[1, 3], [2, 4]])


class Tensor:
    """What is needed of a torch tensor."""

    def __init__(
        self, array: np.ndarray, device: str = "cpu", dtype: str = "torch.float32", grad: bool = False
    ) -> None:
        self.array, self.dtype, self.grad = array, dtype, grad
        self.device = type("Device", (), {"type": device.split(":")[0], "__str__": lambda _: device})()

    def detach(self) -> Tensor:
        return Tensor(self.array, dtype=self.dtype)

    def float(self) -> Tensor:
        return Tensor(self.array.astype(np.float32))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.grad or self.dtype == "torch.bfloat16":
            raise TypeError("no array of this")
        return self.array


Tensor.__module__ = "torch"


def test_tensors() -> None:
    x = normal(2, 3)
    assert np.shares_memory(converted(Tensor(x, grad=True)), x)
    np.testing.assert_array_equal(converted(Tensor(x.astype(np.float64), dtype="torch.bfloat16")), x)
    with pytest.raises(TypeError, match=r"x is a tensor on the device cuda:1, wanted one on the CPU: use x.cpu\(\)"):
        as_rows("x", Tensor(x, device="cuda:1"))


def test_real_tensors() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = torch.from_numpy(normal(2, 3))
    assert np.shares_memory(converted(x), x.numpy())
    np.testing.assert_array_equal(converted(x.clone().requires_grad_()), x.numpy())
    np.testing.assert_array_equal(converted(x.bfloat16()), x.bfloat16().float().numpy())


# Refused


@pytest.mark.parametrize(
    "value",
    [
        [[1j]],
        np.array([["a"]]),
        "text",
        [b"x"],
        np.array([[object()]]),
        np.zeros((2, 2), dtype="M8[s]"),
        np.zeros((2, 2), dtype=[("a", "f4")]),
        np.zeros((2, 2), dtype="V4"),
        None,
        np.ma.masked_array([[1.0, 2.0]], [[False, True]]),
    ],
)
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^queries "):
        as_rows("queries", value)


def test_shapes() -> None:
    for value in (np.zeros((2, 0)), np.zeros((2, 0), dtype=np.float32), np.zeros(0, dtype=np.float32)):
        with pytest.raises(ValueError, match="x must have at least one column"):
            as_rows("x", value)
    with pytest.raises(ValueError, match="x is empty and has no dim: no vectors are"):
        as_rows("x", [])
    for value in (1.0, np.float32(1), np.zeros((1, 1, 1)), np.zeros((2, 2, 2), dtype=np.float32)):
        with pytest.raises(ValueError, match=r"x must be a vector or a matrix of rows, got [03]-D shape"):
            as_rows("x", value)
    with pytest.raises(ValueError, match=r"x must have shape \(n_rows, dim\), got 1-D shape \(3,\)"):
        as_matrix("x", [1, 2, 3])
    with pytest.raises(ValueError, match="x cannot be read as an array"):
        as_rows("x", [[1, 2], [3]])


def test_numbers_beyond_float32() -> None:
    x = np.zeros((3000, 1000))
    x[2500, 7] = 1e300
    x[1] = np.inf  # infinity itself is no overflow
    with pytest.raises(ValueError, match=r"x holds 1e\+300 in row 2500, which is beyond the range of float32"):
        as_rows("x", x)
    assert converted([[1e-300, 0.0], [np.nan, -np.inf]])[0].tolist() == [0, 0]


def test_integers_that_float32_cannot_hold() -> None:
    exact = [[1 << 24, -(1 << 24)], [1 << 40, -(1 << 63)]]
    np.testing.assert_array_equal(converted(exact), exact)
    for number in ((1 << 24) + 1, -(1 << 24) - 1, (1 << 63) - 1):
        with pytest.raises(ValueError, match=f"x holds {number} in row 1, which float32 cannot hold exactly"):
            as_rows("x", [[0, 0], [0, number]])
    with pytest.raises(ValueError, match=f"x holds {(1 << 64) - 1} in row 0"):
        as_rows("x", np.array([(1 << 64) - 1], dtype=np.uint64))


# What users see


def test_big_copies_are_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _arrays.LOGGED_COPY_BYTES == 64 << 20
    monkeypatch.setattr(_arrays, "LOGGED_COPY_BYTES", 1 << 20)
    caplog.set_level(logging.INFO, logger="fastembed")
    as_rows("queries", normal(1000, 250))
    as_rows("queries", normal(500, 250).astype(np.float64))
    assert caplog.messages == []
    as_rows("queries", normal(1049, 250).astype(np.float64))
    as_rows("index", np.asfortranarray(normal(1049, 500)))
    assert caplog.messages == [
        "queries is copied to 1 MiB of float32, because its dtype is float64",
        "index is copied to 2 MiB of float32, because its rows are not contiguous",
    ]
    assert {record.levelname for record in caplog.records} == {"INFO"}


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_rows_that_overlap_are_read_where_they_lie(metric: str) -> None:
    windows = np.lib.stride_tricks.sliding_window_view(normal(1, 500)[0], 20)
    apart = windows.copy()
    for queries in (windows[:1], windows[:3], windows[:50]):
        assert_same(
            fastembed.topk(queries, windows, 5, metric=metric), fastembed.topk(queries, apart, 5, metric=metric)
        )
    assert_same(fastembed.self_topk(windows, 3, metric=metric), fastembed.self_topk(apart, 3, metric=metric))
    assert_same(fastembed.Index(windows, metric).search(apart, 3), fastembed.Index(apart, metric).search(apart, 3))
    np.testing.assert_array_equal(
        fastembed.similarity(windows, apart, metric), fastembed.similarity(apart, apart, metric)
    )
    np.testing.assert_array_equal(fastembed.normalize(windows), fastembed.normalize(apart))


def test_any_input_gives_one_answer(tmp_path) -> None:
    index = np.random.default_rng(3).integers(-9, 9, (40, 6)).astype(np.float32)
    expected = fastembed.topk(index[:3], index, 5)
    np.save(tmp_path / "index.npy", index)
    mapped = np.load(tmp_path / "index.npy", mmap_mode="r")
    words = fastembed.WordVectors(index, [str(row) for row in range(40)])
    for other in (mapped, words, index.tolist(), index.astype("i1"), np.asfortranarray(index), Dlpack(index)):
        assert_same(fastembed.topk(index[:3], other, 5), expected)
        assert_same(fastembed.topk(other, index, 5)[:2], fastembed.topk(index, index, 5))
