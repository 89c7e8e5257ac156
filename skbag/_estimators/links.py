"""Links to the documentation, in the HTML that a notebook shows of an estimator."""

from functools import cache
from importlib.metadata import metadata
from typing import Any

_PUBLIC = {"_text": "skbag.text"}  # rooms whose names are not those of the package itself


@cache
def documentation() -> str:
    """Return the address of the documentation, from the package's metadata; empty if they name none."""
    for entry in metadata("skbag").get_all("Project-URL") or ():
        label, _, address = entry.partition(", ")
        if label == "Documentation":
            return str(address).rstrip("/")
    return ""


class LinkedMixin:
    """What scikit-learn asks for a link; without an address there is no link."""

    @property
    def _doc_link_module(self) -> str:
        return "skbag" if documentation() else ""

    @property
    def _doc_link_template(self) -> str:
        return documentation() + "/api/generated/{module}.{name}.html"

    def _doc_link_url_param_generator(self) -> dict[str, Any]:
        room = type(self).__module__.split(".")[1]
        return {"module": _PUBLIC.get(room, "skbag"), "name": type(self).__name__}
