"""scikit-learn's own checks, on several configurations; two are expected to fail where mini-batches are drawn."""

import inspect

import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

import skbag
from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor, EmbeddingBagVectorizer

ESTIMATORS = [
    EmbeddingBagVectorizer(),
    EmbeddingBagVectorizer(5, mode="sum", init="uniform", dtype="float64", random_state=0),
    EmbeddingBagVectorizer(3, mode="sqrtn", per_sample_weights=False, n_jobs=2),
    EmbeddingBagVectorizer(17, mode="max", max_norm=1.0, norm_type=1),
    EmbeddingBagVectorizer(4, padding_idx=0, max_norm=2.0),
    EmbeddingBagVectorizer(4, dtype="int8"),
    EmbeddingBagClassifier(),
    EmbeddingBagClassifier(5, solver="sgd", learning_rate_init=0.3, dtype="float64", random_state=0),
    EmbeddingBagClassifier(5, mode="mean", n_jobs=2, alpha=1e-4, learning_rate="constant"),
    EmbeddingBagClassifier(5, mode="sum", init="normal", max_norm=2.0, scale_grad_by_freq=True, shuffle=False),
    EmbeddingBagClassifier(5, loss="squared_hinge", solver="adagrad"),
    EmbeddingBagClassifier(5, dtype="float16"),
    EmbeddingBagRegressor(),
    EmbeddingBagRegressor(5, loss="poisson", dtype="float64"),
    EmbeddingBagRegressor(5, loss="huber", solver="adagrad"),
    EmbeddingBagRegressor(5, solver="adam", learning_rate_init=0.05, batch_size=1000, max_iter=200, dtype="float64"),
]
ROWS_DRAWN = (
    "mini-batches are drawn from a permutation of the rows, so a repeated row falls into other mini-batches and sums "
    "are rounded in another order"
)
EXPECTED_TO_FAIL = dict.fromkeys(
    ["check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"], ROWS_DRAWN
)
NEGATIVE = {"check_regressor_multioutput": "has negative targets, whatever the tag positive_only says"}


def expected_to_fail(estimator):
    """Return the two, but where nothing depends on the number of rows: all in a step, and so many steps."""
    failing = {} if getattr(estimator, "batch_size", 1000) == 1000 else EXPECTED_TO_FAIL
    return failing | (NEGATIVE if getattr(estimator, "loss", None) == "poisson" else {})


CHECKS = parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_to_fail)


@pytest.mark.parametrize(CHECKS.args[0], list(CHECKS.args[1]), **CHECKS.kwargs)  # scikit-learn 1.6 passes a generator
def test_scikit_learn(estimator, check):
    check(estimator)


def test_no_estimator_is_left_out():
    public = [getattr(skbag, name) for name in skbag.__all__]
    estimators = {thing for thing in public if inspect.isclass(thing) and issubclass(thing, BaseEstimator)}
    assert estimators == {type(estimator) for estimator in ESTIMATORS}
