"""Low-rank forms of a weight: as a matrix, cut by singular values, and back as two weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from autocompress.graph.plan import LowRankKind


@dataclass(frozen=True)
class Form:
    """How a kind of low rank reads a weight as a matrix.

    Attributes:
        matrix: weight to ``[rows, columns]``; the first factor keeps the columns.
        first: (``[rank, columns]``, shape of the weight) to the first layer's weight.
        second: (``[rows, rank]``, shape of the weight) to the second layer's weight.
        rows_are_outputs: whether the rows are the layer's outputs; only then can what the layer
            puts out weigh them.
    """

    matrix: Callable[[Tensor], Tensor]
    first: Callable[[Tensor, torch.Size], Tensor]
    second: Callable[[Tensor, torch.Size], Tensor]
    rows_are_outputs: bool = True


def _spatial_matrix(weight: Tensor) -> Tensor:
    """[out, in, kh, kw] as [out * kw, in * kh]."""
    return weight.permute(0, 3, 1, 2).flatten(2).flatten(0, 1)


FORMS: Mapping[LowRankKind, Form] = {
    "linear": Form(
        matrix=lambda weight: weight,
        first=lambda factor, shape: factor,
        second=lambda factor, shape: factor,
    ),
    "pointwise": Form(
        matrix=lambda weight: weight.flatten(1),
        first=lambda factor, shape: factor[:, :, None, None],
        second=lambda factor, shape: factor[:, :, None, None],
    ),
    "channel": Form(
        matrix=lambda weight: weight.flatten(1),
        first=lambda factor, shape: torch.unflatten(factor, 1, shape[1:]),
        second=lambda factor, shape: factor[:, :, None, None],
    ),
    "spatial": Form(
        matrix=_spatial_matrix,
        first=lambda factor, shape: torch.unflatten(factor, 1, (shape[1], shape[2], 1)),
        second=lambda factor, shape: torch.unflatten(factor, 0, (shape[0], 1, shape[3])).permute(
            0, 3, 1, 2
        ),
        rows_are_outputs=False,
    ),
}


@dataclass(frozen=True)
class Spectrum:
    """A matrix with its left singular vectors, strongest first.

    Attributes:
        matrix: float64 ``[rows, columns]``.
        vectors: float64 ``[rows, full rank]``, orthonormal columns.
        energy: float64 ``[full rank]``, squared singular values, falling.
    """

    matrix: Tensor
    vectors: Tensor
    energy: Tensor

    def rank_for(self, energy: float) -> int:
        """Return the lowest rank, at least 1, that keeps a fraction of the summed energy."""
        kept = self.energy.cumsum(0)
        lacking = kept < energy * kept[-1] * (1 - 1e-12)  # a sum is exact to rounding only
        return min(int(lacking.count_nonzero()) + 1, len(kept))

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """Return ``[rank, columns]`` and ``[rows, rank]``, whose product is the best of its rank.

        Both factors get the same norm for each component, which trains best.
        """
        vectors = self.vectors[:, :rank]
        projected = vectors.T @ self.matrix
        scale = projected.norm(dim=1).sqrt().clamp_min(torch.finfo(torch.float64).tiny)
        return projected / scale[:, None], vectors * scale


def spectrum(matrix: Tensor, output_moment: Tensor | None = None) -> Spectrum:
    """Decompose a matrix, weighted by what its layer puts out where that is known.

    Without weights this is the SVD. With the second moment M = E[y y^T] of the outputs y = W x,
    the product W' of rank r that minimises E[norm(W x - W' x)^2] is U_r U_r^T W, with U_r the
    leading eigenvectors of M. (It is the SVD of W C^{1/2}, C = E[x x^T], whose left singular
    vectors are those of W C W^T = M; C itself, often large and singular, is never formed.)

    Args:
        matrix: ``[rows, columns]``.
        output_moment: ``[rows, rows]``; None: all inputs count alike (C = 1).
    """
    wide = matrix.detach().double()
    moment = None if output_moment is None else output_moment.double()
    basis = None
    core = wide
    if wide.shape[0] > wide.shape[1]:  # all outputs lie in the span of fewer columns
        basis, core = torch.linalg.qr(wide)
        moment = None if moment is None else basis.T @ moment @ basis
    energy, vectors = torch.linalg.eigh(core @ core.T if moment is None else moment)
    vectors = vectors if basis is None else basis @ vectors
    return Spectrum(wide, vectors.flip(1), energy.flip(0).clamp_min(0))


def shrunk_moment(matrix: Tensor, moment: Tensor, samples: int) -> Tensor:
    """Pull a second moment estimated from few samples towards that of white inputs.

    M' = (1 - a) M + a s W W^T with a = columns / (columns + samples) and s such that both have
    the same trace (linear shrinkage as in Ledoit & Wolf 2004). What minimises the error under M'
    has, under M, at most the error of the plain SVD.

    Args:
        matrix: ``[rows, columns]``.
        moment: ``[rows, rows]``, the mean over samples.
        samples: how many there were.
    """
    wide = matrix.detach().double()
    white = wide @ wide.T
    trace = float(white.trace())
    scale = float(moment.trace()) / trace if trace > 0 else 0.0
    share = wide.shape[1] / (wide.shape[1] + samples)
    return (1 - share) * moment.double() + share * scale * white
