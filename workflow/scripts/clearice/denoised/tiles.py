"""A micrograph through a network in tiles, equal to one pass over the whole image.

A tile is read with a halo at least as wide as the network sees, and the halo's output is dropped.
Only where a tile touches the micrograph's border does the network's own zero padding stay, exactly
as in a whole-image pass. So no seams, and a CPU's memory grows with the width of a band, not the
height. A GPU takes the whole micrograph at once where it has the room, so that all but the reading
and writing is done there.
"""

import contextlib
import copy
import functools
import math
import sys

import torch

from clearice.denoised.bands import overlapping_bands, plain_spans
from clearice.denoised.host import empty_rows, to_host
from clearice.errors import InputError
from clearice.model.engines.cuda_cnn import CudaCNN, obstacle_to_cuda
from clearice.model.engines.cuda_compiler import CudaError
from clearice.model.networks import SimpleCNN

_TILE_PX = {"cpu": 256, "cuda": 2048}  # 256: activations of 16 channels stay in the cache
_HALOS_PER_TILE = 2.25  # a tile's side, at least: wider ones cost fewer pixels and more memory
_LONG = 1.5  # a tile may be that much longer than asked, to save a short one behind it
_PLANE_BYTES = 12  # of a pixel on the device: as it is read, denoised, and stored
_PLANE_SHARE = 1 / 8  # of a GPU's memory: tiles, and other processes, need more
ALWAYS = contextlib.nullcontext()  # for a caller that shares the device with nobody


def chosen_tile_px(tile_px, device, network):
    """Return `tile_px`, or where it is None a good one for the network on the device."""
    chosen = _TILE_PX.get(torch.device(device).type, 256)
    return tile_px or max(chosen, math.ceil(_HALOS_PER_TILE * network.receptive_radius_px))


class Tiles:
    """What takes rows of an image of that size through a networks.Network, tile by tile.

    `tile_px` is rounded to the network's alignment and to fill the image: tiles have `height_px`,
    and are read with `halo_px` around them.
    """

    engine = "pytorch"  # that computes, by its name in choice.ENGINES
    wider = None  # Tiles of a wider range, for rows where these overflow

    def __init__(self, network, image_height_px, image_width_px, tile_px):
        self._network, alignment = network, network.alignment_px
        # Tiles begin at multiples of the alignment only if sides and halos are such multiples.
        self.height_px, self._width_px = (
            _even_side(length, tile_px, alignment) for length in (image_height_px, image_width_px)
        )
        self.halo_px = _rounded_up(network.receptive_radius_px, alignment)

    def __call__(self, rows, above, below, location, scale):
        """Return the denoised `rows`, float32 (B, W) -> (B - above - below, W), as a new tensor.

        The network sees (rows - location) / scale; the result is on the scale of `rows`.
        `location` and `scale` are float32 scalars on the device of `rows`, which stay as they are.
        `above` and `below` count the rows of the halo, no more than halo_px. They are 0 at the
        image's border.
        """
        denoised = torch.empty((len(rows) - above - below, rows.shape[1]), device=rows.device)
        for top in range(0, len(denoised), self.height_px):
            for left in range(0, rows.shape[1], self._width_px):
                part = denoised[top : top + self.height_px, left : left + self._width_px]
                output = self._output(rows, above + top, left, part.shape, location, scale)
                torch.mul(output, scale, out=part)
                del output  # before the next is made
        return denoised.add_(location)

    def _output(self, rows, top, left, shape, location, scale):
        """Return what the network makes of the pixels of `rows` from `top`, `left` on."""
        halo, (height, width) = self.halo_px, shape
        first, before = max(top - halo, 0), min(left, halo)
        tile = rows[first : top + height + halo, left - before : left + width + halo] - location
        tile /= scale  # (B, T)
        below, after = first + len(tile) - top - height, tile.shape[1] - before - width
        margins = top - first, below, before, after
        return self._network.inside(tile[None, None], margins)[0, 0].float()


class KernelTiles(Tiles):
    """The same for a SimpleCNN by the CUDA engine's kernel: all rows of a call at once.

    In the engine's float32 grade. What a value beyond 65504 has touched is NaN: `wider` are
    PyTorch's tiles. The network stays as it is. Raises CudaError where there can be no kernel.
    """

    engine = "cuda"

    def __init__(self, network, image_height_px, image_width_px, tile_px):
        super().__init__(network, image_height_px, image_width_px, tile_px)
        self.wider = Tiles(network, image_height_px, image_width_px, tile_px)
        with torch.inference_mode(False):  # a copy: the engine moves its network's weights
            self._engine = CudaCNN(copy.deepcopy(network), "float32", images=None)
        self._engine.prepare_planes()

    def __call__(self, rows, above, below, location, scale):
        seen = (rows - location).div_(scale)
        denoised = torch.empty_like(seen)
        self._engine.denoise_plane(seen, denoised)  # what zeros beyond the halo touch is cut off
        return denoised[above : len(rows) - below].mul_(scale).add_(location)


