"""Hold a split on the device, and gather its windows there.

Rows are stored once; a window is the `lookback` rows that end at a row with a label, gathered when it is needed.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from core.errors import CampaignError
from core.splits import sample_rows


@dataclasses.dataclass(frozen=True)
class Split:
    """One split on a device; R rows, N samples.

    X: float32 (R, F), scaled features.
    y: float32 (N,), 0 or 1, the label of each sample.
    asset_ids: int64 (N,).
    ends: int64 (N,), last row of each sample's window.
    lookback: T, rows in a window.
    """

    X: torch.Tensor
    y: torch.Tensor
    asset_ids: torch.Tensor
    ends: torch.Tensor
    lookback: int

    @classmethod
    def of(cls, X: np.ndarray, y: np.ndarray, asset_ids: np.ndarray, *, lookback: int, device: str = "cpu") -> "Split":
        """Make a split of arrays as on disk.

        Args:
            X: float32 (R, F). y: int8 (R,), -1 where a row ends no sample. asset_ids: int (R,).
            lookback: T, rows in a window.

        Raises:
            CampaignError: they are not of the same length.
        """
        if not len(X) == len(y) == len(asset_ids):
            found = f"{len(X):,}, {len(y):,} and {len(asset_ids):,} rows"
            raise CampaignError(f"X, y and asset_ids of a split have {found}; make them anew: dvc repro --force generate_data")
        ends = sample_rows(y)
        return cls(
            X=torch.as_tensor(np.ascontiguousarray(X), device=device),
            y=torch.as_tensor(y[ends].astype(np.float32), device=device),
            asset_ids=torch.as_tensor(asset_ids[ends].astype(np.int64), device=device),
            ends=torch.as_tensor(ends, device=device),
            lookback=lookback,
        )

    @classmethod
    def joined(cls, splits: Sequence["Split"]) -> "Split":
        """Put splits of the same lookback one after the other; one alone is not copied."""
        if len(splits) == 1:
            return splits[0]
        first_rows = itertools.accumulate((len(split.X) for split in splits), initial=0)
        ends = [split.ends + row for split, row in zip(splits, first_rows, strict=False)]
        X, y, asset_ids = (torch.cat([getattr(split, name) for split in splits]) for name in ("X", "y", "asset_ids"))
        return cls(X, y, asset_ids, torch.cat(ends), splits[0].lookback)

    def __len__(self) -> int:
        return len(self.ends)

    def gather(self, order: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Windows (B, T, F), asset ids (B,) and labels (B,) of the samples numbered in `order`, int64 (B,)."""
        steps = torch.arange(1 - self.lookback, 1, device=self.ends.device)
        rows = self.ends[order].unsqueeze(1) + steps
        x = self.X.index_select(0, rows.flatten()).unflatten(0, rows.shape)
        return x, self.asset_ids[order], self.y[order]

    def batches(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Windows and asset ids of all samples in their order, `size` at a time; the last one is repeated to fill its batch."""
        for order in torch.arange(len(self), device=self.ends.device).split(size):
            x, asset_ids, _ = self.gather(torch.cat([order, order[-1:].expand(size - len(order))]))
            yield x, asset_ids
