"""Word pairs and analogies: against the slow reference, against gensim, and on malformed files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastembed._evaluation as evaluation
from fastembed.vectors import WordVectors
from reference import evaluation as reference
from shared_data import shared_path


def make(words: list[str], vector_size: int = 6, seed: int = 0) -> WordVectors:
    table = np.random.default_rng(seed).standard_normal((len(words), vector_size)).astype(np.float32)
    return WordVectors(table, words)


WORDS = [f"w{i}" for i in range(40)]

# Word pairs


def pairs_file(tmp_path: Path, text: str, name: str = "pairs.txt") -> Path:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def test_word_pairs_equal_the_reference(tmp_path: Path) -> None:
    wv = make(WORDS)
    rng = np.random.default_rng(1)
    pairs = [(f"w{a}", f"w{b}", int(score)) for a, b, score in rng.integers(0, [45, 45, 6], (200, 3))]
    result = wv.evaluate_word_pairs(pairs_file(tmp_path, "".join(f"{a}\t{b}\t{score}\n" for a, b, score in pairs)))
    known = [(a, b, score) for a, b, score in pairs if a in wv and b in wv]
    cosines = [reference.cosine(wv[a].tolist(), wv[b].tolist()) for a, b, _ in known]
    human = [float(score) for _, _, score in known]
    assert result.pearson == pytest.approx(reference.pearson(human, cosines), abs=1e-12)
    # pairs (w, w) all have cosine 1 up to the last bit, which orders them by chance: hence not 1e-12
    assert result.spearman == pytest.approx(reference.spearman(human, cosines), abs=2e-3)
    assert (result.n_pairs, result.oov_pairs) == (len(known), len(pairs) - len(known))
    assert result.coverage == len(known) / len(pairs)
    assert f"{result.n_pairs} of 200 pairs" in str(result) and f"{result.spearman:.4f}" in str(result)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12))
def test_correlations_equal_the_reference(points: list[tuple[int, int]]) -> None:
    x, y = ([float(point[k]) for point in points] for k in (0, 1))
    ranks = evaluation._average_ranks(np.asarray(x))
    assert ranks.tolist() == reference.ranks(x)
    ours = evaluation._pearson(np.asarray(x), np.asarray(y))
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(reference.pearson(x, y), abs=1e-12)


def test_correlations_equal_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 50, (2, 300)).astype(float)
    assert evaluation._pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    spearman = evaluation._pearson(evaluation._average_ranks(x), evaluation._average_ranks(y))
    assert spearman == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "w1 w2 5\nw3 w4 1.5\nw5 w6 2e0\n"),
        ("a.tsv", "w1\tw2\t5\nw3\tw4\t1.5\nw5\tw6\t2e0"),
        ("a.csv", "w1,w2,5\nw3, w4, 1.5\nw5,w6,2e0\n"),
        (
            "b.txt",
            "\ufeff# comment\nWord 1\tWord 2\tHuman (mean)\n\nw1\tw2\t5\n"
            "# another\nW3\tW4\t1.5\tM\textra\r\nw5 w6 2e0\n",
        ),
        ("b.csv", "Word 1,Word 2,Human (Mean)\nw1,w2,5,9,9\nw3,w4,1.5\nw5,w6,2e0"),
    ],
)
def test_forms_of_pairs_files(tmp_path: Path, name: str, text: str) -> None:
    result = make(WORDS).evaluate_word_pairs(pairs_file(tmp_path, text, name))
    assert result == make(WORDS).evaluate_word_pairs(pairs_file(tmp_path, "w1 w2 5\nw3 w4 1.5\nw5 w6 2\n"))
    assert result.n_pairs == 3 and result.coverage == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no pairs"),
        ("# only\n", "holds no pairs"),
        (
            "w1 w2 5\nw1 w2\n",
            r"pairs.txt, line 2: two words and a score were wanted \(white space between them\), got 'w1 w2'",
        ),
        ("w1 w2 5\nw1 w2 high\n", "line 2"),
        ("a b c\nd e f\n", "line 2"),
        ("one two\nw1 w2 1\n", "line 1"),
        ("w1 w2 nan\n", "line 1"),
    ],
)
def test_malformed_pairs(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(WORDS).evaluate_word_pairs(pairs_file(tmp_path, text))


def test_pairs_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"w1 w2 5\nw1 \xff 5\n")
    with pytest.raises(ValueError, match="not UTF-8"):
        make(WORDS).evaluate_word_pairs(tmp_path / "p")


def test_pairs_without_coverage(tmp_path: Path) -> None:
    result = make(WORDS).evaluate_word_pairs(pairs_file(tmp_path, "x y 1\nx z 2\n"))
    assert (
        math.isnan(result.spearman) and math.isnan(result.pearson) and result.coverage == 0.0 and result.oov_pairs == 2
    )


def test_case_and_restriction(tmp_path: Path) -> None:
    wv = make(["the", "The", "Cat", "dog"])
    path = pairs_file(tmp_path, "the cat 1\nThe dog 2\nTHE THE 3\n")
    assert wv.evaluate_word_pairs(path).n_pairs == 3
    assert wv.evaluate_word_pairs(path, case_insensitive=False).n_pairs == 1
    assert wv.evaluate_word_pairs(path, restrict_vocab=3).n_pairs == 2
    assert wv.evaluate_word_pairs(path, restrict_vocab=None).n_pairs == 3
    with pytest.raises(ValueError, match="restrict_vocab must be at least 1 or None, got 0"):
        wv.evaluate_word_pairs(path, restrict_vocab=0)


# Analogies


def analogies_file(
    tmp_path: Path, words: list[str], n_questions: int = 60, seed: int = 2
) -> tuple[Path, list[list[str]]]:
    rng = np.random.default_rng(seed)
    questions = [[words[i] for i in rng.choice(len(words), 4)] for _ in range(n_questions)]
    lines = [": first section"]
    for number, question in enumerate(questions):
        if number == n_questions // 2:
            lines.append(": second")
        lines.append(" ".join(question))
    (tmp_path / "questions").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "questions", questions


@pytest.mark.parametrize("case_insensitive", [True, False])
@pytest.mark.parametrize("block_scores", [1, 200, 1 << 24])
def test_analogies_equal_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case_insensitive: bool, block_scores: int
) -> None:
    monkeypatch.setattr(evaluation, "_BLOCK_SCORES", block_scores)
    words = ["aa", "Aa", "AA", "bb", "cc", "CC", "dd", "ee", "Ee", "ff", "gg"]
    wv = make(words, vector_size=2)
    path, questions = analogies_file(tmp_path, [*words, "missing"], 300)
    result = wv.evaluate_analogies(path, case_insensitive=case_insensitive)
    index: dict[str, int] = {}
    for position, word in enumerate(words):
        index.setdefault(word.upper() if case_insensitive else word, position)
    rows = wv.vectors.tolist()
    correct, total = [0, 0], [0, 0]
    for number, question in enumerate(questions):
        folded = [word.upper() if case_insensitive else word for word in question]
        if all(word in index for word in folded):
            asked = [index[word] for word in folded[:3]]
            answer = words[reference.analogy_answer(rows, words, asked, case_insensitive)]
            total[number >= 150] += 1
            correct[number >= 150] += (answer.upper() if case_insensitive else answer) == folded[3]
    assert [(section.name, section.correct, section.total) for section in result.sections] == [
        ("first section", correct[0], total[0]),
        ("second", correct[1], total[1]),
    ]
    assert (result.correct, result.total, result.skipped) == (sum(correct), sum(total), 300 - sum(total))
    assert result.correct > 0 and result.accuracy == result.correct / result.total


def test_analogies_report(tmp_path: Path) -> None:
    table = np.float32([[1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 1, 1]])
    wv = WordVectors(table, ["man", "woman", "king", "queen"])
    path = tmp_path / "q"
    path.write_text(
        ": family\nMan Woman King Queen\nman king woman queen\n: empty\nman woman boy girl\n", encoding="utf-8"
    )
    result = wv.evaluate_analogies(path)
    assert (result.accuracy, result.correct, result.total, result.skipped) == (1.0, 2, 2, 1)
    assert math.isnan(result.sections[1].accuracy)
    assert str(result) == (
        "accuracy 100.0%: 2 right of 2 answered, 1 skipped for missing words\n  family: 100.0% (2/2)\n  empty: - (0/0)"
    )
    assert wv.evaluate_analogies(path, case_insensitive=False).total == 1
    assert wv.evaluate_analogies(path, restrict_vocab=3).total == 0
    assert math.isnan(wv.evaluate_analogies(path, restrict_vocab=3).accuracy)


def test_zero_and_nan_vectors_are_no_answers(tmp_path: Path) -> None:
    table = np.float32([[1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 1, 1], [np.nan, 0, 0], [0, 0, 0]])
    wv = WordVectors(table, ["man", "woman", "king", "queen", "nan", "zero"])
    path = tmp_path / "q"
    path.write_text("man woman king queen\nnan zero king queen\n", encoding="utf-8")
    result = wv.evaluate_analogies(path)
    assert result.sections[0].name == "(no section)" and result.total == 2 and result.correct >= 1


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no analogies"), (": a\n: b\n", "no analogies"), (": a\na b c d\na b c\n", "line 3: four words")],
)
def test_malformed_analogies(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "q").write_text(text)
    with pytest.raises(ValueError, match=message):
        make(WORDS).evaluate_analogies(tmp_path / "q")


# The published sets, beside gensim


def trained(case: str) -> tuple[WordVectors, object]:
    """Vectors of the published sets' words, built so that some analogies hold, and gensim's copy of them."""
    models = pytest.importorskip("gensim.models")
    questions = shared_path("eval", "questions-words.txt")
    if questions is None:
        pytest.skip("the shared evaluation sets are not on this machine")
    rng = np.random.default_rng(0)
    rows: dict[str, np.ndarray] = {}
    offset = np.zeros(50)
    for line in questions.read_text(encoding="utf-8").splitlines():
        if line.startswith(":"):
            offset = rng.standard_normal(50)
            continue
        a, b, c, d = line.split() if case == "mixed" else line.lower().split()
        for first, second in ((a, b), (c, d)):
            rows.setdefault(first, rng.standard_normal(50))
            rows.setdefault(second, rows[first] + offset + 0.7 * rng.standard_normal(50))
    words = list(rows)
    extra = [word.upper() for word in words[::3] if word.upper() not in rows] if case == "mixed" else []
    table = np.stack(
        [
            *rows.values(),
            *(rows[word.capitalize()] if word.capitalize() in rows else rng.standard_normal(50) for word in extra),
        ]
    )
    wv = WordVectors(table.astype(np.float32), [*words, *extra])
    kv = models.KeyedVectors(50)
    kv.add_vectors(list(wv), np.array(wv.vectors))
    return wv, kv


@pytest.mark.parametrize(("case", "restrict_vocab"), [("lower", 300_000), ("lower", 500), ("mixed", 300_000)])
def test_analogies_equal_gensim(tmp_path: Path, case: str, restrict_vocab: int) -> None:
    wv, kv = trained(case)
    questions = shared_path("eval", "questions-words.txt")
    # every seventh question: gensim takes half a millisecond for each
    lines = questions.read_text(encoding="utf-8").splitlines()
    kept = [line for number, line in enumerate(lines) if line.startswith(":") or number % 7 == 0]
    path = tmp_path / "q"
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")
    ours = wv.evaluate_analogies(path, restrict_vocab=restrict_vocab)
    accuracy, sections = kv.evaluate_word_analogies(str(path), restrict_vocab=restrict_vocab)
    assert 0.05 < ours.accuracy < 0.999
    assert ours.accuracy == accuracy
    assert [(s.name, s.correct, s.total) for s in ours.sections] == [
        (s["section"], len(s["correct"]), len(s["correct"]) + len(s["incorrect"])) for s in sections[:-1]
    ]


@pytest.mark.parametrize("name", ["EN-WS-353-ALL.txt", "EN-SIMLEX-999.txt"])
def test_word_pairs_equal_gensim(tmp_path: Path, name: str) -> None:
    models = pytest.importorskip("gensim.models")
    path = shared_path("eval", name)
    if path is None:
        pytest.skip("the shared evaluation sets are not on this machine")
    fields = [line.split()[:3] for line in path.read_text(encoding="utf-8").splitlines()]
    words = sorted({word for a, b, _ in fields[::2] for word in (a, b)})
    wv = make(words, 20)
    kv = models.KeyedVectors(20)
    kv.add_vectors(words, np.array(wv.vectors))
    (tmp_path / "three-columns").write_text("".join("\t".join(row) + "\n" for row in fields), encoding="utf-8")
    ours = wv.evaluate_word_pairs(path)
    pearson, spearman, oov_percent = kv.evaluate_word_pairs(str(tmp_path / "three-columns"))
    assert ours.n_pairs + ours.oov_pairs == len(fields) and 0.3 < ours.coverage < 1.0
    assert ours.pearson == pytest.approx(pearson[0], abs=1e-6)
    assert ours.spearman == pytest.approx(spearman[0], abs=1e-4)  # gensim's float32 cosines swap near ties
    assert 1.0 - ours.coverage == pytest.approx(oov_percent / 100.0)
