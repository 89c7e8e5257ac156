"""Why an output: what each column adds to it, and the strongest columns."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.utils.validation import check_is_fitted

from skbag._backends import contributions, get_backend
from skbag._data.blocks import Blocks, Fields
from skbag._data.table import check_padding_idx, check_weight
from skbag._estimators.base import validate_bags
from skbag._estimators.names import check_count, named, names_of, strongest
from skbag._rules.pooling import modes_of

Array = NDArray[Any]

_ROWS = 1 << 14  # of the table at once


class ExplainedMixin:
    """What the columns add to the outputs of a trained model."""

    def contributions(self, X: Any, output: Any = None) -> Any:
        """Return what each column of X adds to an output of each row.

        An output is a sum over the members of a row, and over the modes where there are several, so that nothing has to
        be estimated: the contributions of a row add up to its output less ``intercepts_``. The output is that of
        `decision_function` for a classifier, and for a regressor that of `predict` (its logarithm, for the loss
        "poisson"). With weights w, the rows e_i of the table and the column c of ``coefs_[0]``, member i adds

        ======== ========================================
        mode     contribution
        ======== ========================================
        "sum"    ``w * e_i @ c``
        "mean"   ``w * e_i @ c / sum(abs(w))``
        "sqrtn"  ``w * e_i @ c / sqrt(sum(w ** 2))``
        "max"    ``sum(e_i[d] * c[d])`` over the columns d of the table in which it has the maximum, in a tie the first
        ======== ========================================

        where c are the weights of the mode and the field, and the sums go over the members of the field.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Real and finite. CSR is taken as it is, anything else is converted to CSR. No rows are fine.
        output : class, array-like of shape (n_samples,) or None, default=None
            Which output: a class or label of ``classes_``, for a regressor the number of an output; or one for each
            row, such as the result of `predict`. None is all. With two classes there is one output, that of
            ``classes_[1]``; for ``classes_[0]`` the signs are the other way round.

        Returns
        -------
        csr_array of shape (n_samples, n_features), or list of n_outputs of them
            In the dtype of the table. A list for ``output=None``, in the order of ``classes_``, unless there is only
            one output. One number is stored for each that X stores, in the same order if X is CSR without
            duplicates (and without zeros, where ``per_sample_weights`` is False or the mode is "max"). It is 0 for
            ``padding_idx``. The arrays of a list share ``indices`` and ``indptr``.

        Raises
        ------
        NotFittedError
            Before `fit` or `partial_fit`.
        ValueError
            If X has another number of columns than in `fit`, contains NaN, infinity or complex numbers; if ``output``
            has a class that is not in ``classes_``, or not one for each row; with ``interaction``, where an output is
            a sum over pairs of members, too; with ``output="hierarchical"``, where a class has no output of its own;
            with hidden layers, where an output is no sum.

        Notes
        -----
        The sums are those of `decision_function` but for rounding, in the dtype of the table. What a softmax makes of
        the outputs does not change when all of them grow by the same number: look at differences of two classes to see
        why one and not the other. With ``device="cuda"`` this is computed on the CPU, from copies of the arrays there.

        All outputs take memory for ``n_outputs`` numbers per member of X.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.feature_extraction.text import CountVectorizer
        >>> from skbag import EmbeddingBagClassifier
        >>> texts = ["a fine film", "a bad film", "fine and funny", "bad and boring"]
        >>> vectorizer = CountVectorizer()
        >>> X = vectorizer.fit_transform(texts)
        >>> model = EmbeddingBagClassifier(max_iter=20, random_state=0).fit(X, ["good", "bad", "good", "bad"])
        >>> why = model.contributions(X, model.predict(X))
        >>> row = why[[1]]
        >>> str(vectorizer.get_feature_names_out()[row.indices[row.data.argmax()]])
        'bad'
        >>> sums = model.contributions(X).sum(axis=1) + model.intercepts_[0]
        >>> np.allclose(sums, model.decision_function(X), atol=1e-5)
        True
        """
        check_is_fitted(self, "coefs_")
        fitted: Any = self._snapshot()  # type: ignore[attr-defined]
        table = check_weight(fitted.embeddings_, "embeddings_")
        if fitted.interaction:
            raise ValueError(
                f"contributions needs interaction=None, got {fitted.interaction!r}: pairs of columns add to an output."
            )
        bags = fitted._read_bags(validate_bags(fitted, X, reset=False), table.dtype, whole=True)
        if hasattr(bags, "on_host"):
            bags = bags.on_host()
        blocks, cpu = fitted._blocks, get_backend("cpu")
        bags = cpu.check(bags, blocks.mode, fitted.n_jobs)
        coef, owners = fitted._layer_for(output, bags.n_bags)
        coef = np.ascontiguousarray(coef.T, table.dtype)
        if blocks.n_blocks == 1:
            values = contributions(bags, table, coef, owners, blocks.mode, fitted.n_jobs)
        else:
            fields = Fields.of(fitted.fields, bags.num_embeddings)
            values = _of_blocks(cpu.split(bags, fields.edges, fitted.n_jobs), table, coef, owners, blocks, fitted)
        n, shape = bags.n_members, (bags.n_bags, bags.num_embeddings)
        indices, indptr = bags.indices[:n].copy(), bags.indptr.copy()
        matrices = [csr_array(shape, dtype=values.dtype) for _ in values]
        for matrix, data in zip(matrices, values, strict=True):
            matrix.data, matrix.indices, matrix.indptr = data, indices, indptr  # which were checked, all at once
        return matrices[0] if len(matrices) == 1 else matrices

    def _layer_for(self, output: Any, n_bags: int) -> tuple[Array, Array | None]:
        """Return the columns of the layer that are asked for, and the number of the one of each row."""
        coef = self._only_layer("contributions")[0]  # type: ignore[attr-defined]
        if output is None:
            return coef, None
        numbers = self._outputs_named(output)  # type: ignore[attr-defined]
        signs = self._both_signs(coef)
        if numbers.ndim == 0:
            return signs[:, [int(numbers)]], None
        if numbers.shape != (n_bags,):
            raise ValueError(
                f"output must be one of the outputs, or one for each row of X, {n_bags}, got the shape {numbers.shape}."
            )
        return signs, numbers

    def _both_signs(self, coef: Array) -> Array:
        """Return one column of the layer for each class, output or label."""
        two_classes = coef.shape[1] == 1 and len(getattr(self, "classes_", ())) == 2  # one label is itself
        return np.hstack([-coef, coef]) if two_classes else coef

    def top_features(self, k: int = 10, *, feature_names: Any = None) -> dict[Any, list[tuple[int | str, float]]]:
        """Return the columns of X that speak most for each class, label or output.

        The strength of a column i is ``embeddings_[i] @ coefs_[0]``: what it adds to an output, where the row has
        nothing else in it. With several modes it is the sum over them, with ``fields`` the weights are those of the
        field of the column; an interaction needs a second column, and does not count. Where the outputs go through a
        softmax, their mean over the classes is left out, as in ``feature_importances_``.

        Parameters
        ----------
        k : int, default=10
            How many columns of each; fewer if there are not so many.
        feature_names : array-like of shape (n_features,), default=None
            Names of the columns, such as ``get_feature_names_out()`` of the step before. None stands for
            ``feature_names_in_``, or for numbers where there is none.

        Returns
        -------
        dict of lists of (int or str, float)
            For each of ``classes_`` columns and strengths, the largest first. For a regressor for the number of each
            output the columns of the largest strengths, whatever their signs.

        Raises
        ------
        NotFittedError
            Before `fit` or `partial_fit`.
        TypeError, ValueError
            If ``k`` is no positive integer, or there is not one name per column; with ``output="hierarchical"`` or
            hidden layers.

        Examples
        --------
        >>> from sklearn.feature_extraction.text import CountVectorizer
        >>> from sklearn.pipeline import make_pipeline
        >>> from skbag import EmbeddingBagClassifier
        >>> texts = ["cats", "stocks fell", "cats and dogs", "stocks"] * 5
        >>> model = make_pipeline(CountVectorizer(), EmbeddingBagClassifier(random_state=0))
        >>> model = model.fit(texts, ["pets", "money", "pets", "money"] * 5)
        >>> strongest = model[-1].top_features(1, feature_names=model[:-1].get_feature_names_out())
        >>> {topic: [word for word, _ in columns] for topic, columns in strongest.items()}
        {'money': ['stocks'], 'pets': ['cats']}
        """
        check_is_fitted(self, "coefs_")
        fitted: Any = self._snapshot()  # type: ignore[attr-defined]
        k, names = check_count(k, "k"), names_of(fitted, feature_names)
        fitted._only_layer("top_features")
        table, regresses = fitted.embeddings_, not hasattr(fitted, "classes_")
        layers = [(some, fitted._both_signs(coef)) for some, coef in fitted._layers_by_field(centred=True)]
        n_outputs = layers[0][1].shape[1]
        padding_idx = check_padding_idx(fitted.padding_idx, len(table))
        kept: list[tuple[Array, Array]] = [(np.empty(0, np.int64), np.empty(0))] * n_outputs
        for some, coef in layers:
            for first in range(some.start, some.stop, _ROWS):
                columns = np.arange(first, min(first + _ROWS, some.stop))
                columns = columns[columns != padding_idx]
                for output, strengths in enumerate((table[columns].astype(np.float64) @ coef).T):
                    every = np.append(kept[output][0], columns), np.append(kept[output][1], strengths)
                    best = strongest(np.abs(every[1]) if regresses else every[1], k)
                    kept[output] = every[0][best], every[1][best]
        keys = range(n_outputs) if regresses else fitted.classes_.tolist()
        return {key: named(*some, names) for key, some in zip(keys, kept, strict=True)}

    @property
    def feature_importances_(self) -> Array:
        """How much a column can move the outputs: the length of ``embeddings_[i] @ coefs_[0]``.

        With hidden layers, how much it can move what the units of the first one add up. Where the outputs go through a
        softmax, and there are none, their mean is left out, which changes no probability. An array of shape
        (n_features,) and the dtype of the table. What RFE and SelectFromModel look at.
        """
        check_is_fitted(self, "coefs_")
        fitted: Any = self._snapshot()  # type: ignore[attr-defined]
        if fitted.interaction:
            raise AttributeError(
                f"feature_importances_ is not available with interaction={fitted.interaction!r}: what a column does "
                "depends on the others in a row."
            )
        table = fitted.embeddings_
        result = np.empty(len(table), table.dtype)
        for columns, coef in fitted._layers_by_field(centred=True):
            squares = coef @ coef.T
            for first in range(columns.start, columns.stop, 1 << 14):
                some = slice(first, min(columns.stop, first + (1 << 14)))
                rows = table[some].astype(np.float64)
                result[some] = np.sqrt(np.maximum(((rows @ squares) * rows).sum(axis=1), 0))
        return result

    def _layers_by_field(self: Any, *, centred: bool = False) -> list[tuple[slice, Array]]:
        """Return the columns of each field and the layer, in float64, for a row that has one of them alone.

        It is the sum over the modes, which are all the same for one member of weight 1; that has no interaction.
        ``centred`` says without the mean over the classes of a softmax.
        """
        coef, blocks = np.asarray(self._values()[1][0][0], np.float64), self._blocks
        if centred and self._training_loss(self._learnt).normalized and len(self.coefs_) == 1:
            coef = coef - coef.mean(axis=1, keepdims=True)
        by_block = coef.reshape(blocks.n_fields, blocks.per_field, -1, coef.shape[1])
        edges = Fields.of(self.fields, self.n_features_in_).edges
        layers = by_block[:, : len(modes_of(blocks.mode))].sum(axis=1)
        return [(slice(*map(int, edges[f : f + 2])), layers[f]) for f in range(blocks.n_fields)]


def _of_blocks(bags: Any, table: Any, coef: Array, owners: Array | None, blocks: Blocks, fitted: Any) -> Array:
    """Return what each member adds, as ``skbag._cpu.contributions`` does, summed over modes, of the bags of fields."""
    n_fields, modes = blocks.n_fields, modes_of(blocks.mode)
    by_block = coef.reshape(len(coef), n_fields, len(modes), -1)
    out = np.zeros((len(coef) if owners is None else 1, bags.n_members), table.dtype)
    places = np.arange(bags.n_members)
    for field in range(n_fields):
        some = bags.of_field(field)
        members = places[np.repeat(np.arange(bags.n_bags) % n_fields == field, np.diff(bags.indptr))]
        for k, mode in enumerate(modes):
            layer, each = np.ascontiguousarray(by_block[:, field, k]), some
            if mode == "max" and some.weights is not None:
                each = replace(some, weights=None)
            out[:, members] += contributions(each, table, layer, owners, mode, fitted.n_jobs)
    return out
