"""Static embedding models: a tokenizer and a table, read from a folder."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer

from skbag._data.tensors import SUFFIX, map_tensor, names_tensors, tensor_shapes
from skbag._estimators.vectorizer import EmbeddingBagVectorizer
from skbag._text.tokens import TokenizerVectorizer

Array = NDArray[Any]

_MAX_LENGTH = 512  # model2vec's, where its files say nothing


def load_static_model(
    path: str | os.PathLike[str],
    *,
    tokenizer: Any = None,
    normalize: bool | None = True,
    device: str = "cpu",
    n_jobs: int | None = None,
) -> Pipeline:
    """Load a static embedding model as a pipeline: texts in, vectors out.

    A static embedding model is an embedding bag: a tokenizer cuts a text into tokens, and the mean of their vectors is
    the vector of the text. It is read from files on this machine; nothing is downloaded.

    Parameters
    ----------
    path : str or path
        A folder, or the ``.safetensors`` file with the table, as ``x.safetensors#NAME`` if it holds several.

        - model2vec: ``model.safetensors``, with weights and a mapping of tokens if the model has them,
          ``tokenizer.json`` and ``config.json``. Texts are cut at ``max_length`` tokens of the config (512 if it says
          nothing) and unknown tokens are left out, as model2vec does.
        - sentence-transformers, with a StaticEmbedding as its first module and nothing but a Normalize behind it.
        - WordLlama: a folder with ``weights/`` and ``tokenizers/``, such as the one where the package is installed.
        - Any folder with one ``.safetensors`` file and one tokenizer.
    tokenizer : path, tokenizers.Tokenizer or a fast tokenizer of transformers, default=None
        The tokenizer, if it is not found in the folder or beside the file.
    normalize : bool or None, default=True
        Whether vectors get a length of 1. None does what the files of the model say, and nothing where they do not.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where vectors are pooled; see `skbag.EmbeddingBagVectorizer`.
    n_jobs : int, default=None
        Number of threads that pool; see `skbag.EmbeddingBagVectorizer`. The tokenizer has its own.

    Returns
    -------
    Pipeline
        A fitted `TokenizerVectorizer`, `skbag.EmbeddingBagVectorizer` and, to normalise, a Normalizer. It can be cloned
        and pickled, and go into another pipeline. A text without tokens becomes zeros.

    Raises
    ------
    ImportError
        If the package safetensors or tokenizers is not installed.
    TypeError
        If ``path`` is no path, or ``normalize`` neither a bool nor None.
    ValueError
        If there is no such folder or file, or not one table and one tokenizer to choose; if one of them is damaged; if
        the tokenizer has another number of tokens than the table has rows; if the model has other modules, or puts a
        prompt before texts.

    See Also
    --------
    TokenizerVectorizer : Its first step, to go on training with ``EmbeddingBagClassifier(init="model.safetensors")``.

    Notes
    -----
    Vectors are those of the library of the model, but for rounding. They are float32, or float64 where the table is:
    float16, bfloat16 and whole numbers are taken by their values, where model2vec rounds its results to float16 if its
    table is.

    Examples
    --------
    >>> from skbag.text import load_static_model
    >>> model = load_static_model("potion-base-8M")  # doctest: +SKIP
    >>> model.transform(["cats and dogs", "markets and stocks"]).shape  # doctest: +SKIP
    (2, 256)
    """
    if not (normalize is None or isinstance(normalize, (bool, np.bool_))):
        raise TypeError(f"normalize must be True, False or None, got {normalize!r}.")
    weights, found, folder = _files_of(os.fspath(path))
    if tokenizer is None and found is None:
        raise ValueError(f"{os.fspath(path)!r} has no tokenizer.json, or several: give tokenizer.")
    options, told = _rules_of(weights, folder)
    table = _table_of(weights)
    tokens = TokenizerVectorizer(found if tokenizer is None else tokenizer, **options).fit()
    bags = EmbeddingBagVectorizer.from_pretrained(table, device=device, n_jobs=n_jobs)
    if bags.n_features_in_ != tokens.n_tokens_:
        raise ValueError(
            f"The tokenizer does not fit the table: it has {tokens.n_tokens_} tokens, and the table "
            f"{bags.n_features_in_} rows, in {weights!r}. Where only rows at the end are too many, "
            "make_pipeline(TokenizerVectorizer(...), EmbeddingBagVectorizer(init=table[:n])) leaves them out."
        )
    if options.get("drop_unknown") and options["max_length"] is not None:  # model2vec cuts twice
        lengths = [len(token) for token in tokens.tokenizer_.get_vocab()]
        tokens.set_params(max_characters=options["max_length"] * int(np.median(lengths)))
    steps = [tokens, bags]
    if told if normalize is None else normalize:
        bags.set_output(transform="default")  # else names, which fit has not seen, would make the Normalizer warn
        steps.append(Normalizer(copy=False).fit(np.zeros((1, bags.embedding_dim))))
    return make_pipeline(*steps)


def _files_of(path: str) -> tuple[str, str | None, Path]:
    """Return the file of the table, that of the tokenizer if there is one, and the folder."""
    if names_tensors(path):
        file = path.partition("#")[0]
        if not os.path.isfile(file):
            raise ValueError(f"path names a file that does not exist on this machine: {file!r}. Nothing is downloaded.")
        folder = Path(path.partition(SUFFIX)[0]).parent
        return path, _only(folder, _tokenizers), folder
    folder = root = Path(path)
    if not folder.is_dir():
        raise ValueError(f"path names no folder and no {SUFFIX} file on this machine: {path!r}. Nothing is downloaded.")
    if (root / "modules.json").is_file():
        root /= str(_modules_of(root)[0].get("path", ""))
    tables = [str(file) for file in (root / "model.safetensors",) if file.is_file()]
    tables = tables or [str(file) for place in (root, root / "weights") for file in sorted(place.glob("*" + SUFFIX))]
    if len(tables) != 1:
        raise ValueError(f"{path!r} must have one {SUFFIX} file, got {tables or 'none'}: give the path of the file.")
    return tables[0], _only(root, _tokenizers), folder


def _only(folder: Path, find: Any) -> str | None:
    files = find(folder)
    return str(files[0]) if len(files) == 1 else None


def _tokenizers(folder: Path) -> list[Path]:
    if (folder / "tokenizer.json").is_file():
        return [folder / "tokenizer.json"]
    beside = (folder if folder.name != "weights" else folder.parent) / "tokenizers"
    files = [file for place in (folder, beside) for file in sorted(place.glob("*tokenizer*.json"))]
    return [file for file in files if file.name != "tokenizer_config.json"]  # transformers', without the tokens


def _rules_of(weights: str, folder: Path) -> tuple[dict[str, Any], bool]:
    """Return how the library of a model reads texts, and whether it says that vectors are normalised."""
    modules = _modules_of(folder) if (folder / "modules.json").is_file() else []
    kinds = [str(module.get("type")).rpartition(".")[2] for module in modules]
    if kinds and (kinds[0] != "StaticEmbedding" or set(kinds[1:]) > {"Normalize"}):
        raise ValueError(f"{str(folder)!r} is no static embedding model: its modules are {', '.join(kinds)}.")
    config = _read(folder / "config.json", dict) if (folder / "config.json").is_file() else {}
    if "embeddings" in tensor_shapes(weights.partition("#")[0], "path"):
        rules = {"drop_unknown": True, "max_length": config.get("max_length", _MAX_LENGTH)}
        return rules, bool(config.get("normalize", False))
    if not modules:
        return {"max_length": None}, False
    prompts = folder / "config_sentence_transformers.json"
    if prompts.is_file() and _read(prompts, dict).get("default_prompt_name"):
        raise ValueError(f"{str(folder)!r} puts a prompt before texts, which is not supported.")
    return {"max_length": "tokenizer"}, "Normalize" in kinds


def _modules_of(folder: Path) -> list[dict[str, Any]]:
    modules: list[Any] = _read(folder / "modules.json", list)
    if not modules or not all(isinstance(module, dict) for module in modules):
        raise ValueError(f"{str(folder / 'modules.json')!r} must hold a list of modules, got {modules!r}.")
    return modules


def _read(path: Path, kind: type) -> Any:
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is no JSON ({error}).") from error
    if not isinstance(content, kind):
        raise ValueError(f"{str(path)!r} must hold a {kind.__name__}, got {content!r}.")
    return content


def _table_of(weights: str) -> Any:
    """Return the table as `EmbeddingBagVectorizer.from_pretrained` takes it, with one row per token."""
    if "#" in weights:
        return weights
    shapes = tensor_shapes(weights, "path")
    name = next((name for name in ("embeddings", "embedding.weight") if name in shapes), None)
    if name is None:
        return weights
    if name != "embeddings" or not {"weights", "mapping"} & set(shapes):
        return f"{weights}#{name}"
    table = np.asarray(map_tensor(f"{weights}#{name}", "path"))
    if "mapping" in shapes:
        mapping = map_tensor(f"{weights}#mapping", "path")
        if mapping.ndim != 1 or mapping.dtype.kind not in "iu" or not ((mapping >= 0) & (mapping < len(table))).all():
            raise ValueError(f"The mapping of tokens must name rows of the table, 0 to {len(table) - 1}: {weights!r}.")
        table = table[mapping]
    if table.dtype != np.float64:
        table = table.astype(np.float32)
    if "weights" in shapes:
        factors = map_tensor(f"{weights}#weights", "path")
        if factors.shape != (len(table),):
            raise ValueError(f"There must be {len(table)} weights of tokens, got {factors.shape}: {weights!r}.")
        table = (table * factors[:, None]).astype(table.dtype)
    return table
