"""Training in rounds beside training at once, and transforming what fits into no memory; on a LocalCluster.

    python tests/benchmarks/bench_dask.py --smoke                    # every line once, on made-up texts
    python tests/benchmarks/bench_dask.py rounds --data FOLDER       # accuracy and bytes by shards and rounds
    python tests/benchmarks/bench_dask.py large --folder FOLDER --gigabytes 20

`rounds` holds out a fifth of the training part of each set, and compares means over random states: a shuffle alone
moves accuracy by some thousandths. The sets are no part of the project; without their folder it says so and does
nothing. Megabytes are those of arrays in a round: both directions, all workers.

`large` writes blocks of a CSR matrix to FOLDER, transforms them with two workers of --memory GB, by a table in a file
that both map, sums up the features, and says how much memory each worker had of its own, at most. The blocks are
deleted.
"""

import argparse
import tempfile
import time
from functools import partial
from itertools import pairwise, product
from pathlib import Path

import dask
import dask.array as da
import joblib
import numpy as np
from bench_learning import DATA, KINDS, made_up, read_set
from distributed import Client, LocalCluster
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import clone
from sklearn.model_selection import train_test_split

import skbag.dask
from skbag import EmbeddingBagClassifier, EmbeddingBagVectorizer


def cluster(n_workers, **options):
    return LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0", **options)


def sets_of(arguments):
    """Yield a name, rows and labels of training, and rows and labels that are held out."""
    for name in arguments.sets:
        texts, labels = made_up(3) if arguments.smoke else read_set(arguments.data, name)
        train, test, y, y_test = train_test_split(texts, labels, test_size=0.2, random_state=0, stratify=labels)
        vectorizer = clone(KINDS["tfidf"])
        yield name, vectorizer.fit_transform(train), y, vectorizer.transform(test), y_test


def rounds(arguments):
    """Print accuracy without Dask, and the differences to it."""
    if not arguments.smoke and not arguments.data.exists():
        print(f"no {arguments.data}")
        return
    states = range(arguments.states)
    with cluster(2) as workers, Client(workers):
        for name, X, y, X_test, y_test in sets_of(arguments):
            make = partial(EmbeddingBagClassifier, dtype=arguments.dtype)
            alone = [make(random_state=state).fit(X, y).score(X_test, y_test) for state in states]
            what = f"{name}: {X.shape[0]} rows, {X.shape[1]} columns, {arguments.dtype}"
            print(f"{what}; without Dask {np.mean(alone):.4f}", flush=True)
            edges = np.linspace(0, X.shape[0], 17).astype(int)
            blocks = [X[a:b] for a, b in pairwise(edges)]
            print("shards, rounds per epoch, accuracy, difference, MB a round, MB in all, seconds")
            for n_shards, n_rounds in product(arguments.shards, arguments.rounds):
                seen, scores, start = [], [], time.perf_counter()
                for state in states:
                    model = make(random_state=state)
                    skbag.dask.fit(model, blocks, y, n_shards=n_shards, rounds_per_epoch=n_rounds, on_round=seen.append)
                    scores.append(model.score(X_test, y_test))
                seconds = (time.perf_counter() - start) / len(states)
                sent, accuracy = np.sum([each.n_bytes for each in seen]) / 1e6, np.mean(scores)
                numbers = f"{accuracy:.4f}, {accuracy - np.mean(alone):+.4f}, {sent / len(seen):.1f}"
                print(f"{n_shards}, {n_rounds}, {numbers}, {sent / len(states):.0f}, {seconds:.1f}", flush=True)


def write_block(folder, number, n_rows, n_columns, per_row):
    """Write one block: three .npy files, which a worker maps."""
    rng = np.random.default_rng(number)
    indices = rng.integers(0, n_columns, n_rows * per_row, dtype=np.int32)
    indices.reshape(n_rows, per_row).sort(axis=1)
    np.save(folder / f"{number}-indices.npy", indices)
    np.save(folder / f"{number}-data.npy", rng.random(n_rows * per_row, dtype=np.float32))
    np.save(folder / f"{number}-indptr.npy", np.arange(n_rows + 1, dtype=np.int32) * np.int32(per_row))


