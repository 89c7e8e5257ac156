"""The version, alone, so that any module can read it without importing the package."""

from importlib.metadata import version

__version__ = version("skbag")
