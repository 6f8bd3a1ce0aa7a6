"""The corpus encoder, written to be obviously right: decode, split, count, sort."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

MAX_TOKEN_BYTES = 64 * 1024


@dataclass(frozen=True)
class Encoded:
    words: list[str]
    counts: list[int]
    ids: list[int]
    offsets: list[int]
    raw_tokens: int
    distinct_words: int


def sentences_of(text: bytes, errors: str = "strict") -> list[list[str]]:
    """Sentences of one file: a byte order mark is skipped, a newline or the end of the file ends a sentence."""
    text = text.removeprefix(b"\xef\xbb\xbf")
    return [
        # str.split() without a pattern would split at other white space than ASCII's, too.
        [word for word in re.split("[ \t\v\f\r]+", line) if word]
        for line in text.decode("utf-8", errors).split("\n")
    ]


def encode(sentences: list[list[str]], min_count: int = 1, max_final_vocab: int | None = None) -> Encoded:
    """Most frequent words first, then by their bytes; no sentence is empty."""
    counts = Counter(word for sentence in sentences for word in sentence)
    least = max(min_count, 1)
    if max_final_vocab is not None and len(counts) > max_final_vocab:
        # gensim, Word2Vec.prepare_vocab: one more than the count of the first word beyond the limit.
        least = max(least, sorted(counts.values(), reverse=True)[max_final_vocab] + 1)
    words = sorted(
        (word for word, count in counts.items() if count >= least),
        key=lambda word: (-counts[word], word.encode()),
    )
    rank = {word: number for number, word in enumerate(words)}
    ids: list[int] = []
    offsets = [0]
    for sentence in sentences:
        ids += [rank[word] for word in sentence if word in rank]
        if len(ids) > offsets[-1]:
            offsets.append(len(ids))
    return Encoded(words, [counts[word] for word in words], ids, offsets, sum(counts.values()), len(counts))


def token_edges(text: bytes) -> tuple[list[int], list[bool], bool, bool]:
    """Starts and ends of tokens in turn; per edge, is it an end with a newline before the next token; does the text
    end within a token; is there a newline before the first edge."""
    edges: list[int] = []
    newline_after: list[bool] = []
    leading_newline = False
    in_token = False
    for position, byte in enumerate(text):
        is_token = byte not in b" \t\n\v\f\r"
        if is_token != in_token:
            edges.append(position)
            newline_after.append(False)
            in_token = is_token
        if byte == ord("\n"):
            if edges:
                newline_after[-1] = True
            else:
                leading_newline = True
    return edges, newline_after, in_token, leading_newline