def read_block(folder, number, n_columns):
    """Map a block of the matrix."""
    data, indices, indptr = (
        np.load(folder / f"{number}-{name}.npy", mmap_mode="r") for name in ("data", "indices", "indptr")
    )
    block = csr_matrix((0, n_columns), dtype=np.float32)
    block.data, block.indices, block.indptr, block._shape = data, indices, indptr, (len(indptr) - 1, n_columns)
    return block


def watch(dask_worker):
    """Keep the most memory that this worker has of its own: without the pages of files."""
    import threading

    def look():
        while True:
            status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            dask_worker.most = max(getattr(dask_worker, "most", 0), int(status["RssAnon"].split()[0]) * 1024)
            time.sleep(0.2)

    threading.Thread(target=look, daemon=True).start()


def most_memory(dask_worker):
    """Return what `watch` has seen."""
    return dask_worker.most


def large(arguments):
    """Transform blocks on disk."""
    n_columns, per_row, dim = (1000, 10, 16) if arguments.smoke else (1_000_000, 50, 16)
    n_rows = 1000 if arguments.smoke else 500_000
    n_blocks = 4 if arguments.smoke else round(arguments.gigabytes * 1e9 / (n_rows * (per_row * 8 + 4)))
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        np.save(folder / "table.npy", np.random.default_rng(0).standard_normal((n_columns, dim), dtype=np.float32))
        model = EmbeddingBagVectorizer.from_pretrained(folder / "table.npy", mode="mean")
        joblib.dump(model, folder / "model.joblib")
        for number in range(n_blocks):
            write_block(folder, number, n_rows, n_columns, per_row)
        size = sum(path.stat().st_size for path in folder.glob("*-*.npy"))
        print(f"{n_blocks} blocks, {size / 1e9:.1f} GB", flush=True)
        limit = int(arguments.memory * 1e9)
        with cluster(2, memory_limit=limit) as workers, Client(workers) as client:
            client.run(watch)
            empty = csr_matrix((0, n_columns), dtype=np.float32)
            read = dask.delayed(read_block)
            blocks = [
                da.from_delayed(read(folder, number, n_columns), (n_rows, n_columns), meta=empty)
                for number in range(n_blocks)
            ]
            start = time.perf_counter()
            features = skbag.dask.transform(folder / "model.joblib", da.concatenate(blocks))
            total = features.sum(axis=0).compute()
            seconds, most = time.perf_counter() - start, list(client.run(most_memory).values())
        first = csr_array(read_block(folder, 0, n_columns))[:1000]
        expected = model.transform(first)
        assert np.allclose(skbag.dask.transform(model, [first]).compute(scheduler="sync"), expected)
        assert np.isfinite(total).all()
        assert max(most) < limit, most
        print(f"{seconds:.0f} s, {size / seconds / 1e9:.2f} GB/s; of its own each worker had at most "
              f"{' and '.join(f'{each / 1e9:.2f}' for each in most)} GB")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["rounds", "large"])
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", nargs="+", default=["banking77", "imdb"])
    parser.add_argument("--shards", nargs="+", type=int, default=[2, 4, 8])
    parser.add_argument("--rounds", nargs="+", type=int, default=[1, 4, 10])
    parser.add_argument("--states", type=int, default=3)
    parser.add_argument("--dtype", default="float32", help="of the table, in rounds and without Dask")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--memory", type=float, default=3)
    given = parser.parse_args()
    if given.smoke:
        given.sets, given.states, given.shards, given.rounds = given.sets[:1], 1, [2], [1, 4]
    for function in (rounds, large):
        if given.what == function.__name__ or (given.smoke and given.what is None):
            function(given)
