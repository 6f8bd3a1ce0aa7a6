"""word2vec text and binary formats: round trips, gensim, damage."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastembed._word2vec_format as word2vec_format
from fastembed.vectors import WordVectors


def make(n_words: int = 30, vector_size: int = 7, seed: int = 0) -> WordVectors:
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((n_words, vector_size)).astype(np.float32)
    return WordVectors(table, [f"wörd{i}" for i in range(n_words)], counts=range(n_words))


def assert_equal(a: WordVectors, b: WordVectors) -> None:
    assert a.index_to_key == b.index_to_key
    assert a.vectors.shape == b.vectors.shape and a.vectors.tobytes() == b.vectors.tobytes()


def load_text(tmp_path: Path, content: bytes, **options: object) -> WordVectors:
    (tmp_path / "v.txt").write_bytes(content)
    return WordVectors.load_word2vec_format(tmp_path / "v.txt", **options)


WORDS = st.text(st.characters(exclude_characters=" \n", exclude_categories=["Cs"]), min_size=1, max_size=5)
TABLES = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.floats(width=32, allow_nan=False)
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=TABLES, data=st.data(), binary=st.booleans(), detect=st.booleans())
def test_round_trip(tmp_path: Path, table: np.ndarray, data: st.DataObject, binary: bool, detect: bool) -> None:
    words = data.draw(st.lists(WORDS, min_size=len(table), max_size=len(table), unique=True))
    wv = WordVectors(table, words)
    wv.save_word2vec_format(tmp_path / "v", binary=binary)
    assert_equal(wv, WordVectors.load_word2vec_format(tmp_path / "v", binary=None if detect else binary))


def test_text_gives_back_every_kind_of_float32(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 40_000, dtype=np.uint32)
    table = bits.view(np.float32)
    table = np.concatenate(
        [table[np.isfinite(table)], np.float32([0.0, -0.0, 1e-45, -1e-45, 3.4028235e38, np.inf, -np.inf])]
    )
    wv = WordVectors(table[:, None], [f"w{i}" for i in range(len(table))])
    wv.save_word2vec_format(tmp_path / "v")
    assert_equal(wv, WordVectors.load_word2vec_format(tmp_path / "v"))


@pytest.mark.parametrize("binary", [False, True])
def test_many_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, binary: bool) -> None:
    wv = make(500)
    wv.save_word2vec_format(tmp_path / "v", binary=binary)
    for chunk_bytes in (1, 37, 1000):
        monkeypatch.setattr(word2vec_format, "_CHUNK_BYTES", chunk_bytes)
        assert_equal(wv, WordVectors.load_word2vec_format(tmp_path / "v", binary=binary))


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_compressed(tmp_path: Path, suffix: str, binary: bool) -> None:
    wv = make(300)
    path = tmp_path / f"v{suffix}"
    wv.save_word2vec_format(path, binary=binary)
    plain = {".gz": gzip, ".bz2": bz2, ".xz": lzma}[suffix].open(path).read()
    assert plain.startswith(b"300 7\n")
    assert_equal(wv, WordVectors.load_word2vec_format(path))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"compressed data is damaged or cut short"):
        WordVectors.load_word2vec_format(path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"limit": 2.5}, TypeError, "limit must be an int, got float"),
        ({"limit": "5"}, TypeError, "limit must be an int, got str"),
        ({"limit": True}, TypeError, "limit must be an int, got bool"),
        ({"limit": -1}, ValueError, "limit must be between 0 and"),
        ({"binary": "no"}, TypeError, "binary must be True or False, got 'no'"),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict[str, object], error: type[Exception], message: str) -> None:
    wv = make()
    wv.save_word2vec_format(tmp_path / "v")
    with pytest.raises(error, match=message):
        WordVectors.load_word2vec_format(tmp_path / "v", **options)
    if "binary" in options:
        with pytest.raises(error, match=message):
            wv.save_word2vec_format(tmp_path / "w", **options)
        with pytest.raises(TypeError, match="mmap must be True or False, got 'no'"):
            WordVectors.load(tmp_path / "w", mmap="no")


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("limit", [0, 1, 10, 30, 99])
def test_limit(tmp_path: Path, binary: bool, limit: int) -> None:
    wv = make()
    wv.save_word2vec_format(tmp_path / "v", binary=binary)
    loaded = WordVectors.load_word2vec_format(tmp_path / "v", limit=limit)
    assert loaded.index_to_key == wv.index_to_key[:limit] and np.array_equal(loaded.vectors, wv.vectors[:limit])


# What others write


def test_word2vec_c_text_has_a_trailing_space(tmp_path: Path) -> None:
    wv = load_text(tmp_path, b"2 3\n</s> 0.004003 0.004419 -0.003830 \nthe -1e-3 2 3 \n")
    assert wv.index_to_key == ["</s>", "the"]
    assert np.array_equal(wv.vectors, np.float32([[0.004003, 0.004419, -0.003830], [-1e-3, 2, 3]]))


def test_text_variants(tmp_path: Path) -> None:
    expected = np.float32([[1, 2], [3, 4]])
    for content in (
        b"2 2\na 1 2\nb 3 4",
        b"2 2\r\na 1 2\r\nb 3 4\r\n",
        b"2 2\na 1\t2\nb  3  4 \n\n",
        b"2 2\na\x0b 1 2\n\xc2\xa0b 3 4\n",
    ):
        assert np.array_equal(load_text(tmp_path, content).vectors, expected)
    assert load_text(tmp_path, content).index_to_key == ["a\x0b", "\xa0b"]


@pytest.mark.parametrize("newline", [b"", b"\n"])
def test_binary_with_and_without_line_feeds(tmp_path: Path, newline: bytes) -> None:
    wv = make(100)
    records = [word.encode() + b" " + row.tobytes() + newline for word, row in zip(wv, wv.vectors, strict=True)]
    (tmp_path / "v").write_bytes(b"100 7\n" + b"".join(records))
    assert_equal(wv, WordVectors.load_word2vec_format(tmp_path / "v", binary=True))
    assert_equal(wv, WordVectors.load_word2vec_format(tmp_path / "v"))


def test_values_that_look_like_separators(tmp_path: Path) -> None:
    table = np.frombuffer(b"    \n\n\n\n1.5\n0 1\n" * 2, dtype="<f4").reshape(-1, 4)
    wv = WordVectors(table, ["a", "b"])
    wv.save_word2vec_format(tmp_path / "v", binary=True)
    assert_equal(wv, WordVectors.load_word2vec_format(tmp_path / "v", binary=True))
    assert_equal(wv, WordVectors.load_word2vec_format(tmp_path / "v"))


@pytest.mark.parametrize("binary", [False, True])
def test_gensim_reads_ours_and_we_read_gensims(tmp_path: Path, binary: bool) -> None:
    models = pytest.importorskip("gensim.models")
    wv = make(200, 20)
    wv.save_word2vec_format(tmp_path / "ours", binary=binary)
    theirs = models.KeyedVectors.load_word2vec_format(str(tmp_path / "ours"), binary=binary)
    assert theirs.index_to_key == wv.index_to_key and theirs.vectors.tobytes() == wv.vectors.tobytes()
    for word in wv.index_to_key[:20]:
        ours = wv.most_similar(word)
        assert [near for near, _ in ours] == [near for near, _ in theirs.most_similar(word)]
    theirs.save_word2vec_format(str(tmp_path / "theirs"), binary=binary)
    back = WordVectors.load_word2vec_format(tmp_path / "theirs", binary=binary)
    assert back.index_to_key == wv.index_to_key
    assert back.vectors.tobytes() == wv.vectors.tobytes()
    assert_equal(back, WordVectors.load_word2vec_format(tmp_path / "theirs"))


# What is refused


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    ("word", "message"),
    [("a b", "'a b' .*space"), ("a\nb", "line feed"), ("", "is empty"), ("\ud800", "not valid Unicode")],
)
def test_words_that_cannot_be_written(tmp_path: Path, word: str, message: str, binary: bool) -> None:
    (tmp_path / "v").write_text("old")
    wv = WordVectors(np.ones((2, 3), np.float32), ["fine", word])
    with pytest.raises(ValueError, match=message):
        wv.save_word2vec_format(tmp_path / "v", binary=binary)
    assert (tmp_path / "v").read_text() == "old" and os.listdir(tmp_path) == ["v"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: '<number of words> <vector size>' was wanted, got b''"),
        (b"the 0.1 0.2 0.3\n", "line 1: .* GloVe"),
        (b"2 x\n", "line 1: "),
        (b"-2 3\n", "line 1: "),
        (b"2 0\na\nb\n", "line 1: the vector size is 0"),
        (b"2 2\na 1 2\n", "the file ends after 1 of the 2 words"),
        (b"1 2\na 1 2\nb 1 2\n", "more data follows the 1 words.*b'b 1 2'"),
        (b"3 2\na 1 2\nb 1\nc 1 2\n", "line 3: 2 values were wanted after the word, got 1"),
        (b"3 2\na 1 2\nb 1 2 3\nc 1 2\n", "line 3: 2 values were wanted after the word, got 3"),
        (b"3 2\na 1 2\nb 1 2 3\nc 1\n", "line 3: 2 values"),
        (b"3 2\na 1 2\nb\nc 1 2\n", "line 3: a word and 2 values were wanted, got b'b"),
        (b"3 2\na 1 2\n\nc 1 2\n", "line 3: a word and 2 values were wanted"),
        (b"3 2\na 1 2\nb 1 zwei\nc 1 2\n", "line 3: a number was wanted, got b'zwei'"),
        (b"3 2\na 1 2\nb 1 1_0\nc 1 2\n", "line 3: a number was wanted, got b'1_0'"),
        (b"3 2\na 1 2\nb\xff 1 2\nc 1 2\n", "line 3: the word .* is not UTF-8"),
        (b"2 2\na 1 2\na 3 4\n", "the word 'a' occurs as entries 1 and 2"),
        (b"99999999999999999 100\na 1 2\n", "line 1 promises .*, more than the memory holds"),
    ],
)
def test_malformed_text(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=rf"v\.txt: {message}"):
        load_text(tmp_path, content, binary=False)


@pytest.mark.parametrize(
    "content", [b"1 2\na 1 2 3\n", b"2 2\nb 1 zwei\nc 1 2\n", b"the 0.1 0.2\n", "1 2\nä 1 ü\n".encode(), b""]
)
def test_detection_takes_malformed_text_for_text(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"line [12]: "):
        load_text(tmp_path, content)


def test_malformed_binary(tmp_path: Path) -> None:
    wv = make(10, 4)
    path = tmp_path / "v"
    wv.save_word2vec_format(path, binary=True)
    data = path.read_bytes()
    for cut in (1 + 1, 5, 16, 20, 100):
        path.write_bytes(data[:-cut])
        with pytest.raises(
            ValueError, match=rf"the file ends at byte {len(data) - cut}, in or before word \d+ of the 10"
        ):
            WordVectors.load_word2vec_format(path)
    path.write_bytes(data + b"more")
    with pytest.raises(ValueError, match="more data follows the 10 words"):
        WordVectors.load_word2vec_format(path)
    path.write_bytes(b"2 1\n \x00\x00\x00\x00b \x00\x00\x00\x00")
    with pytest.raises(ValueError, match="byte 5: a word was wanted, got an empty one"):
        WordVectors.load_word2vec_format(path, binary=True)
    path.write_bytes(b"2 1\n" + b"\x01" * (3 << 20))
    with pytest.raises(ValueError, match="byte 4: no space within"):
        WordVectors.load_word2vec_format(path, binary=True)


def test_errors_lets_broken_and_repeated_words_pass(tmp_path: Path) -> None:
    content = b"4 1\na\xff 1\nb 2\na\xfe 3\nb 4\n"
    with pytest.warns(UserWarning, match="entries 1 and 3; 2 repeated entries were left out"):
        wv = load_text(tmp_path, content, errors="replace")
    assert wv.index_to_key == ["a\ufffd", "b"] and wv.vectors.tolist() == [[1.0], [2.0]]
    wv = load_text(tmp_path, b"2 1\na\xff 1\nb 2\n", errors="ignore")
    assert wv.index_to_key == ["a", "b"]
    with pytest.raises(ValueError, match="errors must be 'strict', 'replace' or 'ignore', got 'loose'"):
        load_text(tmp_path, content, errors="loose")


def test_targets_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="it is a directory"):
        make().save_word2vec_format(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        make().save_word2vec_format(tmp_path / "no" / "v")
    with pytest.raises(FileNotFoundError):
        WordVectors.load_word2vec_format(tmp_path / "nothing")
    if os.path.exists("/dev/null"):
        with pytest.raises(ValueError, match="not a regular file"):
            make().save_word2vec_format("/dev/null")
        assert not os.path.isfile("/dev/null")
    if os.path.isdir("/dev/fd"):
        reading, writing = os.pipe()
        with pytest.raises(ValueError, match="not a regular file"):  # as /dev/stdout is in a pipe
            make().save_word2vec_format(f"/dev/fd/{writing}")
        os.close(reading)
        os.close(writing)
    for save in (make().save, make().save_word2vec_format):
        with pytest.raises(ValueError, match="cannot write '': a path was wanted"):
            save("")
        with pytest.raises(OSError, match="File name too long"):
            save(tmp_path / ("x" * 256))
    for suffix in (".zst", ".LZMA"):
        with pytest.raises(ValueError, match=f"v{suffix}': this compression is not written; use .gz, .bz2 or .xz"):
            make().save_word2vec_format(tmp_path / f"v{suffix}")


def test_a_symbolic_link_is_followed_and_the_mode_is_usual(tmp_path: Path) -> None:
    if os.name == "nt":
        pytest.skip("Windows has neither modes nor links without privileges")
    (tmp_path / "real").write_text("old")
    (tmp_path / "plain").write_text("")
    (tmp_path / "link").symlink_to("real")
    make().save_word2vec_format(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert_equal(make(), WordVectors.load_word2vec_format(tmp_path / "real"))
    assert (tmp_path / "real").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_vocabulary_file(tmp_path: Path) -> None:
    WordVectors(np.ones((2, 1), np.float32), ["the", "ö"], counts=[7, 3]).save_word2vec_format(tmp_path / "v")
    wv = WordVectors(np.ones((2, 1), np.float32), ["the", "ö"], counts=[7, 3])
    word2vec_format.save_vocabulary(tmp_path / "vocabulary", wv)
    assert (tmp_path / "vocabulary").read_text(encoding="utf-8") == "the 7\nö 3\n"
    with pytest.raises(ValueError, match="no counts"):
        word2vec_format.save_vocabulary(tmp_path / "x", WordVectors.load_word2vec_format(tmp_path / "v"))
