"""The corpus encoder against the slow reference: text, encodings, limits, workers, memory, threads."""

from __future__ import annotations

import itertools
import logging
import os
import random
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastembed import _core
from fastembed._corpus import EncodedCorpus, encode_corpus
from reference import corpus as reference
from shared_data import shared_path

LENGTHS = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 300]


def check(encoded: EncodedCorpus, wanted: reference.Encoded) -> None:
    assert encoded.words == wanted.words
    assert encoded.counts.tolist() == wanted.counts
    assert encoded.ids.tolist() == wanted.ids
    assert encoded.offsets.tolist() == wanted.offsets
    assert encoded.stats.raw_tokens == wanted.raw_tokens
    assert encoded.stats.distinct_words == wanted.distinct_words
    assert encoded.stats.kept_tokens == len(wanted.ids)
    assert (encoded.counts.dtype, encoded.ids.dtype, encoded.offsets.dtype) == (np.int64, np.int32, np.int64)


def same(a: EncodedCorpus, b: EncodedCorpus) -> bool:
    return (
        a.words == b.words
        and np.array_equal(a.counts, b.counts)
        and np.array_equal(a.ids, b.ids)
        and np.array_equal(a.offsets, b.offsets)
    )


def encode_text(path: Path, text: bytes, **options) -> EncodedCorpus:
    path.write_bytes(text)
    return encode_corpus(path, **{"min_count": 1, **options})


def by_blocks(text: bytes, block_bytes: int, workers: int, errors: str, chunk_bytes: int) -> EncodedCorpus | None:
    """As a stream; None when there are not 2 words."""
    encoder = _core.CorpusEncoder(workers=workers, errors=errors, chunk_bytes=chunk_bytes)
    for begin in range(0, len(text), block_bytes):
        encoder.add_bytes(text[begin : begin + block_bytes], "'stream'", False)
    encoder.add_bytes(b"", "'stream'", True)
    words, counts, ids, offsets, stats = encoder.finish(1)
    return EncodedCorpus(words, counts, ids, offsets, stats) if len(words) >= 2 else None


