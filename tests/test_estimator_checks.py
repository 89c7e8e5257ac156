"""scikit-learn's own checks, on several configurations; none is expected to fail."""

import inspect

import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

import skbag
from skbag import EmbeddingBagVectorizer

ESTIMATORS = [
    EmbeddingBagVectorizer(),
    EmbeddingBagVectorizer(5, mode="sum", init="uniform", dtype="float64", random_state=0),
    EmbeddingBagVectorizer(3, mode="sqrtn", per_sample_weights=False, n_jobs=2),
    EmbeddingBagVectorizer(17, mode="max", max_norm=1.0, norm_type=1),
    EmbeddingBagVectorizer(4, padding_idx=0, max_norm=2.0),
]
CHECKS = parametrize_with_checks(ESTIMATORS)


@pytest.mark.parametrize(CHECKS.args[0], list(CHECKS.args[1]), **CHECKS.kwargs)  # scikit-learn 1.6 passes a generator
def test_scikit_learn(estimator, check):
    check(estimator)


def test_no_estimator_is_left_out():
    public = [getattr(skbag, name) for name in skbag.__all__]
    estimators = {thing for thing in public if inspect.isclass(thing) and issubclass(thing, BaseEstimator)}
    assert estimators == {type(estimator) for estimator in ESTIMATORS}
