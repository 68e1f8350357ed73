"""Bands of a micrograph's rows that overlap, made of rows that arrive once, in order.

Going back in a compressed file would mean to decompress it again from its beginning.
"""


def overlapping_bands(blocks, buffer, spans):
    """Yield rows first..last of each (first, last) of `spans` as float32 (last - first, W).

    `blocks` yields the rows of the image in order, float (b, W). Both ends of the spans ascend,
    and no row is left out between them. A band lies in `buffer`, float32 with as many rows as the
    longest span, and is valid until the next one, which takes its place.
    """
    blocks, rest = iter(blocks), buffer[:0]
    begin = end = 0  # rows begin..end are at the top of the buffer
    for first, last in spans:
        buffer[: end - first] = buffer[first - begin : end - begin]
        while end < last:
            if not len(rest):
                rest = next(blocks)
            count = min(len(rest), last - end)
            buffer[end - first : end - first + count] = rest[:count]
            rest, end = rest[count:], end + count
        begin = first
        yield buffer[: last - first]


def window_origins(length_px, window_px):
    """Return the fewest evenly spaced origins of windows that cover 0..length_px."""
    count = -(-length_px // window_px)
    if count == 1:
        return [0]
    return [round(i * (length_px - window_px) / (count - 1)) for i in range(count)]


def plain_spans(length_px, band_px, halo_px=0):
    """Return the (first, last) of bands of `band_px` rows and, inside the image, their halos."""
    return [
        (max(top - halo_px, 0), min(top + band_px + halo_px, length_px))
        for top in range(0, length_px, band_px)
    ]
