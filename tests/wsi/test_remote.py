"""Slides behind a URL: a few ranges of the file, and the pixels of the same file on a disk."""

import hashlib
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest

from slidestream.errors import InputNotFound, MissingExtra, ReadFailed, SlidestreamError, UnsupportedFormat
from slidestream.geometry import Region
from slidestream.identity import content_identity, remote_identity
from slidestream.wsi import open_slide
from slidestream.wsi.remote_bytes import RemoteBytes, url_of

from ..served import serving
from . import dicom_slides as ds
from . import jpeg2000_slides as j2
from . import jpeg_slides as js

MIB = 1 << 20


@pytest.fixture
def serve(monkeypatch):
    yield from serving(monkeypatch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One slide of 5000 x 4000 px and some 8 MiB."""
    where = tmp_path_factory.mktemp("served")
    pixels = np.tile(js.tissue((1250, 1000)), (4, 4, 1))
    js.write(where / "a.tiff", pixels, js.Layout(quality=95))
    assert (where / "a.tiff").stat().st_size > 8 * MIB
    return where


def grid(corner=(1000, 1500), count=4, side=224):
    x, y = corner
    return [Region((x + side * i, y + side * j), (side, side)) for j in range(count) for i in range(count)]


def read(slide, regions, side=224):
    out = np.empty((len(regions), side, side, 3), np.uint8)
    return out, slide.read_patches(regions, out)


def test_a_few_patches_cost_a_few_ranges_and_are_the_local_pixels(folder, serve):
    server = serve(folder)
    with open_slide(folder / "a.tiff") as local, open_slide(f"{server.url}/a.tiff") as remote:
        opening = len(server.ranges)
        assert opening <= 8
        assert (remote.size, remote.mpp, remote.levels) == (local.size, local.mpp, local.levels)
        assert remote.format == local.format == "generic-tiff"
        for a, b in zip(read(local, grid()), read(remote, grid()), strict=True):
            np.testing.assert_array_equal(a, b)
        assert len(server.ranges) - opening <= 8
        assert server.sent < (folder / "a.tiff").stat().st_size / 2
        before = len(server.ranges)
        read(remote, grid())
        assert len(server.ranges) == before


def test_coarser_patches_and_thumbnails_too(folder, serve):
    server = serve(folder)
    with open_slide(folder / "a.tiff") as local, open_slide(f"{server.url}/a.tiff") as remote:
        regions = grid(side=448, count=2)
        np.testing.assert_array_equal(read(local, regions)[0], read(remote, regions)[0])
        np.testing.assert_array_equal(local.thumbnail(300), remote.thumbnail(300))


def test_aperio_and_its_facts(real, serve):
    path = real("wsi/CMU-1-Small-Region.svs")
    server = serve(path.parent)
    with open_slide(path) as local, open_slide(f"{server.url}/{path.name}") as remote:
        assert remote.describe() == local.describe()
        np.testing.assert_array_equal(read(local, grid((300, 300)))[0], read(remote, grid((300, 300)))[0])


def test_any_filesystem_will_do(folder, tmp_path):
    path = j2.write(tmp_path / "b.svs", [js.tissue((700, 500))], j2.Layout())
    for source in (folder / "a.tiff", path):
        fsspec.filesystem("memory").pipe_file(f"/{source.name}", source.read_bytes())
        with open_slide(source) as local, open_slide(f"memory://{source.name}") as remote:
            regions = grid((20, 30), 2)
            np.testing.assert_array_equal(read(local, regions)[0], read(remote, regions)[0])


@pytest.mark.parametrize("fault", ["drop", "cut"])
@pytest.mark.parametrize("opened", [False, True])
def test_a_connection_that_breaks_once_is_tried_again(folder, serve, fault, opened):
    server = serve(folder)
    if not opened:
        server.faults.append(fault)
    with open_slide(folder / "a.tiff") as local, open_slide(f"{server.url}/a.tiff") as remote:
        server.faults += [fault] if opened else []
        for a, b in zip(read(local, grid()), read(remote, grid()), strict=True):
            np.testing.assert_array_equal(a, b)
    assert not server.faults


def test_a_server_that_dies_costs_patches_and_makes_none_white(folder, serve):
    server = serve(folder)
    with open_slide(f"{server.url}/a.tiff") as slide:
        known, fine = read(slide, grid())
        assert not fine.any()
        server.dead = True
        again, still = read(slide, grid())
        np.testing.assert_array_equal(again, known)  # of tiles that are decoded already
        assert not still.any()
        found, status = read(slide, grid((3500, 100)))
        assert (status == 1).all()
        assert not found.any()
        with pytest.raises(ReadFailed):
            slide.read(Region((3500, 100), (200, 200)), (200, 200))
        with pytest.raises(SlidestreamError, match="cannot be reached"):
            slide.identity()
    with pytest.raises(InputNotFound, match="cannot be reached"):
        open_slide(f"{server.url}/a.tiff?key=SECRET")


@pytest.mark.parametrize("answered", [0, 1])
def test_a_server_that_dies_during_opening_is_not_an_unsupported_format(folder, serve, answered):
    server = serve(folder)
    server.faults += [""] * answered + ["drop"] * 200
    with pytest.raises(InputNotFound, match="cannot be reached"):
        open_slide(f"{server.url}/a.tiff")


def test_a_server_that_comes_back_serves_again(folder, serve):
    server = serve(folder)
    with open_slide(folder / "a.tiff") as local, open_slide(f"{server.url}/a.tiff") as slide:
        server.faults += ["drop"] * 200
        assert (read(slide, grid((3500, 100)))[1] == 1).all()
        server.faults.clear()
        np.testing.assert_array_equal(read(slide, grid((3500, 100)))[0], read(local, grid((3500, 100)))[0])


def test_nothing_there_is_said_without_what_may_be_a_key(folder, serve):
    server = serve(folder)
    with pytest.raises(InputNotFound) as error:
        open_slide(f"{server.url}/b.tiff?key=SECRET")
    assert "There is no http://127.0.0.1" in str(error.value)
    assert "SECRET" not in str(error.value)


def test_a_server_without_ranges_is_refused_before_it_sends_the_file(folder, serve):
    server = serve(folder)
    server.whole_files_only = True
    with pytest.raises(UnsupportedFormat, match="whole files only"):
        open_slide(f"{server.url}/a.tiff")


@pytest.mark.parametrize("what", ["ndpi", "dicom", "text"])
def test_what_needs_a_disk_is_refused_with_the_reason(real, tmp_path, serve, what):
    if what == "ndpi":
        path = real("wsi/test3-DAPI-2-(387).ndpi")
    elif what == "dicom":
        path = ds.write(tmp_path, [js.tissue((300, 300))], ds.Layout())
    else:
        path = tmp_path / "a.tiff"
        path.write_text("no slide at all")
    server = serve(path.parent)
    reason = "a Hamamatsu file" if what == "ndpi" else "it is no TIFF"
    with pytest.raises(UnsupportedFormat, match=f"{reason}. Fix: Copy the file to a disk first"):
        open_slide(f"{server.url}/{path.name}")


def test_identity_comes_from_samples_and_equals_a_large_local_files(tmp_path, serve):
    path = tmp_path / "large.bin"
    content = np.random.default_rng(0).bytes(70 * MIB)
    path.write_bytes(content)
    server = serve(tmp_path)
    source = RemoteBytes(f"{server.url}/large.bin")
    assert remote_identity(source.size, source.read_many, "fast") == content_identity([path])
    assert server.sent < 7 * MIB
    changed = bytearray(content)
    changed[-5] ^= 1
    path.write_bytes(changed)
    source = RemoteBytes(f"{server.url}/large.bin")
    assert remote_identity(source.size, source.read_many, "fast") == content_identity([path])
    assert remote_identity(source.size, source.read_many, "full") == content_identity([path], "full")


def test_identity_of_a_slide_is_stable_and_of_its_content(folder, serve):
    server = serve(folder)
    with open_slide(f"{server.url}/a.tiff") as slide:
        first = slide.identity()
        assert server.sent < (folder / "a.tiff").stat().st_size + MIB
    with open_slide(f"{server.url}/a.tiff?key=2") as slide:
        assert slide.identity() == first
    assert len(first.removeprefix("sampled-")) == len(hashlib.sha256().hexdigest())


def test_names_of_urls():
    assert url_of("https://h/a.svs") == url_of(Path("https://h/a.svs")) == "https://h/a.svs"
    assert url_of(Path("s3://bucket/x y/a.svs")) == "s3://bucket/x y/a.svs"
    assert url_of("memory://a.svs") == "memory://a.svs"
    assert url_of("/a/b.svs") is url_of("a.svs") is url_of("C:/a.svs") is url_of("file:///a.svs") is None


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(MissingExtra, match=r"slidestream\[remote\]"):
        open_slide("https://example.invalid/a.svs")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingExtra, match="s3fs"):
        open_slide("s3://bucket/a.svs")
    with pytest.raises(InputNotFound, match="nosuch://"):
        open_slide("nosuch://bucket/a.svs")
