"""Pictures: what they show, how they are drawn, and what they say of bad input."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers import random_csr, run_python
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.pipeline import make_pipeline

from skbag import EmbeddingBagClassifier, EmbeddingBagRegressor, EmbeddingBagVectorizer
from skbag._estimators.links import documentation
from skbag.inspection import DocumentDisplay, EmbeddingMapDisplay, LossCurveDisplay
from skbag.text import HashingNgramVectorizer

matplotlib = pytest.importorskip("matplotlib", reason="needs matplotlib: pip install matplotlib")
matplotlib.use("agg")

from matplotlib import pyplot  # noqa: E402
from matplotlib.text import Text  # noqa: E402

TEXTS = ["a fine film", "a bad film", "fine and funny", "bad and boring", "a film about a film"] * 4
TOPICS = ["good", "bad", "good", "bad", "other"] * 4
DIM = 16


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    pyplot.close("all")


def pipeline(*steps, topics=TOPICS, texts=TEXTS, **params):
    model = EmbeddingBagClassifier(DIM, **{"max_iter": 5, "random_state": 0, **params})
    return make_pipeline(*steps, model).fit(texts, topics)


@pytest.fixture(scope="module")
def model():
    return pipeline(TfidfVectorizer())


@pytest.fixture(scope="module")
def bags(model):
    return model[:-1].transform(TEXTS)


# --- curves


def test_the_training_loss_of_each_epoch(model):
    display = LossCurveDisplay.from_estimator(model)
    np.testing.assert_array_equal(display.loss_line_.get_ydata(), model[-1].loss_curve_)
    np.testing.assert_array_equal(display.loss_line_.get_xdata(), np.arange(1, 6))
    assert (display.score_ax_, display.score_line_, display.best_line_) == (None, None, None)
    assert display.ax_.get_title() == "EmbeddingBagClassifier"
    assert display.figure_ is display.ax_.figure


@pytest.mark.parametrize("scoring", ["loss", "accuracy"])
def test_the_curve_of_early_stopping_and_the_epoch_that_was_kept(bags, scoring):
    model = EmbeddingBagClassifier(
        DIM, early_stopping=True, validation_fraction=0.3, scoring=scoring, max_iter=6, random_state=0
    )
    model.fit(bags, TOPICS)
    display = LossCurveDisplay.from_estimator(model, name="a name")
    of_losses = scoring == "loss"
    expected = np.array(model.validation_scores_) * (-1 if of_losses else 1)
    np.testing.assert_array_equal(display.score_line_.get_ydata(), expected)
    assert (display.score_ax_ is display.ax_) == of_losses
    assert display.best_line_.get_xdata()[0] == model.best_n_iter_
    assert display.ax_.get_title() == "a name"


def test_scores_stand_at_the_last_epochs_where_fit_went_on(bags):
    model = EmbeddingBagClassifier(DIM, warm_start=True, max_iter=3, random_state=0).fit(bags, TOPICS)
    model.set_params(early_stopping=True, validation_fraction=0.3).fit(bags, TOPICS)
    display = LossCurveDisplay.from_estimator(model)
    first = len(model.loss_curve_) - len(model.validation_scores_) + 1
    assert first > 1
    assert display.score_line_.get_xdata()[0] == first
    assert display.best_epoch == first - 1 + model.best_n_iter_


def test_a_display_is_drawn_again_elsewhere():
    display = LossCurveDisplay.from_curves([3.0, 2.0], [0.5], best_epoch=2)
    old = display.ax_
    figure, (left, right) = pyplot.subplots(1, 2)
    assert display.plot(right, name="again", loss_kw={"color": "k", "label": "mine"}, score_kw={"lw": 3}) is display
    assert display.ax_ is right is not old
    assert display.figure_ is figure
    assert (right.get_title(), display.loss_line_.get_color(), display.score_line_.get_linewidth()) == ("again", "k", 3)
    assert not left.lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"losses": []}, r"losses must have one dimension and at least one number, got the shape \(0,\)"),
        ({"losses": [[1.0]]}, r"losses must .* got the shape \(1, 1\)"),
        ({"losses": [1.0], "validation_scores": [1.0, 2.0]}, "validation_scores must be no more than the losses, 1"),
        ({"losses": [1.0], "best_epoch": 2}, "best_epoch must be from 1 to 1, got 2"),
    ],
)
def test_curves_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        LossCurveDisplay(**arguments)


# --- documents


def shared_by_hand(model, text, n):
    """What the words of a text of words add, where an n-gram is shared equally by its places and its words."""
    words = re.findall(r"\w\w+", text.lower())
    row = model[:-1].transform([text])
    row = model[-1].contributions(row, model.predict([text])[0])
    names = model[:-1].get_feature_names_out()
    values = np.zeros(len(words))
    for column, value in zip(row.indices, row.data, strict=True):
        size = len(names[column].split())
        places = [k for k in range(len(words) - size + 1) if " ".join(words[k : k + size]) == names[column]]
        for place in places:
            values[place : place + size] += value / len(places) / size
    return words, values


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("mode", ["sum", "mean", "sqrtn", "max"])
def test_words_have_what_their_ngrams_add(n, mode):
    model = pipeline(CountVectorizer(ngram_range=(1, n)), TfidfTransformer(), mode=mode)
    text = "A FINE film, about\n\na  fine  film -- unseen; and funny?"
    display = DocumentDisplay.from_estimator(model, text, draw=False)
    words, values = shared_by_hand(model, text, n)
    assert [text[start:end].lower() for start, end in display.spans] == words
    np.testing.assert_allclose(display.contributions, values, atol=1e-6)
    assert display.class_name == model.predict([text])[0]
    logits = model.decision_function([text])[0]
    assert display.output == pytest.approx(logits[model.classes_.tolist().index(display.class_name)], abs=1e-5)
    assert display.rest == 0


VECTORIZERS = {
    "stop words": CountVectorizer(stop_words=["and", "about"], ngram_range=(1, 2)),
    "pattern": CountVectorizer(token_pattern=r"(?u)\b[a-z](\w+)\b"),
    "tokenizer": CountVectorizer(tokenizer=str.split, token_pattern=None, ngram_range=(2, 3)),
    "characters": TfidfVectorizer(analyzer="char", ngram_range=(1, 4)),
    "many characters": TfidfVectorizer(analyzer="char", ngram_range=(30, 99)),
    "characters within words": TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 6)),
    "function": CountVectorizer(analyzer=str.split),
    "no lowercase": CountVectorizer(lowercase=False),
    "accents": CountVectorizer(strip_accents="unicode"),
    "preprocessor": CountVectorizer(preprocessor=lambda text: text.replace("film", "movie")),
    "binary": CountVectorizer(binary=True),
}
DOCUMENTS = [
    "",
    " ",
    "a fine  film\tabout\n film",
    "Ünseen fİlm, ΟΔΟΣ & bad",
    "bad" * 3,
    "a b c",
    " \n\n funny \r\n film ",
]


@pytest.mark.parametrize("vectorizer", VECTORIZERS.values(), ids=VECTORIZERS)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_analyzer_and_text_adds_up(vectorizer, document):
    model = pipeline(vectorizer, texts=[text + " filmed in a fine long street" for text in TEXTS])
    display = DocumentDisplay.from_estimator(model, document, class_name="good", draw=False)
    assert display.output == pytest.approx(model.decision_function([document])[0, 1], abs=1e-5)
    assert all(display.text[start:end].strip() for start, end in display.spans)
    if vectorizer.preprocessor is None and vectorizer.strip_accents is None and "Σ" not in document:
        assert display.text == document
    display.plot()


def test_a_word_that_a_pattern_leaves_out_is_not_taken_for_another():
    model = pipeline(CountVectorizer(token_pattern=r"\b[a-z]+\b"))
    display = DocumentDisplay.from_estimator(model, "1film film", draw=False)
    assert display.spans == [(6, 10)]


def test_names_from_a_selection_of_columns_and_the_rest():
    model = make_pipeline(
        CountVectorizer(), SelectKBest(chi2, k=2), EmbeddingBagClassifier(DIM, max_iter=3, random_state=0)
    )
    model.fit(TEXTS, TOPICS)
    text = "bad fine about and film"
    display = DocumentDisplay.from_estimator(model, text, "bad", draw=False)
    shown = {text[start:end] for (start, end), value in zip(display.spans, display.contributions, strict=True) if value}
    assert shown == set(model[:-1].get_feature_names_out()) & set(text.split()) != set()
    model = pipeline(CountVectorizer(analyzer=lambda text: [*text.split(), "length"]))
    display = DocumentDisplay.from_estimator(model, "fine film", "good", draw=False)
    column = model[0].vocabulary_["length"]
    assert display.rest == model[-1].contributions(model[:-1].transform(["fine film"]), "good")[0, column] != 0
    assert "elsewhere" in display._repr_html_()


@pytest.mark.parametrize("class_name", [None, "bad", "good"])
def test_two_classes_have_opposite_signs(class_name):
    model = pipeline(CountVectorizer(), texts=TEXTS[:4] * 3, topics=TOPICS[:4] * 3)
    display = DocumentDisplay.from_estimator(model, "a fine day", class_name, draw=False)
    assert display.class_name == (class_name or "good")
    sign = -1 if class_name == "bad" else 1
    assert display.output == pytest.approx(sign * model.decision_function(["a fine day"])[0], abs=1e-5)
    assert (display.contributions[0] > 0) == (sign > 0)


def test_labels_and_regression():
    labels = np.array([[topic == "good", topic == "bad"] for topic in TOPICS], int)
    model = pipeline(CountVectorizer(), topics=labels)
    display = DocumentDisplay.from_estimator(model, "bad film", draw=False)
    assert display.class_name == 1
    assert display.output == pytest.approx(model.decision_function(["bad film"])[0, 1], abs=1e-5)
    model = make_pipeline(CountVectorizer(), EmbeddingBagRegressor(DIM, max_iter=5, random_state=0))
    model.fit(TEXTS, np.arange(20.0))
    display = DocumentDisplay.from_estimator(model, "bad film", draw=False)
    assert display.output == pytest.approx(model.predict(["bad film"])[0], rel=1e-4)
    model.fit(TEXTS, np.column_stack([np.arange(20.0), np.ones(20)]))
    assert DocumentDisplay.from_estimator(model, "bad film", 1, draw=False).class_name == 1
    with pytest.raises(ValueError, match="class_name must be the number of an output, from 0 to 1, got None"):
        DocumentDisplay.from_estimator(model, "bad film", draw=False)
    with pytest.raises(ValueError, match="class_name must be numbers of outputs, from 0 to 1, got 2"):
        DocumentDisplay.from_estimator(model, "bad film", 2, draw=False)


class Reader(HTMLParser):
    """Collects the text and the tags of a page."""

    def __init__(self, page):
        super().__init__()
        self.text, self.tags = "", []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_html_holds_the_text_and_nothing_of_it_is_markup():
    text = 'fine <script>alert("film")</script> &amp; \'bad\'\n<b onclick="x">$x$'
    model = pipeline(CountVectorizer(), topics=[f"<i>{topic}" for topic in TOPICS])
    display = DocumentDisplay.from_estimator(model, text, "<i>good", draw=False)
    page = Reader(display._repr_html_())
    assert page.text.endswith(text)
    assert "<i>good" in page.text
    assert {tag for tag, _ in page.tags} == {"div", "strong", "span"}
    assert not any("onclick" in attributes for _, attributes in page.tags)
    titles = [float(attributes["title"]) for tag, attributes in page.tags if tag == "span"]
    np.testing.assert_allclose(titles, display.contributions, rtol=0.01)


def test_colours_tell_the_sign_and_the_size():
    display = DocumentDisplay(
        text="much little none less", contributions=[2, 1, 0, -1], spans=[(0, 4), (5, 11), (12, 16), (17, 21)]
    )
    styles = [attributes.get("style") for tag, attributes in Reader(display._repr_html_()).tags if tag == "span"]
    assert styles == [
        "background-color: rgba(33, 102, 172, 0.75)", "background-color: rgba(33, 102, 172, 0.38)", None,
        "background-color: rgba(178, 24, 43, 0.38)",
    ]  # fmt: skip
    display.plot()
    blue, light, red = (patch.get_facecolor() for patch in display.ax_.patches)
    assert blue[2] > blue[0]
    assert red[0] > red[2]
    assert blue[3] == 2 * light[3] == 2 * red[3]


def test_drawn_lines_hold_every_word_within_the_width():
    text = "words and more words\nof a text that is " + "very" * 10 + "long $x$"
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    display = DocumentDisplay(text=text, spans=spans, contributions=np.arange(len(spans))).plot(width=16)
    assert "".join(t.get_text() for t in display.texts_).replace("\\$", "$") == re.sub(r"\s", "", text)
    assert all(t.get_position()[0] + len(t.get_text().replace("\\", "")) <= 16 for t in display.texts_)
    places = [(t.get_position()[1], t.get_position()[0]) for t in display.texts_]
    assert places == sorted(set(places))
    display.figure_.canvas.draw()  # no formula, no warning
    right = max(t.get_window_extent().x1 for t in display.texts_)
    assert right <= display.ax_.get_window_extent().x1 + 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((lambda m: m[-1], "text"), TypeError, "estimator must be a Pipeline with a CountVectorizer"),
        ((lambda m: m[:-1], "text"), TypeError, "estimator must be a Pipeline with a CountVectorizer"),
        ((lambda m: m, ["text"]), TypeError, "text must be one document, a string, got list"),
        ((lambda m: m, "text", "unknown"), ValueError, r"class_name must be of classes_, .*, got 'unknown'"),
        ((lambda m: m, "text", ["good"]), TypeError, r"class_name must be one class, .* got \['good'\]"),
        ((lambda m: make_pipeline(CountVectorizer(), EmbeddingBagClassifier()), "text"), NotFittedError, "not fitted"),
        (
            (lambda m: pipeline(HashingNgramVectorizer(64), SelectKBest(chi2, k=3)), "bad"),
            TypeError,
            "SelectKBest behind H",
        ),
    ],
)
def test_documents_that_cannot_be_explained(model, arguments, error, message):
    make, *others = arguments
    with pytest.raises(error, match=message):
        DocumentDisplay.from_estimator(make(model), *others)


def test_columns_that_are_no_ngrams_are_refused():
    class Renamed(TfidfTransformer):
        def get_feature_names_out(self, names=None):
            return np.array([f"column {name}" for name in names], object)

    with pytest.raises(ValueError, match=r"columns must have the names of n-grams, .* got \['column bad'"):
        DocumentDisplay.from_estimator(pipeline(CountVectorizer(), Renamed()), "bad film")


@pytest.mark.parametrize("spans", [[(0, 2), (1, 3)], [(0, 9), (9, 9)], [(2, 1), (2, 3)], [(-1, 1), (2, 3)]])
def test_spans_that_do_not_fit_the_text(spans):
    with pytest.raises(ValueError, match="spans must follow each other within the text"):
        DocumentDisplay(text="text", spans=spans, contributions=[0, 0])


# --- maps


def test_the_map_has_the_most_important_columns_and_their_names(model):
    display = EmbeddingMapDisplay.from_estimator(model, n_features=4)
    names, importances = model[0].get_feature_names_out(), model[-1].feature_importances_
    assert display.names == [names[k] for k in np.argsort(-importances, kind="stable")[:4]]
    assert sorted(t.get_text() for t in display.texts_) == sorted(display.names)
    strongest = model[-1].top_features(len(names), feature_names=names)
    for name, group in zip(display.names, display.groups, strict=True):
        assert max(strongest, key=lambda topic: dict(strongest[topic])[name]) == group


def test_distances_on_the_map_are_those_of_vectors_on_a_plane():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(30, 2))
    vectors = plane @ np.linalg.qr(rng.normal(size=(7, 2)))[0].T + 3
    display = EmbeddingMapDisplay.from_vectors(vectors, np.arange(30))
    np.testing.assert_allclose(
        np.linalg.norm(display.points[:, None] - display.points, axis=2),
        np.linalg.norm(plane[:, None] - plane, axis=2), atol=1e-12,
    )  # fmt: skip


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_a_vectorizer_has_its_longest_vectors(dim):
    table = np.arange(1.0, 4 * dim + 1).reshape(4, dim)
    vectorizer = EmbeddingBagVectorizer.from_pretrained(table, padding_idx=3)
    display = EmbeddingMapDisplay.from_estimator(vectorizer, list("abcd"), n_features=2)
    assert (display.names, display.groups) == (["c", "b"], None)
    display = EmbeddingMapDisplay.from_estimator(vectorizer, list("abcd"), features=["d", 0, "b"])
    assert display.names == ["d", "a", "b"]
    assert EmbeddingMapDisplay.from_estimator(vectorizer).names == ["2", "1", "0"]


def test_another_reducer_and_options(model):
    class FirstTwo(BaseEstimator):
        def fit_transform(self, X):
            return X[:, :2]

    figure, ax = pyplot.subplots()
    display = EmbeddingMapDisplay.from_estimator(
        model, features=["film", "bad"], reducer=FirstTwo(), ax=ax, text_kw={"fontsize": 5}, scatter_kw={"marker": "x"}
    )
    columns = [model[0].vocabulary_[name] for name in ("film", "bad")]
    np.testing.assert_array_equal(display.points, model[-1].embeddings_[columns][:, :2])
    assert (display.ax_, display.figure_) == (ax, figure)
    assert {t.get_fontsize() for t in display.texts_} == {5}


HASHED = [
    ([HashingVectorizer(n_features=2**16, ngram_range=(1, 2))], [CountVectorizer(ngram_range=(1, 2))]),
    ([HashingVectorizer(n_features=2**16, norm=None, analyzer="char_wb", ngram_range=(2, 3))], None),
    ([HashingVectorizer(n_features=2**16, analyzer=str.split)], [CountVectorizer(analyzer=str.split)]),
    ([HashingNgramVectorizer(2**16, ngram_range=(1, 2))], [CountVectorizer(ngram_range=(1, 2))]),
    ([HashingNgramVectorizer(2**16, ngram_range=(2, 3)), TfidfTransformer()], None),
    ([HashingNgramVectorizer(2**16, char_ngrams=(2, 4), strip_accents="unicode")], None),
    ([HashingNgramVectorizer(2**16, ngram_range=None, char_ngrams=(3, 3), binary=True), "passthrough"], None),
]


@pytest.mark.parametrize(("steps", "named"), HASHED, ids=lambda steps: steps and repr(steps[0]))
@pytest.mark.parametrize("text", ["A Fine film, but a bad fílm and funny!", "", "z"])
def test_hashed_documents(steps, named, text):
    """All that the columns add is found in the words: as where the columns have names, if no two share one."""
    model = pipeline(*steps)
    for given in text, text.encode():
        display = DocumentDisplay.from_estimator(model, given, "good", draw=False)
        expected = model.decision_function([text])[0, list(model.classes_).index("good")]
        np.testing.assert_allclose([display.output, display.rest], [expected, 0], atol=1e-5)
    words = [text[start:end] for start, end in display.spans]
    assert all(word.strip() == word != "" for word in words)
    if "film" in text:
        assert {"Fine", "bad"} <= {word.strip(",!") for word in words}
    if named is not None:
        other = DocumentDisplay.from_estimator(pipeline(*named), text, "good", draw=False)
        assert other.spans == display.spans


def test_hashed_columns_that_n_grams_share():
    model = pipeline(HashingNgramVectorizer(3, ngram_range=(1, 2)))
    display = DocumentDisplay.from_estimator(model, TEXTS[0], "good", draw=False)
    expected = model.decision_function(TEXTS[:1])[0, list(model.classes_).index("good")]
    np.testing.assert_allclose([display.output, display.rest], [expected, 0], atol=1e-5)


@pytest.mark.parametrize("scale", [1, 1e-3, 1e4])
def test_names_do_not_cover_each_other_where_there_is_room(scale):
    points = scale * np.array([[0, 0], [0.03, 0.01], [0, 0.02], [1, 1]])
    display = EmbeddingMapDisplay(points=points, names=["the first", "the second", "the third", "a"]).plot()
    display.figure_.canvas.draw()
    boxes = [Text.get_window_extent(t) for t in display.texts_]  # without the lines to the points
    assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[:k])


def test_names_of_crowded_points_stand_apart_and_inside():
    points = np.concatenate([np.random.default_rng(0).normal(0, 0.01, (12, 2)), [[1, 1], [1, 1.001], [1, 1.002]]])
    display = EmbeddingMapDisplay(points=points, names=[f"the word {k}" for k in range(len(points))]).plot()
    display.figure_.canvas.draw()
    boxes, frame = [Text.get_window_extent(t) for t in display.texts_], display.ax_.get_window_extent()
    assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[:k])
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
    assert any(t.arrow_patch for t in display.texts_)


def test_what_looks_like_a_formula_is_drawn_as_it_is():
    maps = EmbeddingMapDisplay(points=[[0, 0], [1, 1]], names=["$x$", r"$\nothing$"], groups=["$1", "$2_{$"]).plot()
    document = DocumentDisplay(text="$x_{$", spans=[(0, 5)], contributions=[1], class_name="$_$").plot()
    for display in (maps, document):
        display.figure_.canvas.draw()  # which would raise


def test_many_classes_have_one_colour(bags):
    model = EmbeddingBagClassifier(DIM, max_iter=1, random_state=0).fit(bags, np.arange(20))
    display = EmbeddingMapDisplay.from_estimator(model)
    assert display.groups is None
    assert display.ax_.get_legend() is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"feature_names": ["a"]}, ValueError, "feature_names must be one name per column of X"),
        ({"features": ["nowhere", "film"]}, ValueError, "feature='nowhere' must be one of feature_names"),
        ({"features": "film"}, TypeError, "features must be a sequence of names or numbers, got 'film'"),
        ({"features": [0]}, ValueError, r"at least two columns to draw, got features=\[0\] of 7 columns"),
        ({"n_features": 1.5}, TypeError, "n_features must be an integer, got 1.5"),
        ({"n_features": 0}, ValueError, "n_features must be at least 1, got 0"),
        ({"reducer": type("R", (), {"fit_transform": lambda _, X: X})()}, ValueError, "reducer must make two columns"),
    ],
)
def test_maps_that_cannot_be_drawn(model, options, error, message):
    with pytest.raises(error, match=message):
        EmbeddingMapDisplay.from_estimator(model, **options)


@pytest.mark.parametrize(
    "params",
    [
        {}, {"mode": ["mean", "max"]}, {"fields": [10, 20]}, {"interaction": "fm"}, {"output": "hierarchical"},
        {"hidden_layer_sizes": (5,)}, {"dtype": "float16"},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("n_classes", [2, 4])
def test_groups_are_what_a_column_alone_raises_most(params, n_classes):
    X, y = random_csr(120, 30, dtype="float32"), np.arange(120) % n_classes
    model = EmbeddingBagClassifier(8, max_iter=3, random_state=0, **params).fit(X, y)
    display = EmbeddingMapDisplay.from_estimator(model, features=range(30))
    logits = model.decision_function(np.vstack([np.eye(30), np.zeros(30)])).reshape(31, -1)
    raised = logits[:-1] - logits[-1]
    expected = raised.argmax(axis=1) if n_classes > 2 else (raised[:, 0] > 0).astype(int)
    assert display.groups == expected.tolist()
    assert len(set(display.groups)) > 1


def test_points_names_and_groups_that_do_not_fit():
    with pytest.raises(ValueError, match="points must be two numbers for each of the names, 1, got the shape"):
        EmbeddingMapDisplay(points=[[0, 0], [1, 1]], names=["a"])
    with pytest.raises(ValueError, match="groups must be one for each of the names, 1, got 2"):
        EmbeddingMapDisplay(points=[[0, 0]], names=["a"], groups=[1, 2])
    with pytest.raises(ValueError, match="points must be finite"):
        EmbeddingMapDisplay(points=[[0, np.nan]], names=["a"])
    model = EmbeddingBagVectorizer.from_pretrained(np.eye(3))
    for few in ({"n_features": 1}, {"features": [2]}):
        with pytest.raises(ValueError, match=r"at least two columns to draw, got n?_?features=.* of 3 columns"):
            EmbeddingMapDisplay.from_estimator(model, **few)
    with pytest.raises(TypeError, match="reducer must be a transformer with fit_transform, or None for PCA, got 'pca'"):
        EmbeddingMapDisplay.from_estimator(model, reducer="pca")


# --- all of them


@pytest.mark.parametrize("display", [LossCurveDisplay, EmbeddingMapDisplay])
def test_estimators_that_have_nothing_to_show(display, model):
    with pytest.raises(NotFittedError, match="not fitted"):
        display.from_estimator(EmbeddingBagClassifier())
    with pytest.raises(TypeError, match="estimator must"):
        display.from_estimator(model[0])


def displays():
    return (
        LossCurveDisplay(losses=[1.0]),
        DocumentDisplay(text="a", spans=[(0, 1)], contributions=[1]),
        EmbeddingMapDisplay(points=[[0, 0]], names=["a"]),
    )


@pytest.mark.parametrize("display", displays(), ids=lambda display: type(display).__name__)
def test_axes_that_are_none(display):
    with pytest.raises(TypeError, match="ax must be the axes of matplotlib or None, got 'left'"):
        display.plot("left")


def test_matplotlib_is_imported_by_drawing_and_named_where_it_is_missing():
    code = """
