"""EmbeddingMapDisplay: learnt vectors on a plane, with their names."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted

from skbag._data.table import check_padding_idx, check_weight
from skbag._estimators.names import check_count, column_of, names_of, strongest
from skbag._inspection.axes import axes_for, plain, split_pipeline

Array = NDArray[Any]

_ROWS = 1 << 14  # of the table at once
_MOST_GROUPS = 10  # colours that can be told apart
_NEAR, _FARTHER = 4, (14, 24, 36, 50, 70)  # from a point to its name


class EmbeddingMapDisplay:
    """Vectors of the table on a plane, each with the name of its column.

    Make it with `from_estimator` or `from_vectors`, which draw it. The arguments are kept as attributes.

    Parameters
    ----------
    points : ndarray of shape (n_points, 2)
        Where the names stand.
    names : sequence of shape (n_points,)
        The names.
    groups : sequence of shape (n_points,) or None, default=None
        What the colours tell, such as the class that each column speaks for.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        The figure.
    points_ : list of matplotlib PathCollection
        The points, one collection for each group.
    texts_ : list of matplotlib Annotation
        The names.

    Examples
    --------
    >>> from sklearn.feature_extraction.text import CountVectorizer
    >>> from sklearn.pipeline import make_pipeline
    >>> from skbag import EmbeddingBagClassifier
    >>> from skbag.inspection import EmbeddingMapDisplay
    >>> texts = ["cats purr", "stocks fell", "cats and dogs", "stocks rose"] * 5
    >>> model = make_pipeline(CountVectorizer(), EmbeddingBagClassifier(random_state=0))
    >>> model = model.fit(texts, ["pets", "money", "pets", "money"] * 5)
    >>> EmbeddingMapDisplay.from_estimator(model, n_features=4)  # doctest: +SKIP
    >>> EmbeddingMapDisplay(points=[[0, 1], [1, 0]], names=["cats", "dogs"]).points.shape
    (2, 2)
    """

    def __init__(self, *, points: ArrayLike, names: Any, groups: Any = None) -> None:
        self.points, self.names = np.asarray(points, np.float64), [str(name) for name in names]
        self.groups = None if groups is None else list(groups)
        if self.points.shape != (len(self.names), 2) or not len(self.names):
            raise ValueError(
                f"points must be two numbers for each of the names, {len(self.names)}, got the shape "
                f"{self.points.shape}."
            )
        if not np.isfinite(self.points).all():
            raise ValueError("points must be finite.")
        if self.groups is not None and len(self.groups) != len(self.names):
            raise ValueError(f"groups must be one for each of the names, {len(self.names)}, got {len(self.groups)}.")

    @classmethod
    def from_estimator(
        cls, estimator: Any, feature_names: Any = None, *, n_features: int = 50, features: Any = None,
        reducer: Any = None, ax: Any = None, **options: Any,
    ) -> Self:  # fmt: skip
        """Draw the vectors of the columns that matter most.

        These are the columns of the largest ``feature_importances_``; of an `EmbeddingBagVectorizer`, which has none,
        those of the longest vectors. Where there are at most ten classes or labels, a colour tells which one a column
        speaks for most, as in ``top_features``.

        Parameters
        ----------
        estimator : estimator or Pipeline
            A fitted estimator of skbag, or a Pipeline that ends with it.
        feature_names : array-like of shape (n_features,), default=None
            Names of the columns. None stands for those of the steps before, if ``estimator`` is a Pipeline, else for
            ``feature_names_in_``, or for numbers where there is none.
        n_features : int, default=50
            How many columns; fewer if there are not so many.
        features : sequence of int or str, default=None
            These columns instead, by number or name.
        reducer : transformer, default=None
            What makes two columns of the vectors by ``fit_transform``, such as TSNE. None is PCA.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **options : dict
            Passed to `plot`.

        Returns
        -------
        EmbeddingMapDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no table of vectors, ``n_features`` is no integer or ``features`` no sequence.
        ValueError
            If there is not one name per column, one of ``features`` is no column, or there are fewer than two.
        ImportError
            If matplotlib is missing.
        """
        steps, model = split_pipeline(estimator)
        check_is_fitted(model)
        if not hasattr(model, "embeddings_") or not hasattr(model, "nearest_features"):
            raise TypeError(
                "estimator must be an EmbeddingBagVectorizer, EmbeddingBagClassifier or EmbeddingBagRegressor, or a "
                f"Pipeline that ends with one, got {model!r}."
            )
        if feature_names is None and hasattr(steps, "get_feature_names_out"):
            feature_names = _names_before(steps)
        model = model._snapshot()
        names, table = names_of(model, feature_names), check_weight(model.embeddings_, "embeddings_")
        if features is None:
            columns = _most_important(model, table, check_count(n_features, "n_features"))
        elif isinstance(features, (str, bytes)):
            raise TypeError(f"features must be a sequence of names or numbers, got {features!r}.")
        else:
            columns = np.array([column_of(one, names, len(table)) for one in features], np.int64)
        if len(columns) < 2:
            given = f"n_features={n_features!r}" if features is None else f"features={features!r}"
            raise ValueError(f"There must be at least two columns to draw, got {given} of {len(table)} columns.")
        vectors = table[columns].astype(np.float64)
        shown = columns if names is None else names[columns]
        groups = _spoken_for(model, columns)
        return cls.from_vectors(vectors, shown, groups=groups, reducer=reducer, ax=ax, **options)

    @classmethod
    def from_vectors(
        cls, vectors: ArrayLike, names: Any, *, groups: Any = None, reducer: Any = None, ax: Any = None, **options: Any
    ) -> Self:
        """Draw vectors that are given.

        Parameters
        ----------
        vectors : array-like of shape (n_points, dim)
            Two vectors or more, of finite numbers.
        names : sequence of shape (n_points,)
            Their names.
        groups : sequence of shape (n_points,), default=None
            What the colours tell.
        reducer : transformer, default=None
            What makes two columns of the vectors by ``fit_transform``, such as TSNE. None is PCA.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **options : dict
            Passed to `plot`.

        Returns
        -------
        EmbeddingMapDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there are fewer than two vectors, numbers that are not finite, or not one name for each vector; if
            ``reducer`` makes no two columns.
        ImportError
            If matplotlib is missing.
        """
        array = np.asarray(vectors, np.float64)
        if array.ndim != 2 or len(array) < 2 or not array.shape[1]:
            raise ValueError(f"vectors must be at least two, in rows, got an array of shape {array.shape}.")
        if reducer is not None and not hasattr(reducer, "fit_transform"):
            raise TypeError(f"reducer must be a transformer with fit_transform, or None for PCA, got {reducer!r}.")
        if reducer is None:
            points = PCA(min(2, *array.shape)).fit_transform(array)
            points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))  # vectors of one number lie on a line
        else:
            points = np.asarray(reducer.fit_transform(array))
            if points.shape != (len(array), 2):
                raise ValueError(
                    f"reducer must make two columns of the {len(array)} vectors, got the shape {points.shape}."
                )
        return cls(points=points, names=names, groups=groups).plot(ax, **options)

    def plot(
        self, ax: Any = None, *, scatter_kw: dict[str, Any] | None = None, text_kw: dict[str, Any] | None = None
    ) -> Self:
        """Draw the points and their names.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        scatter_kw : dict, default=None
            Options of ``Axes.scatter``.
        text_kw : dict, default=None
            Options of ``Axes.annotate``.

        Returns
        -------
        EmbeddingMapDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        margins = {"left": 0.02, "right": 0.98, "bottom": 0.02, "top": 0.98}
        ax = axes_for(self, ax, figsize=(8, 6), gridspec_kw=margins)
        groups = [None] * len(self.names) if self.groups is None else self.groups
        kinds = list(dict.fromkeys(groups))
        kinds.sort(key=str)
        self.points_, self.texts_ = [], []
        for number, kind in enumerate(kinds):
            members = [k for k, group in enumerate(groups) if group == kind]
            style = {"s": 12, "color": f"C{number}", "label": plain(kind), **(scatter_kw or {})}
            self.points_.append(ax.scatter(*self.points[members].T, **style))
        ax.set(xticks=[], yticks=[])
        ax.margins(0.08)
        ax.autoscale_view()  # now, as the names need to know
        size = 8
        places = ax.transData.transform(self.points) * 72 / ax.figure.dpi
        frame = ax.get_window_extent().get_points() * 72 / ax.figure.dpi
        for name, point, offset in zip(self.names, self.points, _places(places, self.names, size, frame), strict=True):
            right, up = offset[:2].astype(int)
            style = {
                "xytext": tuple(offset[2:]), "textcoords": "offset points", "fontsize": size,
                "ha": ("right", "center", "left")[right + 1], "va": ("top", "center", "bottom")[up + 1],
            }  # fmt: skip
            if np.abs(offset[2:]).max() > _NEAR:
                style["arrowprops"] = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2}
            self.texts_.append(ax.annotate(plain(name), point, **{**style, **(text_kw or {})}))
        if self.groups is not None:
            ax.legend()
        return self


