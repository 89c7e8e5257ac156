import gc
from importlib.util import find_spec

import pytest
from hypothesis import settings
from simulator import SIMULATED

from skbag._compiled import cache
from skbag._estimators import trained
from skbag._training import defaults

settings.register_profile("skbag", deadline=None, print_blob=True, max_examples=100)  # a first call compiles
settings.load_profile("skbag")
gc.set_threshold(50_000, 20, 20)  # with Python's a tenth of the time that compiling takes goes into looking for garbage


def pytest_addoption(parser):
    parser.addoption("--device", help="run every test with this default for the parameter device, e.g. cuda")


def pytest_configure(config):
    if SIMULATED:  # kernels are Python there, and NumPy's scalars warn
        config.addinivalue_line("filterwarnings", "ignore:.*encountered in:RuntimeWarning")
    device = config.getoption("--device")
    if device:
        import skbag

        estimators = skbag.EmbeddingBagClassifier, skbag.EmbeddingBagRegressor, skbag.EmbeddingBagVectorizer
        for function in (*(e.__init__ for e in estimators), skbag.embedding_bag, skbag.embedding):
            function.__kwdefaults__["device"] = device
        skbag.EmbeddingBagVectorizer.from_pretrained.__func__.__kwdefaults__["device"] = device


CPU_ONLY = {
    "test_rows_in_any_order_mean_the_same": "bags as long as these take minutes in the simulator",
    "test_one_long_row_with_a_duplicate_far_apart": "bags as long as these take minutes in the simulator",
    "test_squared_distances_are_multiplied_by_a_known_number": "thousands of fits say nothing about the device",
    "test_signatures_are_the_documented_ones": "the default is another one here",
    "test_the_signature_is_the_documented_one": "the default is another one here",
    "test_n_jobs_none_follows_the_joblib_context": "looks at the threads of the CPU",
    "test_writing_into_the_table_takes_effect": "embeddings_ is read-only with device='cuda'",
    "test_probabilities_of_extreme_logits_are_finite": "embeddings_ is read-only with device='cuda'",
    "test_a_given_table_is_where_training_starts_and_is_not_written_to": "embeddings_ is read-only with device='cuda'",
    "test_writing_into_the_fitted_arrays_takes_effect": "embeddings_ is read-only with device='cuda'",
}


def pytest_collection_modifyitems(config, items):
    if config.getoption("--device") not in (None, "cpu"):
        for item in items:
            reason = CPU_ONLY.get(getattr(item, "originalname", None))
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


def why_no_cuda():
    """Return why device="cuda" cannot be tested here, or None."""
    if find_spec("numba_cuda") is None:
        return "needs numba-cuda: pip install -e '.[cu13]'"
    if SIMULATED:
        return None
    from numba import cuda

    return None if cuda.is_available() else "needs an NVIDIA GPU, or the simulator: NUMBA_ENABLE_CUDASIM=1"


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    """Every device; a test that takes it runs once on each."""
    reason = why_no_cuda() if request.param == "cuda" else None
    if reason:
        pytest.skip(reason)
    return request.param


@pytest.fixture
def cuda():
    """device="cuda", for what only a GPU does."""
    if why_no_cuda():
        pytest.skip(why_no_cuda())
    return "cuda"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for kernels of this test alone."""
    monkeypatch.setattr(cache.config, "CACHE_DIR", str(tmp_path))
    cache._folder.cache_clear()
    yield tmp_path / "skbag"
    cache._folder.cache_clear()


@pytest.fixture
def free_layer(monkeypatch):
    """Train on a table in ``init`` at one rate, with a layer whose length is not held, as the oracle does."""

    own = trained.TrainedEmbeddingBag._manner

    def manner(self, learnt):
        if isinstance(self.init, str):
            return own(self, learnt)
        return defaults.manner_of(self._loss_of(learnt), learnt.n_outputs, self.solver, learns=False)

    monkeypatch.setattr(trained.TrainedEmbeddingBag, "_manner", manner)


@pytest.fixture
def short_windows(monkeypatch):
    """Let segments of a few members be long ones: in the simulator, where real ones take too long."""
    if SIMULATED:
        from skbag._cuda import pooling as cuda

        monkeypatch.setattr(cuda, "WINDOW", 4)
