"""Every kind of corpus that encode_corpus accepts, and every wrong one with what it is told."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastembed._corpus import EncodedCorpus, encode_corpus
from fastembed._corpus_sources import expand_path

TEXT = b"the cat sat\non the mat\n"
WANTED = (["the", "cat", "mat", "on", "sat"], [2, 1, 1, 1, 1], [0, 1, 4, 3, 0, 2], [0, 3, 6])


def summary(encoded: EncodedCorpus) -> tuple[list[str], list[int], list[int], list[int]]:
    return encoded.words, encoded.counts.tolist(), encoded.ids.tolist(), encoded.offsets.tolist()


def encode(corpus: Any, **options: Any) -> EncodedCorpus:
    return encode_corpus(corpus, **{"min_count": 1, **options})


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT)
    return path


def test_a_path(text_file: Path) -> None:
    assert summary(encode(text_file)) == WANTED
    assert summary(encode(str(text_file))) == WANTED
    assert encode(text_file).stats.bytes == len(TEXT)


def test_a_list_of_paths(text_file: Path) -> None:
    for paths in ([text_file, text_file], (str(text_file), text_file), [str(text_file)] * 2):
        assert encode(paths).counts.tolist() == [4, 2, 2, 2, 2]


def test_a_directory(tmp_path: Path) -> None:
    for name in ("b.txt", "a/2.txt", "a/10.txt", ".hidden", ".git/x"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{name} x")
    encoded = encode(tmp_path)
    assert [encoded.words[number] for number in encoded.ids[::2]] == ["a/10.txt", "a/2.txt", "b.txt"]


def test_a_pattern(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.dat", "sub/d.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{name} x")
    assert encode(str(tmp_path / "*.txt")).words == ["x", "a.txt", "b.txt"]
    assert encode(tmp_path / "**/*.txt").words == ["x", "a.txt", "b.txt", "sub/d.txt"]
    assert encode(str(tmp_path / "[bc].*")).words == ["x", "b.txt", "c.dat"]
    (tmp_path / "[1].txt").write_text("one 1")
    assert encode(tmp_path / "[1].txt").words == ["1", "one"]
    with pytest.raises(FileNotFoundError, match="matches no file"):
        encode(str(tmp_path / "*.gz"))


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("*", ["a.txt", "pipe-not.txt", "same.txt"]),
        ("*/*.txt", ["d/1.txt", "d/2.txt", "loop/a.txt", "loop/pipe-not.txt", "loop/same.txt"]),
        ("**", ["a.txt", "d/1.txt", "d/2.txt", "d/e/3.txt", "pipe-not.txt", "same.txt"]),
        ("**/*.txt", ["a.txt", "d/1.txt", "d/2.txt", "d/e/3.txt", "pipe-not.txt", "same.txt"]),
        ("**/e/**/[1-3].txt", ["d/e/3.txt"]),
        ("**/**/d/**/[1-3]*", ["d/1.txt", "d/2.txt", "d/e/3.txt"]),
        ("to*/**/[1a]*", ["to-d/1.txt", "to-d/loop/a.txt"]),
        (".hidden/**", [".hidden/4.txt"]),
    ],
)
def test_patterns_name_regular_files_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, wanted: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.txt", "d/1.txt", "d/2.txt", "d/e/3.txt", ".hidden/4.txt", "pipe-not.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("text")
    os.mkfifo("pipe.txt")
    for link, target in (("loop", "."), ("d/loop", ".."), ("to-d", "d"), ("same.txt", "a.txt"), ("gone.txt", "gone")):
        Path(link).symlink_to(target)
    for start in ("", f"{tmp_path}/"):
        assert [os.path.normpath(path) for path in expand_path(start + pattern)] == [
            os.path.normpath(start + name) for name in wanted
        ]
    os.mkfifo("d/e/pipe")
    with pytest.raises(FileNotFoundError, match="matches no file"):
        expand_path("**/pi*e")


def zstd_compress(data: bytes) -> bytes:
    return pytest.importorskip("zstandard", reason="zstandard is not installed").compress(data)


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    ".zst": zstd_compress,
}


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_compressed_files(tmp_path: Path, text_file: Path, suffix: str) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_bytes(COMPRESSIONS[suffix](TEXT))
    assert summary(encode(path)) == WANTED
    assert encode([text_file, path, text_file]).counts.tolist() == [6, 3, 3, 3, 3]
    path.write_bytes(COMPRESSIONS[suffix](TEXT[:10]) + COMPRESSIONS[suffix](TEXT[10:]))
    if suffix != ".lzma":  # whose streams cannot follow one another
        assert summary(encode(path)) == WANTED


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_truncated_and_damaged_files(tmp_path: Path, suffix: str) -> None:
    data = COMPRESSIONS[suffix](os.urandom(3000).hex().encode() + TEXT)
    path = tmp_path / f"text{suffix}"
    message = rf"cannot decompress '.*text\{suffix}', it is truncated or damaged"
    for damaged in (data[:-30], data[: len(data) // 2], TEXT * 20):
        path.write_bytes(damaged)
        with pytest.raises(OSError, match=message):
            encode(path)


def test_zst_without_zstandard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "text.zst"
    path.write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    monkeypatch.setitem(__import__("sys").modules, "compression.zstd", None)
    with pytest.raises(ImportError, match=r"needs the zstandard package|compression\.zstd"):
        encode(path)


def test_invalid_utf8_in_a_compressed_file(tmp_path: Path) -> None:
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(b"a b\n" * 3_000_000 + b"c \xff"))
    with pytest.raises(UnicodeDecodeError, match=r"text.gz' is not UTF-8 at byte offset 12000002 \(bytes ff\)"):
        encode(path)


def test_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write() -> None:
        with open(path, "wb") as pipe:
            for byte in TEXT:
                pipe.write(bytes([byte]))
                pipe.flush()

    writer = threading.Thread(target=write)
    writer.start()
    assert summary(encode(path)) == WANTED
    writer.join()


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no /proc on this system")
def test_files_that_say_they_are_empty() -> None:
    assert "kB" in encode("/proc/self/status").words


def test_a_path_that_is_none() -> None:
    for text in ("nowhere.txt", "the cat sat on the mat", "a\nb", "x" * 5000, "a\0b"):
        with pytest.raises(FileNotFoundError, match=r"pass token lists, for example \[line.split\(\) for"):
            encode(text)
    with pytest.raises(FileNotFoundError, match=r"there is no file 'nowhere'"):
        encode([Path("nowhere")])


def test_an_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no files in it"):
        encode(tmp_path)


def test_permission_errors_name_the_path(text_file: Path) -> None:
    text_file.chmod(0)
    text_file.parent.chmod(0o755)
    root = os.geteuid() == 0
    if root:  # who may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError, match=r"text\.txt"):
            encode(text_file)
    finally:
        if root:
            os.seteuid(0)


def test_errors_of_the_system_name_the_path(tmp_path: Path, text_file: Path) -> None:
    from fastembed import _core

    with pytest.raises(FileNotFoundError, match=r"gone\.txt") as caught:
        _core.CorpusEncoder().add_files([os.fsencode(text_file), os.fsencode(tmp_path / "gone.txt")])
    assert caught.value.filename == str(tmp_path / "gone.txt")


def test_paths_need_not_be_utf8(tmp_path: Path) -> None:
    name = os.path.join(os.fsencode(tmp_path), b"\xff.txt")
    with open(name, "wb") as file:
        file.write(TEXT)
    assert summary(encode(os.fsdecode(name))) == WANTED
    assert summary(encode(tmp_path)) == WANTED


SENTENCES = [["the", "cat", "sat"], ["on", "the", "mat"]]


@pytest.mark.parametrize(
    "corpus",
    [
        SENTENCES,
        tuple(map(tuple, SENTENCES)),
        iter(SENTENCES),
        (iter(sentence) for sentence in SENTENCES),
        [np.array(sentence) for sentence in SENTENCES],
        np.array(SENTENCES, object),
        {0: SENTENCES[0], 1: SENTENCES[1]}.values(),
        [SENTENCES[0], [], SENTENCES[1]],
    ],
)
def test_token_lists(corpus: Any) -> None:
    assert summary(encode(corpus, workers=2)) == WANTED


class Once:
    """Can be iterated once, and remembers how often it was."""

    def __init__(self) -> None:
        self.times = 0

    def __iter__(self) -> Iterator[list[str]]:
        self.times += 1
        buffer: list[str] = []
        for number in range(100_000):
            buffer[:] = [f"w{number % 10}", "x", "y"]  # always the same list
            yield buffer


def test_a_generator_is_iterated_once() -> None:
    corpus = Once()
    encoded = encode(corpus, workers=2)
    assert corpus.times == 1
    assert encoded.words == ["x", "y", *(f"w{i}" for i in range(10))]
    assert encoded.ids[:9].tolist() == [2, 0, 1, 3, 0, 1, 4, 0, 1]
    assert len(encoded.offsets) == 100_001


def test_what_a_generator_raises_comes_through() -> None:
    def broken() -> Iterator[list[str]]:
        yield ["a"]
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        encode(broken())
    with pytest.raises(LookupError, match="mine"):
        encode([(sentence[0] for sentence in broken())])


def test_lists_of_paths_in_str(tmp_path: Path, text_file: Path) -> None:
    """Each may be a pattern; where some exist, one that does not is no sentence."""
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_bytes(TEXT)
    pattern, missing = str(tmp_path / "[ab].txt"), str(tmp_path / "c.txt")
    assert encode([pattern, str(text_file)]).counts.tolist() == [6, 3, 3, 3, 3]
    assert encode([str(text_file), pattern]).counts.tolist() == [6, 3, 3, 3, 3]
    for corpus in ([str(text_file), missing], [missing, str(text_file)]):
        with pytest.raises(FileNotFoundError, match=re.escape(repr(missing))):
            encode(corpus)


def test_tokens_are_taken_as_they_are() -> None:
    assert encode([["new york", "a\nb", "", "\ufeffx", "é"]]).words == sorted(["new york", "a\nb", "", "\ufeffx", "é"])


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        (["the cat", "sat"], r"item 0, 'the cat', is not an existing file. Pass a list of token lists"),
        (("the cat", "sat"), r"Pass a list of token lists"),
        (["is it?", "sat *"], r"item 0, 'is it\?', is not an existing file. Pass a list of token lists"),
        ([Path(__file__), 3], "item 1 is a int"),
        (iter(["the cat"]), r"sentence 0 is a str; .*split it first"),
        ([["a"], "the cat"], r"sentence 1 is a str"),
        ([["a"], b"the cat"], r"sentence 1 is a bytes"),
        ([["a"], 7], r"sentence 1 is a int; a sentence must be a list of str tokens"),
        ([["a"], None], r"sentence 1 is a NoneType"),
        ([["a"], {"b": 1}], r"sentence 1 is a dict"),
        ([["a"], ["b", 7]], r"token 1 of sentence 1 is a int; tokens must be str"),
        ([["a"], [b"b"]], r"token 0 of sentence 1 is a bytes"),
        ([[["a"]]], r"token 0 of sentence 0 is a list"),
        (b"text", r"corpus is a bytes; decode it.* Accepted: a path"),
        (io.StringIO("a b"), r"pass its path"),
        ({"a": 1}, r"corpus is a dict\. Accepted"),
        ({"a"}, r"corpus is a set"),
        (None, r"corpus is a NoneType"),
        (7, r"corpus is a int"),
        (np.arange(3), r"\(ids, offsets\)"),
        (np.array(["a b"]), r"corpus is a ndarray"),
    ],
)
def test_wrong_kinds(corpus: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        encode(corpus)


def test_surrogates() -> None:
    with pytest.raises(ValueError, match="token 1 of sentence 0 has no UTF-8 form"):
        encode([["a", "\ud800"]])


@pytest.mark.parametrize("corpus", [[], [[]], iter([]), (np.array([], int), np.array([0])), [[], []]])
def test_an_empty_corpus(corpus: Any) -> None:
    with pytest.raises(ValueError, match="the corpus is empty"):
        encode(corpus)


def test_empty_files(tmp_path: Path) -> None:
    for text in (b"", b"\n", b" \t\n", b"\xef\xbb\xbf"):
        (tmp_path / "t").write_bytes(text)
        with pytest.raises(ValueError, match="the corpus is empty"):
            encode(tmp_path / "t")


def test_a_vocabulary_of_one_word() -> None:
    with pytest.raises(ValueError, match=r"1 words, at least 2 .* 3 distinct words .*min_count=2"):
        encode([["a", "a", "b", "c"]], min_count=2)
    with pytest.raises(ValueError, match=r"max_final_vocab=1"):
        encode([["a", "b"]], max_final_vocab=1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"min_count": -1}, ValueError, "min_count must be at least 0, got -1"),
        ({"min_count": 1.5}, TypeError, "min_count must be an int, got float"),
        ({"min_count": True}, TypeError, "min_count must be an int"),
        ({"max_final_vocab": 0}, ValueError, "max_final_vocab must be at least 1"),
        ({"max_vocab_size": 0}, ValueError, "max_vocab_size must be at least 1"),
        ({"workers": 0}, ValueError, "workers must be at least 1"),
        ({"workers": "2"}, TypeError, "workers must be an int, got str"),
        ({"errors": "surrogateescape"}, ValueError, "'strict', 'replace' or 'ignore', got 'surrogateescape'"),
        ({"errors": None}, TypeError, "errors must be a str"),
        ({"memory_budget": -1}, ValueError, "memory_budget must be at least 0"),
        *(
            ({name: 10**30}, ValueError, f"{name} must be within int64, got {10**30}")
            for name in ("min_count", "max_final_vocab", "max_vocab_size", "memory_budget")
        ),
    ],
)
def test_wrong_options(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        encode(SENTENCES, **options)


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i4", "i4", "u4", "i8", "u8"])
def test_integers(dtype: str) -> None:
    ids = np.array([7, 10, 9, 10, 9, 3], dtype)
    encoded = encode((ids, np.array([0, 2, 2, 6], "u8" if dtype == "u8" else "i4")))
    assert summary(encoded) == (["10", "9", "3", "7"], [2, 2, 1, 1], [3, 0, 1, 0, 1, 2], [0, 2, 6])
    assert summary(encode((np.repeat(ids, 2)[::2], np.array([0, 2, 2, 6])))) == summary(encoded)


def test_integers_beyond_int32() -> None:
    ids = np.array([2**63, 2**64 - 1, 2**63, 5], np.uint64)
    assert encode((ids, np.array([0, 4]))).words == [str(2**63), str(2**64 - 1), "5"]


@pytest.mark.parametrize(
    ("ids", "offsets", "error", "message"),
    [
        (np.array([1, -2, 3]), np.array([0, 3]), ValueError, "ids must not be negative, got -2 at index 1"),
        (np.array([1, 2]), np.array([], int), ValueError, "offsets must have at least 1 element"),
        (np.array([1, 2]), np.array([1, 2]), ValueError, "offsets must start at 0, got 1"),
        (np.array([1, 2]), np.array([0, 2, 1, 2]), ValueError, r"not descend: offsets[2] is 1 after 2"),
        (np.array([1, 2]), np.array([0, 1]), ValueError, "end at the number of ids, 2, got 1"),
        (np.array([1, 2]), np.array([0, 2**64 - 1], np.uint64), ValueError, "end at the number of ids, 2, got 18446"),
        (np.array([1.0, 2]), np.array([0, 2]), TypeError, "ids must be an array of integers, got dtype float64"),
        (np.array([True]), np.array([0, 1]), TypeError, "ids must be an array of integers, got dtype bool"),
        (np.array([[1, 2]]), np.array([0, 2]), ValueError, "ids must have 1 dimension, got 2"),
        (np.array([1, 2]), [0, 2], TypeError, "offsets must be a NumPy array of integers, got list"),
    ],
)
def test_wrong_integers(ids: Any, offsets: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        encode((ids, offsets))


COLUMN = ["the cat\tsat", None, "", "on the\nmat"]
COLUMN_WANTED = (*WANTED[:3], [0, 3, 5, 6])


def columns(values: list[Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    def pandas(**options: Any) -> Any:
        return pytest.importorskip("pandas", reason="pandas is not installed").Series(values, **options)

    def polars() -> Any:
        return pytest.importorskip("polars", reason="polars is not installed").Series(values)

    def arrow() -> Any:
        return pytest.importorskip("pyarrow", reason="pyarrow is not installed")

    yield "pandas", pandas
    yield "pandas object", lambda: pandas(dtype=object)
    yield "polars", polars
    yield "pyarrow array", lambda: arrow().array(values)
    yield "pyarrow chunked", lambda: arrow().chunked_array([values[:1], values[1:]])
    yield "pyarrow C stream", lambda: CStream(arrow().chunked_array([values]))


class CStream:
    """Knows nothing but the Arrow interface."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._column.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("make", [make for _, make in columns(COLUMN)], ids=[name for name, _ in columns(COLUMN)])
