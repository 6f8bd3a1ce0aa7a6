"""word2phrase, written to be obviously right: count words and pairs, score every pair, join from left to right.

T. Mikolov, I. Sutskever, K. Chen, G. Corrado and J. Dean, "Distributed representations of words and phrases and their
compositionality", NIPS 2013, section 4, equation 6: score(a, b) = (count(ab) - discount) / (count(a) * count(b)).
The program word2phrase.c multiplies it by the number of words in the text, and calls the discount min_count.
"""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction


def exact_score(pair_count: int, first_count: int, second_count: int, train_words: int, min_count: int) -> Fraction:
    return Fraction(pair_count - min_count, first_count * second_count) * train_words


def find(sentences: list[list[str]], min_count: int, threshold: float) -> dict[tuple[str, str], tuple[int, float]]:
    """Count and score of each phrase, best first; then by count, then in the order of the words' own counts."""
    words = Counter(word for sentence in sentences for word in sentence)
    pairs: Counter[tuple[str, str]] = Counter()
    for sentence in sentences:
        for position in range(len(sentence) - 1):
            pairs[sentence[position], sentence[position + 1]] += 1
    train_words = sum(words.values())
    found = {}
    for (first, second), count in pairs.items():
        if words[first] < min_count or words[second] < min_count:
            continue
        score = float(exact_score(count, words[first], words[second], train_words, min_count))
        if score > threshold:
            found[first, second] = (count, score)

    def order(pair: tuple[str, str]) -> tuple[object, ...]:
        count, score = found[pair]
        return (-score, -count, *((-words[word], word.encode()) for word in pair))

    return {pair: found[pair] for pair in sorted(found, key=order)}


def join(tokens: list[str], phrases: set[tuple[str, str]], delimiter: str) -> list[str]:
    joined = []
    position = 0
    while position < len(tokens):
        if tuple(tokens[position : position + 2]) in phrases:
            joined.append(tokens[position] + delimiter + tokens[position + 1])
            position += 2
        else:
            joined.append(tokens[position])
            position += 1
    return joined


def join_text(text: bytes, phrases: set[tuple[str, str]], delimiter: str) -> bytes:
    """White space between joined words is replaced, nothing else."""
    pairs = {(first.encode(), second.encode()) for first, second in phrases}
    mark = b"\xef\xbb\xbf" if text.startswith(b"\xef\xbb\xbf") else b""
    lines = []
    for line in text[len(mark) :].split(b"\n"):
        parts = re.split(rb"([ \t\v\f\r]+)", line)  # token, space, token, space, ..., token; tokens may be empty
        position = 0
        while position + 2 < len(parts):
            if (parts[position], parts[position + 2]) in pairs:
                parts[position + 1] = delimiter.encode()
                position += 2
            position += 2
        lines.append(b"".join(parts))
    return mark + b"\n".join(lines)