def random_text(seed: int, size: int, lines: bool = True) -> bytes:
    generator = random.Random(seed)
    words = ["".join(generator.choices("abcdefghij", k=generator.randint(1, 20))) for _ in range(50)]
    space = [" "] * 8 + ["\n"] if lines else [" "]
    text = "".join(generator.choice(words) + generator.choice(space) for _ in range(size // 10))
    return text.encode()


# Pieces that make trouble: white space of all kinds, valid and invalid UTF-8, NUL, marks, long words.
PIECES = st.sampled_from(
    [
        b" ",
        b"\n",
        b"\r\n",
        b"\t",
        b"\x0b",
        b"\x0c",
        b"\n\n",
        b"a",
        b"b",
        b"ab",
        b"the",
        b"x" * 15,
        b"x" * 16,
        b"y" * 70,
        b"\0",
        b"a\0",
        b"\xc3\xa9",
        b"\xe2\x82\xac",
        b"\xf0\x9f\x98\x80",
        b"\xef\xbb\xbf",
        b"\xef\xbf\xbd",
        b"\xc2\x85",
        b"\xff",
        b"\xc3",
        b"\xe2\x82",
        b"\xf0\x9f",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe0\x80",
        b"\x80",
    ]
)
TEXTS = st.lists(PIECES | st.binary(max_size=6), max_size=60).map(b"".join)


@given(
    text=TEXTS,
    workers=st.integers(1, 4),
    chunk_bytes=st.integers(4, 70),
    errors=st.sampled_from(["strict", "replace", "ignore"]),
)
def test_any_text_equals_the_reference(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, workers: int, chunk_bytes: int, errors: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    options = {"workers": workers, "errors": errors, "_chunk_bytes": chunk_bytes, "_chunks_per_round": 3}
    try:
        wanted = reference.encode(reference.sentences_of(text, errors))
    except UnicodeDecodeError as error:
        skipped = 3 if text.startswith(b"\xef\xbb\xbf") else 0
        with pytest.raises(UnicodeDecodeError, match=f"any.txt' is not UTF-8 at byte offset {error.start + skipped} "):
            encode_text(path, text, **options)
        return
    if len(wanted.words) < 2:
        with pytest.raises(ValueError, match=r"empty|at least 2 are needed"):
            encode_text(path, text, **options)
        return
    check(encode_text(path, text, **options), wanted)


@given(text=TEXTS, block_bytes=st.integers(1, 80), workers=st.integers(1, 3), chunk_bytes=st.integers(4, 40))
def test_blocks_of_any_size_equal_the_reference(text: bytes, block_bytes: int, workers: int, chunk_bytes: int) -> None:
    wanted = reference.encode(reference.sentences_of(text, "replace"))
    encoded = by_blocks(text, block_bytes, workers, "replace", chunk_bytes)
    assert (encoded is None) == (len(wanted.words) < 2)
    if encoded is not None:
        assert (encoded.words, encoded.counts.tolist()) == (wanted.words, wanted.counts)
        assert (encoded.ids.tolist(), encoded.offsets.tolist()) == (wanted.ids, wanted.offsets)


@given(
    sentences=st.lists(st.lists(st.text("ab\n \0é", max_size=3), max_size=5), max_size=20),
    workers=st.integers(1, 3),
    min_count=st.integers(0, 3),
    max_final_vocab=st.none() | st.integers(1, 6),
)
def test_token_lists_equal_the_reference(
    sentences: list[list[str]], workers: int, min_count: int, max_final_vocab: int | None
) -> None:
    wanted = reference.encode(sentences, min_count, max_final_vocab)
    options = {"min_count": min_count, "max_final_vocab": max_final_vocab, "workers": workers, "_chunk_bytes": 16}
    if len(wanted.words) < 2:
        with pytest.raises(ValueError, match=r"empty|at least 2 are needed"):
            encode_corpus(sentences, **options)
    else:
        check(encode_corpus(iter(sentences), **options), wanted)


@given(
    lengths=st.lists(st.integers(0, 4), min_size=1, max_size=20),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from("bhilBHIL"),
    workers=st.integers(1, 3),
    min_count=st.integers(1, 3),
)
def test_integers_equal_the_reference(lengths: list[int], seed: int, dtype: str, workers: int, min_count: int) -> None:
    offsets = np.cumsum([0, *lengths])
    generator = np.random.default_rng(seed)
    ids = generator.integers(0, 12, offsets[-1]).astype(dtype)
    sentences = [list(map(str, ids[begin:end])) for begin, end in itertools.pairwise(offsets.tolist())]
    wanted = reference.encode(sentences, min_count)
    options = {"min_count": min_count, "workers": workers, "_chunk_bytes": 16, "_chunks_per_round": 2}
    if len(wanted.words) < 2:
        with pytest.raises(ValueError, match=r"empty|at least 2 are needed"):
            encode_corpus((ids, offsets), **options)
    else:
        check(encode_corpus((ids, offsets), **options), wanted)


@pytest.mark.parametrize("isa", _core.available_isas())
def test_token_edges_on_every_instruction_set(isa: str) -> None:
    generator = random.Random(7)
    for length in LENGTHS:
        blocks = max(1, (length + 63) // 64)
        for offset, alphabet in itertools.product(
            (0, 1, 4, 12), (b" a", b" \n\t\x0b\x0c\r\x08\x0eab\x00\x7f\x80\xff", b"a", b"\n")
        ):
            text = bytes(generator.choices(alphabet, k=length)).ljust(64 * blocks, b" ")
            buffer = np.zeros(offset + len(text), np.uint8)
            buffer[offset:] = np.frombuffer(text, np.uint8)
            wanted = reference.token_edges(text)
            for piece in (1, 2, 100):
                edges, in_token, leading = _core.kernel_token_edges_u8(isa, buffer[offset:], piece)
                positions = (edges & 0x7FFFFFFF).tolist()
                assert (positions, (edges >> 31 == 1).tolist(), in_token, leading) == wanted


def test_token_edges_covers_every_byte() -> None:
    text = bytes(range(256))
    for isa in _core.available_isas():
        edges, in_token, _ = _core.kernel_token_edges_u8(isa, text, 4)
        assert (edges & 0x7FFFFFFF).tolist() == [0, 9, 14, 32, 33]
        assert in_token


@pytest.mark.parametrize("lines", [True, False])
@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_result_does_not_depend_on_workers(tmp_path: Path, workers: int, lines: bool) -> None:
    text = random_text(1, 200_000, lines)
    wanted = reference.encode(reference.sentences_of(text), 3)
    for chunk_bytes, rounds in ((4096, 5), (1 << 20, 64)):
        encoded = encode_text(
            tmp_path / "t", text, workers=workers, min_count=3, _chunk_bytes=chunk_bytes, _chunks_per_round=rounds
        )
        check(encoded, wanted)


def test_crlf_bom_missing_newline_and_blank_lines(tmp_path: Path) -> None:
    encoded = encode_text(tmp_path / "t", b"\xef\xbb\xbfb a\r\n\r\n\n \t b\r\nb")
    assert encoded.words == ["b", "a"]
    assert encoded.offsets.tolist() == [0, 2, 3, 4]


def test_the_sentence_ends_with_the_file(tmp_path: Path) -> None:
    for name, text in (("1", b"a b"), ("2", b"c"), ("3", b""), ("4", b"\n\na")):
        (tmp_path / name).write_bytes(text)
    assert encode_corpus(tmp_path, min_count=1).offsets.tolist() == [0, 2, 3, 4]


def test_nul_is_an_ordinary_byte(tmp_path: Path) -> None:
    assert encode_text(tmp_path / "t", b"a\0 a \0 a\0 a \0 \0").words == ["\0", "a", "a\0"]


def test_line_of_ten_megabytes(tmp_path: Path) -> None:
    encoded = encode_text(tmp_path / "t", b"one two " * 1_310_720 + b"three", workers=2)
    assert encoded.offsets.tolist() == [0, 2_621_441]
    assert encoded.words == ["one", "two", "three"]


def test_utf16_has_a_hint(tmp_path: Path) -> None:
    with pytest.raises(UnicodeDecodeError, match="UTF-16 byte order mark"):
        encode_text(tmp_path / "t", "a b".encode("utf-16"))


def test_invalid_utf8_names_the_first_place_whatever_worker_meets_it(tmp_path: Path) -> None:
    text = bytearray(random_text(2, 100_000))
    for place in (30_000, 60_000, 90_000):
        text[place] = 0xFE
    for workers in (1, 4):
        with pytest.raises(UnicodeDecodeError, match=r"at byte offset 30000 \(bytes fe\)"):
            encode_text(tmp_path / "t", bytes(text), workers=workers, _chunk_bytes=1000)


@pytest.mark.parametrize("size", [65_536, 65_537, 3_000_000])
@pytest.mark.parametrize("chunk_bytes", [1000, 1 << 20])
def test_long_tokens(tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int, chunk_bytes: int) -> None:
    text = b"a b " + b"x" * size + b"\nb a"
    if size == 65_536:
        assert len(encode_text(tmp_path / "t", text, _chunk_bytes=chunk_bytes).words) == 3
        return
    with pytest.raises(ValueError, match=r"token at byte offset 4 of .* is longer than 65536 bytes"):
        encode_text(tmp_path / "t", text, _chunk_bytes=chunk_bytes)
    with caplog.at_level(logging.WARNING, "fastembed"):
        encoded = encode_text(tmp_path / "t", text, errors="ignore", workers=2, _chunk_bytes=chunk_bytes)
    assert (encoded.words, encoded.offsets.tolist()) == (["a", "b"], [0, 2, 4])
    assert (encoded.stats.raw_tokens, encoded.stats.long_tokens) == (5, 1)
    assert "longer than 64 KiB" in caplog.text
    blocks = by_blocks(text, 7777, 2, "ignore", chunk_bytes)
    assert blocks is not None
    assert same(blocks, encoded)


def test_long_token_in_a_list() -> None:
    sentences = [["a", "b"], [], ["a", "x" * 70_000]]
    with pytest.raises(ValueError, match="token of sentence 2 is longer"):
        encode_corpus(sentences, min_count=1)
    assert encode_corpus(sentences, min_count=1, errors="replace").words == ["a", "b"]


def test_max_final_vocab_drops_ties() -> None:
    sentences = [["a"] * 5, ["b"] * 4, ["c"] * 3, ["d"] * 3, ["e"] * 2]
    encoded = encode_corpus(sentences, min_count=1, max_final_vocab=3)
    assert encoded.words == ["a", "b"]
    assert encoded.stats.effective_min_count == 4
    assert encode_corpus(sentences, min_count=1, max_final_vocab=4).words == ["a", "b", "c", "d"]
    assert encode_corpus(sentences, min_count=3, max_final_vocab=99).stats.effective_min_count == 3


def test_pruning_bounds_the_vocabulary_alike_for_all_workers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    generator = random.Random(3)
    frequent = [f"w{i}" for i in range(20)]
    words = [generator.choice(frequent) if generator.random() < 0.7 else f"rare{i}" for i in range(20_000)]
    text = " ".join(words).encode()
    with caplog.at_level(logging.WARNING, "fastembed"):
        results = [
            encode_text(
                tmp_path / "t", text, workers=workers, max_vocab_size=500, _chunk_bytes=512, _chunks_per_round=8
            )
            for workers in (1, 2, 5)
        ]
    assert "outgrew max_vocab_size=500" in caplog.text
    stats = results[0].stats
    assert stats.prune_count > 3
    assert len(results[0].words) <= 500 + 8 * 512 // 8
    assert stats.distinct_words == 20 + sum(word.startswith("rare") for word in words)
    assert stats.raw_tokens == 20_000
    assert int(results[0].counts.sum()) == stats.kept_tokens == len(results[0].ids)
    for word in frequent:
        assert results[0].counts[results[0].words.index(word)] == words.count(word)
    decoded = [results[0].words[number] for number in results[0].ids]
    kept = set(frequent) | set(decoded)
    assert [word for word in decoded if word in frequent] == [word for word in words if word in frequent]
    assert set(decoded) <= kept
    for other in results[1:]:
        assert same(other, results[0])
        assert other.stats == stats


@pytest.mark.parametrize("memory_budget", [0, 50_000])
def test_spooling_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_budget: int) -> None:
    text = random_text(4, 400_000)
    wanted = encode_text(tmp_path / "t", text, min_count=2)
    assert wanted.stats.spooled_bytes == 0
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    spooled = encode_corpus(tmp_path / "t", min_count=2, workers=2, memory_budget=memory_budget, _chunk_bytes=10_000)
    assert spooled.stats.spooled_bytes >= spooled.ids.nbytes
    assert same(spooled, wanted)
    assert list(folder.iterdir()) == []
    spooled.ids[0] = 1  # the pages are the caller's own
    pruned = encode_corpus(
        tmp_path / "t", min_count=1, memory_budget=0, max_vocab_size=30, _chunk_bytes=1000, _chunks_per_round=2
    )
    assert pruned.stats.prune_count > 0
    assert len(pruned.ids) == pruned.counts.sum()


def test_spooling_to_a_folder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="temporary file"):
        encode_text(tmp_path / "t", b"a b", memory_budget=0)


def test_an_encoder_after_an_error_refuses_further_use() -> None:
    encoder = _core.CorpusEncoder(workers=2)
    encoder.add_bytes(b"a b ", "'x'", False)
    with pytest.raises(UnicodeDecodeError):
        encoder.add_bytes(b"\xff ", "'x'", True)
    with pytest.raises(RuntimeError, match="had an error before"):
        encoder.add_bytes(b"a", "'x'", True)
    with pytest.raises(RuntimeError, match="had an error before"):
        encoder.finish(1)
    encoder = _core.CorpusEncoder()
    encoder.finish(1)
    with pytest.raises(RuntimeError, match="finished"):
        encoder.finish(1)


@pytest.mark.threads
def test_many_python_threads_at_once(tmp_path: Path) -> None:
    texts = [random_text(seed, 100_000) for seed in range(6)]
    for number, text in enumerate(texts):
        (tmp_path / str(number)).write_bytes(text)
    wanted = [encode_corpus(tmp_path / str(number), min_count=1, workers=1) for number in range(6)]

    def work(number: int) -> EncodedCorpus:
        return encode_corpus(tmp_path / str(number), min_count=1, workers=2, _chunk_bytes=5000)

    with ThreadPoolExecutor(6) as pool:
        for number, encoded in enumerate(pool.map(work, [0, 1, 2, 3, 4, 5] * 3)):
            assert same(encoded, wanted[number % 6])


def test_one_encoder_in_two_threads_is_refused_or_served_in_turn() -> None:
    encoder = _core.CorpusEncoder(workers=1)

    def work(_: int) -> str:
        try:
            encoder.add_bytes(b"word " * 200_000, "'x'", True)
        except RuntimeError as error:
            return str(error)
        return "served"

    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(work, range(12)))
    assert answers <= {"served", "the corpus encoder is in use by another thread"}


def test_fork_then_encode_again(run_python) -> None:
    done = run_python(
        textwrap.dedent(
            """
            import os
            from fastembed._corpus import encode_corpus
            def work():
                return encode_corpus([["a", "b"] * 100] * 1000, min_count=1, workers=2).counts.tolist()
            assert work() == [100_000, 100_000]
            child = os.fork()
            if child == 0:
                os._exit(0 if work() == [100_000, 100_000] else 1)
            assert os.waitpid(child, 0)[1] == 0
            assert work() == [100_000, 100_000]
            """
        ),
        PYTHONWARNINGS="ignore",
    )
    assert done.returncode == 0, done.stderr


INTERRUPT = """
import os, signal, sys, threading, time
from fastembed._corpus import encode_corpus
pressed = []
def press():
    pressed.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)
timer = threading.Timer(0.3, press)
timer.start()
try:
    {code}
except KeyboardInterrupt:
    answered = time.perf_counter() - pressed[0]
    threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("fastembed")]
    print(answered, threads)
"""


@pytest.mark.timed
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("files", "encode_corpus([{path!r}] * 2000, workers=2)"),
        ("generator", "encode_corpus(iter(lambda: ['a', 'b'] * 50, None), workers=2)"),
        ("xz", "encode_corpus({path!r} + '.xz')"),
        ("pipe", "encode_corpus('/dev/stdin')"),
    ],
)
def test_ctrl_c_is_answered_in_time(tmp_path: Path, name: str, code: str) -> None:
    path = tmp_path / "t.txt"
    if name == "files":
        path.write_bytes(random_text(5, 4_000_000))
        code = code.replace("[{path!r}]", "[__import__('pathlib').Path({path!r})]")
    elif name == "xz":
        import lzma

        block = lzma.compress(b"a b c d e f g h\n" * 4_000_000, preset=0)
        (tmp_path / "t.txt.xz").write_bytes(block * 40)
    script = INTERRUPT.replace("{code}", code.replace("{path!r}", repr(str(path))))
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        process.wait(60)
    finally:
        process.kill()
        output, errors = process.communicate()
    assert output, errors
    answered, threads = output.split(maxsplit=1)
    assert float(answered) < (0.2 if not _core.sanitizers else 2.0)
    assert threads.strip() == "[]"


def test_killed_while_spooling_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(random_text(6, 4_000_000))
    folder = tmp_path / "spool"
    folder.mkdir()
    script = (
        "from pathlib import Path; from fastembed._corpus import encode_corpus; print('go', flush=True); "
        f"encode_corpus([Path({str(path)!r})] * 1000, memory_budget=0)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(folder)}
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.3)
    process.kill()
    process.communicate()
    assert list(folder.iterdir()) == []


def test_the_real_corpus() -> None:
    path = shared_path("data", "enwiki-featured.txt.xz")
    if path is None:
        pytest.skip("the shared corpus is not on this machine")
    encoded = encode_corpus(path)
    assert encoded.stats.bytes == 134_651_865
    assert (encoded.stats.raw_tokens, encoded.stats.distinct_words) == (22_860_440, 267_302)
    assert (len(encoded.words), len(encoded.ids)) == (86_667, 22_572_300)
    assert encoded.words[:5] == ["the", "of", "and", "in", "to"]
    assert np.array_equal(np.bincount(encoded.ids), encoded.counts)
