"""Many patches at once: every tile that they share is decoded once, into all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import Region
from ..status import OUTSIDE, UNREADABLE, read_one_by_one
from .plan import Plan, plan, source_for
from .resample import resize
from .sampling import in_one_piece, sample
from .tiled_reader import Piece, Request, TiledReader

GROUP_PX = 8 << 20
"""Source px held at a time beside the result: 24 MiB."""

Pixels = NDArray[np.uint8]


class _Job(NamedTuple):
    """One patch on its way: its row of the batch, and the pixels it is made from."""

    row: int
    how: Plan
    request: Request
    pixels: Pixels


def read_batch(reader: TiledReader, regions: Sequence[Region], out: Pixels) -> Pixels:
    """One patch per region into `out`, uint8 (B, H, W, 3); returns the status (B,): see `PatchSource`.

    The same pixels as `sample` gives for each region alone.
    """
    status = np.zeros(len(regions), np.uint8)
    for group in _groups(reader, regions, out, status):
        reader.fill([job.request for job in group])
        for job in group:
            if job.request.failed:
                status[job.row], out[job.row] = UNREADABLE, 0
            else:
                _finish(job, out[job.row])
    return status


def _groups(
    reader: TiledReader, regions: Sequence[Region], out: Pixels, status: Pixels
) -> Iterator[list[_Job]]:
    """Jobs of bounded memory. Patches that need no decoding, or too much at once, are settled here."""
    group: list[_Job] = []
    held = 0.0
    size = (out.shape[2], out.shape[1])
    sources = {extent: source_for(reader.facts, extent, size) for extent in {r.extent for r in regions}}
    for row, region in enumerate(regions):
        window = sources[region.extent].window(region, size)
        if not in_one_piece(window):
            status[row] = _alone(reader, region, out[row : row + 1])
            continue
        how = plan(reader, window)
        pieces = reader.scanned(how.box)
        if not _any_scanned(pieces, how):
            status[row], out[row] = OUTSIDE, 0
            continue
        held += window.px if how.crop else 0
        if held > GROUP_PX and group:
            yield group
            group, held = [], window.px
        group.append(_job(row, how, pieces, out[row]))
    yield group


def _alone(reader: TiledReader, region: Region, out: Pixels) -> int:
    def read(region: Region, size: tuple[int, int]) -> Pixels | None:
        found = sample(reader, region, size)
        return found.rgb if found.scanned else None

    return int(read_one_by_one(read, [region], out)[0])


def _job(row: int, how: Plan, pieces: list[Piece], out: Pixels) -> _Job:
    """Decoded in place where the pixels are the result as they are."""
    w, h = how.box.width, how.box.height
    pixels = out if how.crop is None else np.empty((h + how.repeat[1], w + how.repeat[0], 3), np.uint8)
    return _Job(row, how, Request(how.box, pieces, pixels[:h, :w]), pixels)


def _any_scanned(pieces: Sequence[Piece], how: Plan) -> bool:
    """Whether a piece reaches into the window itself, beyond what only the filter looks at."""
    left, top, right, bottom = how.inner
    left, top = min(left, how.box.width - 1), min(top, how.box.height - 1)
    return any(
        rows.start < bottom and rows.stop > top and columns.start < right and columns.stop > left
        for rows, columns in (piece.target for piece in pieces)
    )


def _finish(job: _Job, out: Pixels) -> None:
    w, h = job.how.box.width, job.how.box.height
    if any(job.how.repeat):
        job.pixels[:h, w:] = job.pixels[:h, w - 1 : w]
        job.pixels[h:] = job.pixels[h - 1 : h]
    if job.how.crop is not None:
        resize(job.pixels, job.how.crop, job.how.out, out)
