"""DocumentDisplay: a text with its words coloured by what they add to an output."""

import re
from collections.abc import Iterator
from html import escape
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skbag._inspection.axes import axes_for, plain, split_pipeline
from skbag._inspection.words import located

_FOR, _AGAINST = (33, 102, 172), (178, 24, 43)  # blue and red, which the colour-blind can tell apart
_DARKEST = 0.75  # so that black words can be read on it


class DocumentDisplay:
    """A document whose words are coloured by what they add to an output: blue speaks for it, red against it.

    Make it with `from_estimator`. A notebook shows it in HTML, without matplotlib; `plot` draws it with matplotlib.
    The arguments are kept as attributes.

    Parameters
    ----------
    text : str
        The document.
    spans : list of (int, int)
        Where each word begins and ends in the text, in order and apart from each other.
    contributions : ndarray of shape (n_words,)
        What each word adds to the output.
    class_name : object, default=None
        The class, label or output; the title.
    intercept : float, default=0.0
        What the output is without any word.
    rest : float, default=0.0
        What is added by columns that are no words of the text.

    Attributes
    ----------
    output : float
        The sum of the contributions, the rest and the intercept: that of `decision_function`.
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        The figure.
    texts_ : list of matplotlib Text
        The pieces of the text.

    See Also
    --------
    skbag.EmbeddingBagClassifier.contributions : The same by columns, for many documents.

    Examples
    --------
    >>> from sklearn.feature_extraction.text import CountVectorizer
    >>> from sklearn.pipeline import make_pipeline
    >>> from skbag import EmbeddingBagClassifier
    >>> from skbag.inspection import DocumentDisplay
    >>> texts = ["a fine film", "a bad film", "fine and funny", "bad and boring"]
    >>> model = make_pipeline(CountVectorizer(), EmbeddingBagClassifier(max_iter=20, random_state=0))
    >>> model = model.fit(texts, ["good", "bad", "good", "bad"])
    >>> display = DocumentDisplay.from_estimator(model, "A fine film, but bad!", class_name="good", draw=False)
    >>> [display.text[start:end] for start, end in display.spans]
    ['fine', 'film', 'but', 'bad']
    >>> fine, film, but, bad = display.contributions
    >>> bool(fine > 0 > bad), float(but)
    (True, 0.0)
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(
        self, *, text: str, spans: list[tuple[int, int]], contributions: ArrayLike, class_name: Any = None,
        intercept: float = 0.0, rest: float = 0.0,
    ) -> None:  # fmt: skip
        values = np.asarray(contributions, np.float64)
        if values.shape != (len(spans),):
            raise ValueError(f"contributions must be one for each of {len(spans)} spans, got the shape {values.shape}.")
        last = 0
        for start, end in spans:
            if not last <= start <= end <= len(text):
                raise ValueError(f"spans must follow each other within the text, got {(start, end)} after {last}.")
            last = end
        self.text, self.spans, self.contributions = text, spans, values
        self.class_name, self.intercept, self.rest = class_name, float(intercept), float(rest)

    @property
    def output(self) -> float:
        """The sum of the contributions, the rest and the intercept."""
        return float(self.contributions.sum() + self.rest + self.intercept)

    @classmethod
    def from_estimator(
        cls, estimator: Any, text: str | bytes, class_name: Any = None, *, draw: bool = True, ax: Any = None,
        **options: Any,
    ) -> Self:  # fmt: skip
        """Explain what a fitted pipeline makes of a document, and draw it.

        The contribution of a column is shared equally by the places of its n-gram in the text, and there by the words
        of the n-gram. With an analyzer of characters the words are what stands between white space, and share an n-gram
        by how many of its characters they have. N-grams that share a column by their hash share what it adds.

        Parameters
        ----------
        estimator : Pipeline
            Fitted: a CountVectorizer or TfidfVectorizer first, an `EmbeddingBagClassifier` or `EmbeddingBagRegressor`
            last, and between them what keeps the names of the columns, such as TfidfTransformer or SelectKBest. Or a
            HashingVectorizer or HashingNgramVectorizer first, and between them what keeps the columns in their places.
        text : str or bytes
            The document, as the vectorizer takes it.
        class_name : class, label or int, default=None
            Which output, as in ``contributions``: one of ``classes_``, for a regressor the number of an output. None is
            the class or label of the largest output, and the only output of a regressor.
        draw : bool, default=True
            Whether to draw it with matplotlib. False is for the HTML of a notebook alone.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **options : dict
            Passed to `plot`.

        Returns
        -------
        DocumentDisplay
            The display, drawn if ``draw``.

        Raises
        ------
        NotFittedError
            If the pipeline is not fitted.
        TypeError
            If ``estimator`` is no such pipeline, ``text`` not one text or ``class_name`` not one class.
        ValueError
            If there is no such class, none is named for a regressor of several outputs, or no column has the name of an
            n-gram, as behind TruncatedSVD.
        ImportError
            If matplotlib is missing and ``draw`` is True.
        """
        steps, model = split_pipeline(estimator)
        vectorizer = None if steps is None else steps[0]
        reads_texts = hasattr(vectorizer, "build_analyzer") or hasattr(vectorizer, "char_ngrams")
        if not reads_texts or not hasattr(model, "contributions"):
            raise TypeError(
                "estimator must be a Pipeline with a CountVectorizer, TfidfVectorizer, HashingVectorizer or "
                "HashingNgramVectorizer first and a classifier or regressor of skbag last; fitted ones make one by "
                "make_pipeline(vectorizer, model)."
            )
        if not isinstance(text, (str, bytes)):
            raise TypeError(f"text must be one document, a string, got {type(text).__name__}.")
        check_is_fitted(model)
        row = steps.transform([text])
        number, class_name, intercept, contributions = _explained(model, row, class_name)
        names, shown, spans, places = located(steps, text, contributions.indices)
        if len(names) and places and not places.keys() & set(names.tolist()):
            raise ValueError(
                f"The columns must have the names of n-grams, of which none is in the text, got {names[:3].tolist()}."
            )
        values, rest = np.zeros(len(spans)), 0.0
        for name, value in zip(names, contributions.data.astype(np.float64), strict=True):
            owners = [words for words in places.get(name, ()) if words]
            rest += 0.0 if owners else value
            for words in owners:
                np.add.at(values, words, value / len(owners) / len(words))
        display = cls(
            text=shown, spans=spans, contributions=values, class_name=class_name, intercept=intercept[number], rest=rest
        )
        return display.plot(ax, **options) if draw else display

    def plot(self, ax: Any = None, *, width: int = 80, text_kw: dict[str, Any] | None = None) -> Self:
        """Draw the document, in lines of equally wide letters.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure that is high enough. The letters are as large as the axes are wide.
        width : int, default=80
            Letters in a line.
        text_kw : dict, default=None
            Options of ``Axes.text``.

        Returns
        -------
        DocumentDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If ``width`` is less than 1.
        """
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}.")
        pieces = [*_in_lines(self._pieces(), width)]
        n_lines = pieces[-1][0] + 1 if pieces else 1
        height = 0.5 + 0.25 * n_lines
        margins = {"left": 0.02, "right": 0.98, "bottom": 0.1 / height, "top": 1 - 0.4 / height}
        ax = axes_for(self, ax, figsize=(8, height), gridspec_kw=margins)
        from matplotlib.patches import Rectangle  # which axes_for has found

        inches = ax.get_window_extent().width / ax.figure.dpi
        style = {"family": "monospace", "fontsize": 72 * inches / width / 0.602, "va": "center", **(text_kw or {})}
        self.texts_ = []
        for line, column, text, value in pieces:
            if value:
                red, green, blue, alpha = self._colour(value)
                colour = red / 255, green / 255, blue / 255, alpha
                ax.add_patch(Rectangle((column, line), len(text), 1, facecolor=colour, linewidth=0))
            self.texts_.append(ax.text(column, line + 0.5, plain(text), **style))
        ax.set(xlim=(0, width), ylim=(n_lines, 0), title=plain(self._title()))
        ax.set_axis_off()
        return self

    def _repr_html_(self) -> str:
        """Return the document in HTML: what a notebook shows."""
        shown = []
        for text, value in self._pieces():
            if value is None:
                shown.append(escape(text))
                continue
            red, green, blue, alpha = self._colour(value)
            style = f' style="background-color: rgba({red}, {green}, {blue}, {alpha:.2f})"' if value else ""
            shown.append(f'<span title="{value:+.3g}"{style}>{escape(text)}</span>')
        return (
            f'<div class="skbag-document"><div><strong>{escape(self._title())}</strong></div>'
            f'<div style="white-space: pre-wrap; line-height: 1.6">{"".join(shown)}</div></div>'
        )

    def _title(self) -> str:
        name = "output" if self.class_name is None else str(self.class_name)
        rest = f" {self.rest:+.3g} (elsewhere)" if self.rest else ""
        words = f"{self.contributions.sum():.3g} (words)"
        return f"{name}: {self.output:.3g} = {words}{rest} {self.intercept:+.3g} (intercept)"

    def _pieces(self) -> Iterator[tuple[str, float | None]]:
        """Yield the text in pieces: words with what they add, and what is between them with None."""
        last = 0
        for (start, end), value in zip(self.spans, self.contributions, strict=True):
            if start > last:
                yield self.text[last:start], None
            yield self.text[start:end], float(value)
            last = end
        if last < len(self.text):
            yield self.text[last:], None

    def _colour(self, value: float) -> tuple[int, int, int, float]:
        """Return red, green, blue and how much of it: the strongest word is the darkest."""
        largest = np.abs(self.contributions).max(initial=0)
        return *(_FOR if value > 0 else _AGAINST), _DARKEST * abs(value) / largest if largest else 0.0


def _explained(model: Any, row: Any, class_name: Any) -> tuple[int, Any, NDArray[Any], Any]:
    """Return the number and name of an output, the intercepts of all, and what the columns of a row add to it."""
    intercept = model._both_signs(np.atleast_2d(np.asarray(model.intercepts_[0], np.float64)))[0]
    if np.ndim(class_name):
        raise TypeError(f"class_name must be one class, label or number of an output, got {class_name!r}.")
    names = model.classes_.tolist() if hasattr(model, "classes_") else list(range(len(intercept)))
    if class_name is None:
        if len(names) > 1 and not hasattr(model, "classes_"):
            raise ValueError(f"class_name must be the number of an output, from 0 to {len(names) - 1}, got None.")
        every = model.contributions(row)
        sums = np.array([one.sum() for one in every] if isinstance(every, list) else [every.sum()])
        largest = int((model._both_signs(sums[None])[0] + intercept).argmax())
        class_name = model.classes_[largest] if hasattr(model, "classes_") else 0
    try:
        contributions = model.contributions(row, class_name)
    except ValueError as error:
        raise ValueError(str(error).replace("output must", "class_name must")) from error
    return int(model._outputs_named(class_name)), class_name, intercept, contributions


def _in_lines(pieces: Any, width: int) -> Iterator[tuple[int, int, str, float | None]]:
    """Yield line, column, text and value of what has no white space, in lines of a width."""
    chunks: list[tuple[str, list[tuple[str, float | None]]]] = []  # white space, and what stands behind it
    for text, value in pieces:
        for part in re.findall(r"\s+|\S+", text):
            if part.isspace():
                chunks.append((part, []))
            else:
                chunks = chunks or [("", [])]
                chunks[-1][1].append((part, value))
    line = column = 0
    for space, parts in chunks:
        line, column = (line + space.count("\n"), 0) if "\n" in space else (line, column + bool(space))
        if column > 1 and column + sum(len(part) for part, _ in parts) > width:
            line, column = line + 1, 0
        for part, value in parts:
            while part:
                if column >= width:
                    line, column = line + 1, 0
                yield line, column, part[: width - column], value
                column, part = column + len(part[: width - column]), part[width - column :]