def test_columns_of_strings(make: Callable[[], Any]) -> None:
    assert summary(encode(make())) == COLUMN_WANTED


LISTS = [["the", "cat", "sat"], None, ["on", "the", "mat"]]


@pytest.mark.parametrize("make", [make for _, make in columns(LISTS)], ids=[name for name, _ in columns(LISTS)])
def test_columns_of_lists(make: Callable[[], Any]) -> None:
    assert summary(encode(make())) == WANTED


def test_long_columns() -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    rows = [f"w{i % 50} x" for i in range(200_000)]
    encoded = encode(polars.Series(rows), workers=2)
    assert len(encoded.offsets) == 200_001
    assert encoded.words[0] == "x"
    assert encoded.counts.tolist() == [200_000] + [4000] * 50


def test_tables_and_numbers_are_no_columns() -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    with pytest.raises(TypeError, match="a whole table; pass one of its columns"):
        encode(polars.DataFrame({"x": ["a"]}))
    with pytest.raises(TypeError, match="a column must hold strings or lists of tokens, got int"):
        encode(polars.Series([1, 2]))


def test_progress(text_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encode(text_file, progress=True)
    encode(iter(SENTENCES), progress=True)
    assert "corpus" in capsys.readouterr().err
    encode(text_file)
    assert capsys.readouterr().err == ""