def tiles_for(network, image_height_px, image_width_px, tile_px, device):
    """Return the fastest Tiles for `network` on `device`.

    Where a simple_cnn on a GPU has to do without its kernel, a line says why, once per process.
    """
    arguments = network, image_height_px, image_width_px, tile_px
    if type(network) is SimpleCNN and device.type == "cuda":
        reason = obstacle_to_cuda(network, device, "float32")
        try:
            if reason is None:
                return KernelTiles(*arguments)
        except CudaError as error:
            reason = str(error).splitlines()[0]
        _say_once(f"denoising without the faster engine cuda: {reason}")
    return Tiles(*arguments)


@functools.cache
def _say_once(line):
    print(line, file=sys.stderr, flush=True)


def denoise_bands(network, micrograph, *, tile_px, device="cpu", turn=ALWAYS, finish=to_host):
    """Yield the denoised micrograph as bands of rows, top to bottom.

    `network` is a networks.Network, `micrograph` a rows.MicrographRows. The network sees
    (raw - location) / scale of the micrograph; the result is on the raw intensity scale.
    `finish` makes what is yielded of a float32 tensor (b, W) on the device: an array, unless it is
    given. `turn` is a context in which a band is there. Raises InputError where the network gives a
    value that is not finite. Blank areas stay what they are.
    """
    device, height = torch.device(device), micrograph.height_px
    tiles = tiles_for(network, height, micrograph.width_px, tile_px, device)
    band_px = height if holds_planes(device, micrograph) else tiles.height_px
    spans = plain_spans(height, band_px, tiles.halo_px)
    _ = micrograph.survey  # which may keep the rows, and takes longer than the device's turn
    if len(spans) == 1 and micrograph.kept is not None:
        bands = [micrograph.kept]
    else:
        most = max(last - first for first, last in spans)
        buffer = empty_rows((most, micrograph.width_px), device)
        bands = overlapping_bands(micrograph.blocks(), buffer, spans)
    for top, (first, _), rows in zip(range(0, height, band_px), spans, bands, strict=True):
        above = top - first
        below = len(rows) - above - min(band_px, height - top)
        with turn:
            # Not bound to a name: the device lets go of a band before the next is made.
            finished = finish(_denoised_band(tiles, micrograph, rows, top, above, below, device))
        yield finished
        del finished


def holds_planes(device, micrograph):
    """Say whether all of a micrograph fits on the device: never on a CPU, whose memory is ours."""
    if device.type != "cuda":
        return False
    total = torch.cuda.get_device_properties(device).total_memory
    return _PLANE_BYTES * micrograph.height_px * micrograph.width_px <= _PLANE_SHARE * total


@torch.inference_mode()
def _denoised_band(tiles, micrograph, rows, top, above, below, device):
    """Return the denoised rows of a band, an array (B, W) with its halo, on the device."""
    found, blank = micrograph.survey.input, micrograph.survey.blank
    seen = torch.from_numpy(rows).to(device, non_blocking=True)
    # As tensors: a GPU divides by a number by multiplying with its reciprocal.
    location, scale = (
        torch.tensor(value, dtype=torch.float32, device=device)
        for value in (found.location, found.scale)
    )
    mask, count = None, len(rows) - above - below
    if blank:
        mask = torch.from_numpy(blank.mask(top, count)).to(device)

    def through(tiles):
        band = tiles(seen, above, below, location, scale)
        return band if mask is None else torch.where(mask, seen[above : above + count], band)

    band = through(tiles)
    finite, where = _is_finite(band), f"rows {top} to {top + count - 1}"
    if not finite and tiles.wider is not None:
        line = f"{micrograph.path}: {where}: beyond the range of the {tiles.engine} engine"
        print(f"{line}; PyTorch denoises them", file=sys.stderr, flush=True)
        del band  # before the next is made
        band = through(tiles.wider)
        finite = _is_finite(band)
    if not finite:
        raise InputError(
            f"the denoised {where} hold NaN or infinity",
            file=micrograph.path,
            advice="the model did not converge: lower its learning_rate and train again",
        )
    return band


def _is_finite(band):
    return all(math.isfinite(extreme) for extreme in torch.stack(torch.aminmax(band)).tolist())


def _even_side(length_px, tile_px, alignment_px):
    """Return the side of tiles that share a length evenly, none over _LONG times `tile_px`."""
    count = max(round(length_px / tile_px), math.ceil(length_px / (_LONG * tile_px)), 1)
    return _rounded_up(math.ceil(length_px / count), alignment_px)


def _rounded_up(count, multiple):
    return -(-count // multiple) * multiple