def _offsets() -> Array:
    """Return the places that a name may have: on which side of its point, and how far across and up.

    Those near the point come first; to others, in more directions, a line leads.
    """
    sides = [(1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1)]
    steep = [(right, up, x, y) for x, y in ((1, 0.4), (0.4, 1)) for right, up in sides[:4]]
    directions = [(*side, 1.0, 1.0) for side in sides] + steep
    return np.array(
        [
            (right, up, right * x * far, up * y * far)
            for far in (_NEAR, *_FARTHER)
            for right, up, x, y in (directions if far > _NEAR else directions[: len(sides)])
        ]
    )


def _places(points: Array, names: list[str], size: float, frame: Array) -> list[Array]:
    """Return for each name the first of `_offsets` where it covers least, and is within the frame."""
    offsets = _offsets()
    taken = np.column_stack([points - 2, points + 2])  # left, bottom, right, top
    chosen = []
    for point, name in zip(points, names, strict=True):
        extent = np.array([0.6 * len(name), 1.2]) * size
        boxes = point + offsets[:, 2:] + extent * (offsets[:, :2] - 1) / 2
        covered = np.array(
            [int(((low < taken[:, 2:]) & (low + extent > taken[:, :2])).all(axis=1).sum()) for low in boxes]
        )
        outside = ((boxes < frame[0]) | (boxes + extent > frame[1])).any(axis=1)
        best = int(np.argmin(covered + len(names) * outside))
        chosen.append(offsets[best])
        taken = np.vstack([taken, [*boxes[best], *(boxes[best] + extent)]])
    return chosen


