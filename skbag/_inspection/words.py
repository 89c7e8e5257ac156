"""Where the n-grams of a vectorizer stand in a text."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

Span = tuple[int, int]
Piece = tuple[str, list[int]]  # an n-gram, and the words that it is made of


def words_of(vectorizer: Any, document: Any) -> tuple[str, list[Span], dict[str, list[list[int]]]]:
    """Return a text, its words as spans, and for each n-gram of the vectorizer the words of each place where it stands.

    With ``analyzer="word"`` the words are the tokens, without stop words; with one of the others they are what stands
    between white space, and an n-gram has the number of a word once for each of its characters there. N-grams that a
    function makes and that are not in the text have no place.

    Raises
    ------
    ValueError
        If the n-grams are not those of the vectorizer's analyzer, as of a class that makes them another way.
    """
    text = vectorizer.decode(document)
    expected = list(vectorizer.build_analyzer()(document))
    if callable(vectorizer.analyzer):
        spans, pieces = _found(text, [str(feature) for feature in expected])
    else:
        preprocess = vectorizer.build_preprocessor()
        text, prepared, origin = _aligned(text, preprocess)
        places = _word_places if vectorizer.analyzer == "word" else _character_places
        spans, pieces = places(vectorizer, prepared)
        if Counter(feature for feature, _ in pieces) != Counter(expected):
            raise ValueError(f"The n-grams of {type(vectorizer).__name__} cannot be found in the text.")
        spans = [(origin[start], origin[end - 1] + 1) for start, end in spans]
    by_feature: dict[str, list[list[int]]] = {}
    for feature, words in pieces:
        by_feature.setdefault(feature, []).append(words)
    return text, spans, by_feature


def _aligned(text: str, preprocess: Callable[[str], str]) -> tuple[str, str, list[int]]:
    """Return a text to show, what the preprocessor makes of it, and from which character of it each one comes."""
    prepared = preprocess(text)
    singly = [preprocess(character) for character in text]
    if "".join(singly) == prepared:
        return text, prepared, [place for place, made in enumerate(singly) for _ in made]
    return prepared, prepared, list(range(len(prepared)))  # it looks at more than one character: show what it made


def _found(text: str, tokens: list[str]) -> tuple[list[Span], list[Piece]]:
    """Return the spans of tokens in the order in which they follow each other, and each with its own number."""
    spans: list[Span] = []
    pieces: list[Piece] = []
    place = 0
    for token in tokens:
        start = text.find(token, place) if token else -1
        if start < 0:
            pieces.append((token, []))
            continue
        place = start + len(token)
        spans.append((start, place))
        pieces.append((token, [len(spans) - 1]))
    return spans, pieces


def _word_places(vectorizer: Any, text: str) -> tuple[list[Span], list[Piece]]:
    stop_words = vectorizer.get_stop_words() or ()
    if vectorizer.tokenizer is None:
        pattern = re.compile(vectorizer.token_pattern)
        spans = [match.span(pattern.groups) for match in pattern.finditer(text)]  # one group at most
        located = [(text[start:end], [word]) for word, (start, end) in enumerate(spans)]
    else:
        spans, located = _found(text, vectorizer.tokenizer(text))
    tokens = [(token, words) for token, words in located if token not in stop_words]
    used = sorted({word for _, words in tokens for word in words})
    number = {word: k for k, word in enumerate(used)}
    shortest, longest = vectorizer.ngram_range
    pieces = []
    for n in range(shortest, min(longest, len(tokens)) + 1):
        for some in (tokens[first : first + n] for first in range(len(tokens) - n + 1)):
            feature = " ".join(token for token, _ in some)
            pieces.append((feature, [number[word] for _, words in some for word in words]))
    return [spans[word] for word in used], pieces


def _character_places(vectorizer: Any, text: str) -> tuple[list[Span], list[Piece]]:
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    shortest, longest = vectorizer.ngram_range
    runs = _within_words(text, spans) if vectorizer.analyzer == "char_wb" else [_one_run(text, spans)]
    pieces = []
    for characters, owners in runs:
        for n in range(shortest, longest + 1):
            n_places = len(characters) - n + 1
            if n_places < 1 and vectorizer.analyzer == "char":
                break
            for first in range(max(1, n_places)):
                words = [word for word in owners[first : first + n] if word is not None]
                pieces.append((characters[first : first + n], words))
            if n_places <= 1 and vectorizer.analyzer == "char_wb":
                break  # a short word counts once
    return spans, pieces


def _within_words(text: str, spans: list[Span]) -> Iterator[tuple[str, list[int | None]]]:
    for word, (start, end) in enumerate(spans):
        yield f" {text[start:end]} ", [None, *[word] * (end - start), None]


def _one_run(text: str, spans: list[Span]) -> tuple[str, list[int | None]]:
    """Return the text as "char" reads it, where white space of two and more characters is one, and the words."""
    characters: list[str] = []
    owners: list[int | None] = []
    word_of = {place: word for word, (start, end) in enumerate(spans) for place in range(start, end)}
    for match in re.finditer(r"\s\s+|.", text, re.DOTALL):
        longer = match.end() - match.start() > 1
        characters.append(" " if longer else match[0])
        owners.append(None if longer else word_of.get(match.start()))
    return "".join(characters), owners
