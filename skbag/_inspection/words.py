"""Where the n-grams of a vectorizer stand in a text."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from sklearn.base import OneToOneFeatureMixin, clone

Span = tuple[int, int]
Piece = tuple[str, list[int]]  # an n-gram, and the words that it is made of


def located(steps: Any, document: Any, columns: Any) -> tuple[Any, str, list[Span], dict[Any, list[list[int]]]]:
    """Return what columns are called, and the text, its words and the places of n-grams, called so, as `words_of`.

    Parameters
    ----------
    steps : Pipeline
        A vectorizer, and what may stand between it and a model.
    document : str or bytes
    columns : ndarray of int
        Of what the steps make. Where a vectorizer hashes they are called by their numbers.

    Raises
    ------
    TypeError
        If neither says which n-grams a column has.
    """
    vectorizer = steps[0]
    if hasattr(steps, "get_feature_names_out") and hasattr(vectorizer, "get_feature_names_out"):
        return steps.get_feature_names_out()[columns], *words_of(vectorizer, document)
    if hasattr(vectorizer, "get_feature_names_out") or not hasattr(vectorizer, "n_features"):
        raise TypeError(f"{type(vectorizer).__name__} has no get_feature_names_out, which tells a column's n-gram.")
    between = [step for _, step in steps.steps[1:] if step not in (None, "passthrough")]
    moved = next((step for step in between if not isinstance(step, OneToOneFeatureMixin)), None)
    if moved is not None:
        raise TypeError(
            f"{type(moved).__name__} behind {type(vectorizer).__name__}, which has no names of columns: what "
            "stands there must keep the columns where they are, as TfidfTransformer does."
        )
    hashed = _hashed_here if hasattr(vectorizer, "char_ngrams") else _hashed_by_sklearn
    return columns, *hashed(vectorizer, document)


def _hashed_by_sklearn(vectorizer: Any, document: Any) -> tuple[str, list[Span], dict[int, list[list[int]]]]:
    """Return what `words_of` does, with the columns that a HashingVectorizer has for the n-grams."""
    text, spans, places = words_of(vectorizer, document)
    by_column: dict[int, list[list[int]]] = {}
    if places:
        one_each = clone(vectorizer).set_params(analyzer=_as_it_is, norm=None).transform([[name] for name in places])
        for column, words in zip(one_each.indices.tolist(), places.values(), strict=True):
            by_column.setdefault(column, []).extend(words)
    return text, spans, by_column


def _as_it_is(features: Any) -> Any:
    return features


def _hashed_here(vectorizer: Any, document: Any) -> tuple[str, list[Span], dict[int, list[list[int]]]]:
    """Return the same for a HashingNgramVectorizer; a word has its character n-grams for itself."""
    text, prepared, origin = _aligned(
        document.decode() if isinstance(document, bytes) else document, vectorizer._prepare()
    )
    spans = [match.span() for match in re.finditer(r"\w\w+", prepared)]
    tokens = [prepared[start:end] for start, end in spans]
    by_column: dict[int, list[list[int]]] = {}
    shortest, longest = vectorizer.ngram_range or (1, 0)
    for n in range(shortest, min(longest, len(tokens)) + 1):
        grams = [" ".join(tokens[first : first + n]) for first in range(len(tokens) - n + 1)]
        one_each = clone(vectorizer).set_params(ngram_range=(n, n), char_ngrams=None).transform(grams)
        for first, column in enumerate(one_each.indices.tolist()):
            by_column.setdefault(column, []).append(list(range(first, first + n)))
    if vectorizer.char_ngrams is not None and tokens:
        counts = clone(vectorizer).set_params(ngram_range=None, norm=None).transform(tokens).tocoo()
        for word, column, count in zip(counts.row.tolist(), counts.col.tolist(), counts.data, strict=True):
            by_column.setdefault(column, []).extend([[word]] * int(count))
    return text, [(origin[start], origin[end - 1] + 1) for start, end in spans], by_column


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