def _names_before(steps: Any) -> Any:
    """Return the names of the columns that a pipeline makes; None if one of its steps has no names, as hashing."""
    try:
        return steps.get_feature_names_out()
    except AttributeError:
        return None


def _most_important(model: Any, table: Any, n: int) -> Array:
    """Return the columns of the largest importances, or of the longest vectors."""
    importances = getattr(model, "feature_importances_", None)
    if importances is None:
        blocks = (table[first : first + _ROWS].astype(np.float64) for first in range(0, len(table), _ROWS))
        importances = np.concatenate([np.linalg.norm(rows, axis=1) for rows in blocks])
    importances = np.array(importances, np.float64)
    padding_idx = check_padding_idx(model.padding_idx, len(table))
    if padding_idx is None:
        return strongest(importances, n)
    columns = np.delete(np.arange(len(table)), padding_idx)
    chosen: Array = columns[strongest(importances[columns], n)]
    return chosen


def _spoken_for(model: Any, columns: Array) -> list[Any] | None:
    """Return the class or label that each column speaks for most; None if there are too many, or none.

    It is the one whose output a row with that column alone has most above that of a row with none.
    """
    if not hasattr(model, "classes_") or len(model.classes_) > _MOST_GROUPS:
        return None
    fitted, n = model._snapshot(), len(columns)
    vars(fitted).pop("feature_names_in_", None)  # rows made here have no names
    alone = csr_array((np.ones(n, np.float32), columns, [*range(n + 1), n]), shape=(n + 1, fitted.n_features_in_))
    outputs = fitted._outputs(alone).astype(np.float64)
    groups: list[Any] = model.classes_[model._both_signs(outputs[:n] - outputs[n]).argmax(axis=1)].tolist()
    return groups