import sys
import skbag, skbag.inspection as inspection
assert "matplotlib" not in sys.modules
for display in (
    inspection.LossCurveDisplay(losses=[1.0]),
    inspection.DocumentDisplay(text="a", spans=[(0, 1)], contributions=[1]),
    inspection.EmbeddingMapDisplay(points=[[0, 0]], names=["a"]),
):
    sys.modules["matplotlib"] = None
    try:
        display.plot()
    except ImportError as error:
        print(error)
    assert not hasattr(display, "ax_")
"""
    lines = run_python(code).splitlines()
    assert len(lines) == 3
    for line in lines:
        assert re.fullmatch(
            r"\w+Display\.plot needs the package matplotlib: pip install matplotlib, or .*plot\]'\.", line
        )


# --- the HTML of estimators


def links(estimator):
    return {attributes["href"] for tag, attributes in Reader(estimator._repr_html_()).tags if "href" in attributes}


ESTIMATORS = [EmbeddingBagClassifier(), EmbeddingBagRegressor(), EmbeddingBagVectorizer()]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_links_lead_to_the_reference_if_the_metadata_have_its_address(estimator, monkeypatch):
    monkeypatch.setattr("skbag._estimators.links.documentation", lambda: "")
    assert links(estimator) == set()
    monkeypatch.setattr("skbag._estimators.links.documentation", lambda: "https://docs.example/stable")
    page = f"https://docs.example/stable/api/generated/skbag.{type(estimator).__name__}.html"
    found = links(estimator)
    assert page in found
    assert {link.partition("#")[0] for link in found} == {page}  # newer scikit-learn links each parameter, too
    assert page in links(make_pipeline(CountVectorizer(), estimator))


def test_the_address_is_that_of_the_metadata(monkeypatch):
    def address(*entries):
        monkeypatch.setattr("skbag._estimators.links.metadata", lambda _: Metadata(entries))
        return documentation.__wrapped__()

    class Metadata(list):
        def get_all(self, _):
            return self[0] or None

        def __init__(self, entries):
            super().__init__([list(entries)])

    assert address() == address("Homepage, https://a.example") == ""
    assert address("Source, https://b.example", "Documentation, https://docs.example/") == "https://docs.example"


def test_a_class_of_someone_else_has_no_link(monkeypatch):
    monkeypatch.setattr("skbag._estimators.links.documentation", lambda: "https://docs.example")
    assert links(type("Mine", (EmbeddingBagVectorizer,), {"__module__": "mine"})()) == set()
