"""A batch of patches as a table of where they lie on the device, whatever brought them there."""

import dataclasses
import functools

import numpy as np
import torch

from clearice.model.epochs import turn
from clearice.model.planes.patch_tables import ADDRESS, STRIDE, TARGET_ADDRESS, TURN


@dataclasses.dataclass
class TabledBatch:
    """The patches of one batch on the device; valid until the next one is asked for.

    `host_table`, int64 (n, 4), is that of patch_tables.patch_table, over pixels of `dtype`, the
    dataset's; `cut_px` is the side of a patch; `memory`, (elements,) of `dtype` on the device, is
    what its addresses (bytes) lie in. `device_table` is the table there, where it is already.
    """

    host_table: np.ndarray
    dtype: torch.dtype
    cut_px: int
    memory: torch.Tensor
    device_table: torch.Tensor | None = None

    @functools.cached_property
    def table(self):
        """The table on the device, int64 (n, 4)."""
        if self.device_table is not None:
            return self.device_table
        table, device = torch.from_numpy(self.host_table), self.memory.device
        if device.type == "cuda":  # from pageable memory a copy waits for all that was launched
            table = table.pin_memory()
        return table.to(device, non_blocking=True)

    def cut(self):
        """Return the patches as two tensors, turned: (n, 1, cut_px, cut_px) float32 each."""
        shape = (1, self.cut_px, self.cut_px)
        sides = []
        for column in (ADDRESS, TARGET_ADDRESS):
            patches = [torch.empty((0, *shape), device=self.memory.device)]
            for row in self.host_table.tolist():
                first = (row[column] - self.memory.data_ptr()) // self.dtype.itemsize
                strides = (0, row[STRIDE], 1)
                patch = torch.as_strided(self.memory, shape, strides, first)
                patches.append(turn(patch, row[TURN]).float()[None])
            sides.append(torch.cat(patches))
        return tuple(sides)
