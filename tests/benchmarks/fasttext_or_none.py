"""fastText where it can train: fasttext-predict, a part of it, has the same name."""

try:
    import fasttext
    from fasttext import train_supervised as _  # noqa: F401
except ImportError:
    fasttext = None
