"""What the tests of phrases share: a real text, a small one, the ways to join."""

from __future__ import annotations

import pydoc_data.topics
from pathlib import Path

import fastembed
from fastembed import Phrases, _core

TOPICS = "\n".join(pydoc_data.topics.topics.values()).encode()
PLAIN = [["in", "new", "york"], ["new", "york", "is", "new"]] * 10 + [["is", "in"]] * 10


def learn(corpus: object, **options) -> Phrases:
    return fastembed.learn_phrases(corpus, progress=False, **options)


def join_file(phrases: Phrases, folder: Path, text: bytes, **options) -> bytes:
    (folder / "source.txt").write_bytes(text)
    phrases.transform_file(folder / "source.txt", folder / "target.txt", progress=False, **options)
    return (folder / "target.txt").read_bytes()


def join_blocks(phrases: Phrases, text: bytes, block_bytes: int, chunk_bytes: int, workers: int) -> bytes:
    phrases._streams(1)
    stream = _core.PhraseStream(book=phrases._book, workers=workers, chunk_bytes=chunk_bytes)
    parts = [stream.feed(text[at : at + block_bytes], False) for at in range(0, len(text), block_bytes)]
    return b"".join([*parts, stream.feed(b"", True)])
