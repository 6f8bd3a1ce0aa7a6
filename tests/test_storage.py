"""The open store: round trips, damage, replacement, and kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastembed._store as store
from fastembed import Index
from fastembed.vectors import WordVectors

ODD_WORDS = [
    "\r",
    "a\rb",
    "\x00",
    "\u2028",
    "\x85",
    "\x0b\x0c\x1c",
    "",
    " ",
    "tab\there",
    "ünï",
    "😀",
    "\ufeff",
    "\ud800",
    "'\"\\",
]

_PACKAGE_ROOT = str(Path(store.__file__).parent.parent)


def make(n_words: int = 20, vector_size: int = 4, words: list[str] | None = None, seed: int = 0) -> WordVectors:
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((n_words, vector_size)).astype(np.float32)
    return WordVectors(
        table,
        words or [f"w{i}" for i in range(n_words)],
        counts=rng.integers(1, 1000, n_words),
        output_vectors=-table,
        history=[{"epoch": 1, "loss": 2.5, "words_per_second": 1e6, "alpha": 0.02}],
        config={"window": 5, "seed": 1},
    )


def assert_equal(a: WordVectors, b: WordVectors) -> None:
    assert a.index_to_key == b.index_to_key
    assert a.history == b.history and a.config == b.config
    for name in ("vectors", "output_vectors", "counts"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        assert x is None or (x.dtype == y.dtype and x.tobytes() == y.tobytes()), name


def entries(path: Path) -> list[str]:
    return sorted(os.listdir(path))


# Round trips


@pytest.mark.parametrize("mmap", [True, False])
def test_round_trip(tmp_path: Path, mmap: bool) -> None:
    wv = make()
    wv.save(tmp_path / "store")
    loaded = WordVectors.load(tmp_path / "store", mmap=mmap)
    assert_equal(wv, loaded)
    assert isinstance(loaded.vectors, np.memmap) == mmap and isinstance(loaded.output_vectors, np.memmap) == mmap
    assert loaded.most_similar("w1") == wv.most_similar("w1")
    assert not loaded.vectors.flags.writeable


def test_layout_is_open(tmp_path: Path) -> None:
    wv = make(3, words=["a", "b\r", "c"])
    wv.save(tmp_path / "store")
    assert entries(tmp_path / "store") == [
        "counts.npy",
        "metadata.json",
        "output_vectors.npy",
        "vectors.npy",
        "vocabulary.txt",
    ]
    assert np.array_equal(np.load(tmp_path / "store" / "vectors.npy"), wv.vectors)
    assert (tmp_path / "store" / "vocabulary.txt").read_bytes() == b"a\nb\r\nc\n"
    metadata = json.loads((tmp_path / "store" / "metadata.json").read_text())
    assert metadata["format"] == "fastembed.WordVectors" and metadata["format_version"] == 1
    assert (metadata["n_words"], metadata["vector_size"]) == (3, 4) and metadata["config"] == wv.config


def test_only_what_there_is_is_written(tmp_path: Path) -> None:
    wv = WordVectors(np.ones((1, 2), np.float32), ["a"])
    wv.save(tmp_path / "store")
    assert entries(tmp_path / "store") == ["metadata.json", "vectors.npy", "vocabulary.txt"]
    assert_equal(wv, WordVectors.load(tmp_path / "store"))


@pytest.mark.parametrize("words", [ODD_WORDS, [*ODD_WORDS, "\n", "a\nb", "\ud83d\ude00"], []])
def test_odd_words_round_trip(tmp_path: Path, words: list[str]) -> None:
    wv = WordVectors(np.ones((len(words), 2), np.float32), words)
    wv.save(tmp_path / "store")
    assert WordVectors.load(tmp_path / "store").index_to_key == words


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(), max_size=6), unique=True, max_size=8))
def test_any_words_round_trip(words: list[str]) -> None:
    data, encoding = store.lines_bytes(words)
    assert store.parse_lines(data, encoding, "vocabulary.txt") == words


def test_numpy_scalars_in_history_and_config(tmp_path: Path) -> None:
    wv = WordVectors(
        np.ones((1, 2), np.float32),
        ["a"],
        history=[{"loss": np.float32(0.5), "epoch": np.int64(3)}],
        config={"sg": np.True_},
    )
    wv.save(tmp_path / "store")
    loaded = WordVectors.load(tmp_path / "store")
    assert loaded.history == [{"loss": 0.5, "epoch": 3}] and loaded.config == {"sg": True}


def test_pickle_of_a_mapped_store(tmp_path: Path) -> None:
    import pickle

    wv = make()
    wv.save(tmp_path / "store")
    twin = pickle.loads(pickle.dumps(WordVectors.load(tmp_path / "store")))
    assert_equal(wv, twin)
    assert type(twin.vectors) is np.ndarray


# Replacement


def test_replacing_keeps_nothing_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "store"
    for seed in range(4):
        wv = make(10 + seed, seed=seed)
        wv.save(path)
        assert_equal(wv, WordVectors.load(path))
    assert len(entries(path)) == 5


def test_saving_over_what_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "store"
    wv = make()
    wv.save(path)
    mapped = WordVectors.load(path)
    mapped.save(path)
    again = WordVectors.load(path)
    make(seed=1).save(path)
    assert_equal(wv, mapped)
    assert_equal(wv, again)


def test_foreign_files_stay_in_a_store(tmp_path: Path) -> None:
    path = tmp_path / "store"
    make().save(path)
    (path / "README").write_text("mine")
    make(seed=1).save(path)
    assert (path / "README").read_text() == "mine"


def test_foreign_directories_are_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "vectors.npy").write_text("mine")
    with pytest.raises(FileExistsError, match="neither empty nor a fastembed store"):
        make().save(tmp_path)
    assert entries(tmp_path) == ["vectors.npy"]
    (tmp_path / "metadata.json").write_text("{}")
    with pytest.raises(ValueError, match="not the metadata of a fastembed store"):
        make().save(tmp_path)
    with pytest.raises(FileExistsError, match="is not a directory"):
        make().save(tmp_path / "vectors.npy")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        make().save(tmp_path / "no" / "where")


@pytest.mark.parametrize("path", [b"store", 3, None])
def test_paths_that_are_no_str_are_refused_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    index = Index(make().vectors)
    for call in (make().save, WordVectors.load, index.save, Index.load, make().save_word2vec_format):
        with pytest.raises(TypeError, match=rf"path must be a path \(str or os.PathLike\), got {type(path).__name__}"):
            call(path)
    assert os.listdir(tmp_path) == []


def test_an_empty_directory_is_accepted(tmp_path: Path) -> None:
    make().save(tmp_path)
    assert_equal(make(), WordVectors.load(tmp_path))


def test_what_json_cannot_hold_is_refused_before_writing(tmp_path: Path) -> None:
    wv = WordVectors(np.ones((1, 2), np.float32), ["a"], config={"callback": object()})
    with pytest.raises(TypeError, match="config cannot be stored as JSON: not JSON serialisable: object"):
        wv.save(tmp_path / "store")
    assert entries(tmp_path) == []


def test_a_failing_save_leaves_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store"
    make().save(path)
    before = entries(path)
    written: list[str] = []
    real = store._write_data

    def full_disk(directory: str, name: str, content: object) -> object:
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(name)
        return real(directory, name, content)

    monkeypatch.setattr(store, "_write_data", full_disk)
    with pytest.raises(OSError, match="No space left"):
        make(seed=1).save(path)
    assert entries(path) == before
    assert_equal(make(), WordVectors.load(path))


def test_an_interrupted_first_save_is_told_and_cleaned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store"
    with monkeypatch.context() as patch:
        patch.setattr(store, "_remove_all_but", lambda *_: None)  # as after kill -9: nobody cleans up
        patch.setattr(store, "atomic_write", None)
        with pytest.raises(TypeError):
            make().save(path)
    assert "vectors.npy" in entries(path)
    with pytest.raises(FileNotFoundError, match="first save into this directory has not finished"):
        WordVectors.load(path)
    make(seed=1).save(path)
    assert_equal(make(seed=1), WordVectors.load(path))
    assert len(entries(path)) == 5


def test_readers_during_saves_see_one_version(tmp_path: Path) -> None:
    path = tmp_path / "store"
    versions = [make(seed=0), make(30, seed=1)]
    versions[0].save(path)
    stop = threading.Event()

    def save() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            versions[turn % 2].save(path)

    writers = [threading.Thread(target=save) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            loaded = WordVectors.load(path)
            assert_equal(loaded, versions[0] if len(loaded) == 20 else versions[1])
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert len(entries(path)) == 5


_KILLED = """
import sys
import numpy as np
from fastembed.vectors import WordVectors
versions = []
for seed in (0, 1):
    table = np.random.default_rng(seed).standard_normal((3000 + seed, 50)).astype(np.float32)
    versions.append(WordVectors(table, [f"w{i}" for i in range(len(table))], output_vectors=-table,
    counts=range(len(table))))
