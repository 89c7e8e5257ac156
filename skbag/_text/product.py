"""Product quantisation, as fastText has it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CODES = 256  # a code is a byte


@dataclass(frozen=True, eq=False)
class QuantizedMatrix:
    """A matrix whose rows are cut into parts; for each part a code is kept, the number of the vector next to it [1]_.

    Attributes
    ----------
    shape : (int, int)
    codes : ndarray of shape (n_rows, n_parts), uint8
    width : int
        Columns of a part; the last one may have fewer.
    centroids : ndarray of shape (256 * n_columns,), float32
        Of each part 256 vectors, one after the other.
    lengths : ndarray of shape (n_rows,), uint8, or None
        Codes of what rows are multiplied by.
    norms : ndarray of shape (256,), float32, or None
        What these codes stand for.

    References
    ----------
    .. [1] A. Joulin, E. Grave, P. Bojanowski, M. Douze, H. Jégou, T. Mikolov: FastText.zip: Compressing Text
       Classification Models, 2016.
    """

    shape: tuple[int, int]
    codes: Array
    width: int
    centroids: Array
    lengths: Array | None = None
    norms: Array | None = None

    def rows(self, which: Any) -> Array:
        """Return some rows as float32."""
        codes = self.codes[which]
        out = np.empty((len(codes), self.shape[1]), np.float32)
        for part in range(self.codes.shape[1]):
            begin = part * self.width
            end = min(begin + self.width, self.shape[1])
            vectors = self.centroids[CODES * begin : CODES * end].reshape(CODES, end - begin)
            out[:, begin:end] = vectors[codes[:, part]]
        if self.lengths is not None and self.norms is not None:
            out *= self.norms[self.lengths[which]][:, None]
        return out


def rows_of(matrix: Any, which: Any) -> Array:
    """Return some rows of a matrix, quantised or not."""
    rows: Array = matrix.rows(which) if isinstance(matrix, QuantizedMatrix) else matrix[which]
    return rows