if sys.argv[2] == "first":
    versions[0].save(sys.argv[1] + "/store")
    versions[0].save_word2vec_format(sys.argv[1] + "/file", binary=True)
else:
    print("ready", flush=True)
    turn = 0
    while True:
        turn += 1
        versions[turn % 2].save(sys.argv[1] + "/store")
        versions[turn % 2].save_word2vec_format(sys.argv[1] + "/file", binary=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_kill_9_during_save_leaves_a_whole_version(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([_PACKAGE_ROOT, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", _KILLED, str(tmp_path)]
    subprocess.run([*command, "first"], check=True, env=environment, timeout=60)
    tables = [np.random.default_rng(seed).standard_normal((3000 + seed, 50)).astype(np.float32) for seed in (0, 1)]
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(12):
        with subprocess.Popen([*command, "loop"], stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0.0, 0.12))
            process.kill()
        loaded = WordVectors.load(tmp_path / "store", mmap=False)
        version = len(loaded) - 3000
        seen.add(version)
        assert loaded.vectors.tobytes() == tables[version].tobytes()
        assert loaded.output_vectors is not None and loaded.output_vectors.tobytes() == (-tables[version]).tobytes()
        assert loaded.counts is not None and loaded.counts.tolist() == list(range(len(loaded)))
        file = WordVectors.load_word2vec_format(tmp_path / "file")
        assert file.vectors.tobytes() == tables[len(file) - 3000].tobytes()
    assert seen <= {0, 1}
    make().save(tmp_path / "store")
    assert len(entries(tmp_path / "store")) == 5


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_kill_9_during_a_first_save_leaves_nothing_or_everything(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from fastembed.vectors import WordVectors; t = np.ones((20_000, 100), np.float32); "
        "w = WordVectors(t, map(str, range(len(t))), output_vectors=t); print(flush=True); w.save(sys.argv[1])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([_PACKAGE_ROOT, os.environ.get("PYTHONPATH", "")])}
    for milliseconds in (0, 2, 5, 10, 15, 20, 30, 60):
        path = tmp_path / str(milliseconds)
        command = [sys.executable, "-c", code, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(milliseconds / 1000)
            process.kill()
        try:
            loaded = WordVectors.load(path, mmap=False)
        except FileNotFoundError:
            pass
        except ValueError as error:  # killed between making the directory and marking it
            assert "no metadata.json" in str(error) and entries(path) == []
        else:
            assert len(loaded) == 20_000 and float(loaded.vectors.min()) == 1.0
        make().save(path)
        assert_equal(make(), WordVectors.load(path))
        assert len(entries(path)) == 5


# Damage


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("name", ["vectors.npy", "output_vectors.npy", "counts.npy", "vocabulary.txt"])
def test_truncated_and_missing_files_are_named(tmp_path: Path, name: str, mmap: bool) -> None:
    path = tmp_path / "store"
    make().save(path)
    data = (path / name).read_bytes()
    (path / name).write_bytes(data[:-3])
    with pytest.raises(ValueError, match=rf"{name}: {len(data) - 3} bytes, but metadata.json says {len(data)}"):
        WordVectors.load(path, mmap=mmap)
    (path / name).unlink()
    with pytest.raises(ValueError, match=rf"{name}: named by metadata.json but missing"):
        WordVectors.load(path, mmap=mmap)


@pytest.mark.parametrize("save", ["save", "save_word2vec_format"])
def test_the_file_that_there_is_no_room_for_is_named(tmp_path: Path, save: str, run_python) -> None:
    program = f"""
import resource, numpy as np
from fastembed import WordVectors
wv = WordVectors(np.ones((20, 1000), np.float32), [str(i) for i in range(20)])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    wv.{save}({str(tmp_path / "out")!r})
except OSError as error:
    print(error.filename)
"""
    wanted = tmp_path / "out" / "vectors.npy" if save == "save" else tmp_path / "out"
    assert run_python(program).stdout == f"{wanted}\n"


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("at", [0, 6, 8, 9, *range(10, 128, 3)])
def test_damaged_headers_are_named(tmp_path: Path, at: int, mmap: bool) -> None:
    """np.load parses headers as Python, which fails in many ways."""
    path = tmp_path / "store"
    make().save(path)
    data = bytearray((path / "vectors.npy").read_bytes())
    data[at : at + 20] = bytes(20)
    (path / "vectors.npy").write_bytes(data)
    with pytest.raises(ValueError, match=r"vectors\.npy: "):
        WordVectors.load(path, mmap=mmap)


def test_mixed_files_are_named(tmp_path: Path) -> None:
    make(20, 4).save(tmp_path / "a")
    make(40, 2).save(tmp_path / "b")
    make(20, 4, seed=2).save(tmp_path / "c")
    (tmp_path / "a" / "vectors.npy").write_bytes((tmp_path / "b" / "vectors.npy").read_bytes())
    with pytest.raises(
        ValueError, match=r"vectors.npy: float32 of shape \(20, 4\) was wanted, got float32 of \(40, 2\)"
    ):
        WordVectors.load(tmp_path / "a")
    (tmp_path / "a" / "vectors.npy").write_bytes((tmp_path / "c" / "vectors.npy").read_bytes())
    with pytest.raises(ValueError, match=r"vectors.npy: CRC-32"):
        WordVectors.load(tmp_path / "a", mmap=False)
    vocabulary = (tmp_path / "c" / "vocabulary.txt").read_bytes()
    (tmp_path / "c" / "vocabulary.txt").write_bytes(vocabulary.replace(b"w1\n", b"x1\n"))
    with pytest.raises(ValueError, match=r"vocabulary.txt: CRC-32"):
        WordVectors.load(tmp_path / "c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-30], "not valid JSON"),
        (lambda text: "[]", "not the metadata of a fastembed store"),
        (lambda text: text.replace('"fastembed.WordVectors"', "[]"), "not the metadata of a fastembed store"),
        (lambda text: text.replace('"format_version": 1', '"format_version": 99'), "format version 99"),
        (lambda text: text.replace('"n_words"', '"n"'), "the entry 'n_words' is missing"),
        (lambda text: text.replace('"lines"', '"runes"'), "unknown vocabulary encoding 'runes'"),
        (lambda text: text.replace('"encoding"', '"code"'), "the entry 'encoding' is missing"),
        (lambda text: text.replace('"crc32"', '"crc"'), "the entry 'crc32' is missing"),
        (lambda text: text.replace('"vectors.npy"', '"../vectors.npy"'), "names a file that is none of a store's"),
        (lambda text: text.replace('"n_words": 20', '"n_words": "20"'), "something else than a size"),
        (lambda text: text.replace('"n_words": 20', '"n_words": 21'), r"float32 of shape \(21, 4\) was wanted"),
        (lambda text: text.replace('"vocabulary": {', '"words": {'), "the entry 'vocabulary' is missing"),
    ],
)
def test_damaged_metadata(tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / "store"
    make().save(path)
    text = (path / "metadata.json").read_text()
    (path / "metadata.json").write_text(change(text))
    with pytest.raises(ValueError, match=message):
        WordVectors.load(path)


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no fastembed store at .*nowhere"):
        WordVectors.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"is not a fastembed store: it has no metadata.json"):
        WordVectors.load(tmp_path)


def test_a_loss_that_is_nan_is_json_all_the_same(tmp_path: Path) -> None:
    vectors = make()
    vectors.history = [{"epoch": 0, "loss": float("nan")}, {"epoch": 1, "loss": np.float32("nan")}, {"epoch": 2}]
    vectors.save(tmp_path / "store")

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    held = json.loads((tmp_path / "store" / "metadata.json").read_bytes(), parse_constant=refuse)
    assert held["history"] == [{"epoch": 0, "loss": None}, {"epoch": 1, "loss": None}, {"epoch": 2}]
    losses = [record.get("loss") for record in WordVectors.load(tmp_path / "store").history]
    assert np.isnan(losses[:2]).all() and losses[2] is None


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="has no users as POSIX has them")
def test_a_directory_that_may_not_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    path = tmp_path / "store"
    make().save(path)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # who may read anything
        tmp_path.chmod(0o755)
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError, match="store"):
            WordVectors.load(path)
    finally:
        os.seteuid(user)
        path.chmod(0o755)


def test_a_header_that_asks_for_too_much_memory_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "store"
    make().save(path)
    name = path / "vectors.npy"
    data = name.read_bytes()
    shape = f"({len(make())}, {make().vector_size})"
    header = data[: data.index(b"\n")].decode("latin-1")
    assert shape in header
    wider = header.replace(shape, "(99999999, 99999999)")
    name.write_bytes(wider[: len(header)].encode("latin-1") + data[len(header) :])
    for mmap in (False, True):
        with pytest.raises(ValueError, match=r"vectors\.npy: "):
            WordVectors.load(path, mmap=mmap)
