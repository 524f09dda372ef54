import numpy as np
import pytest

from slidestream.errors import MppImplausible, MppMissing, SpacingTooFine
from slidestream.wsi import open_slide
from slidestream.wsi.mpp import resolve_mpp

ADVICE = "--slide-mpp or the manifest column mpp"


@pytest.mark.parametrize(
    "found", [(None, None), ("", ""), ("x", "x"), ("0.5", None), (None, 0.5), ("1,5", "1,5")]
)
def test_no_mpp(found):
    with pytest.raises(MppMissing) as error:
        resolve_mpp(None, found)
    assert ADVICE in error.value.fix


@pytest.mark.parametrize(
    "found",
    [
        ("0", "0"),
        ("-0.5", "-0.5"),
        ("nan", "nan"),
        ("inf", "inf"),
        (0.0499, 0.0499),
        (20.01, 20.01),
        (264.58, 264.58),
        (0.5, 0.56),
        (0.56, 0.5),
    ],
)
def test_implausible_mpp_from_the_file_or_the_user(found):
    for given, said in [(None, found), (tuple(float(f) for f in found), (0.5, 0.5))]:
        with pytest.raises(MppImplausible) as error:
            resolve_mpp(given, said)
        assert ADVICE in error.value.fix


@pytest.mark.parametrize(
    "found", [(0.05, 0.05), (20.0, 20.0), ("0.499", "0.499"), (0.25, 0.27), ("2.5e-1", 0.25)]
)
def test_plausible_mpp(found):
    assert resolve_mpp(None, found) == tuple(float(f) for f in found)


def test_the_user_wins():
    assert resolve_mpp(0.3, ("0", "0")) == (0.3, 0.3)
    assert resolve_mpp((0.25, 0.26), (0.5, 0.5)) == (0.25, 0.26)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("malformed/svs_mutants/mpp_missing.svs", "MPP_MISSING"),
        ("malformed/svs_mutants/mpp_zero.svs", "MPP_IMPLAUSIBLE"),
        ("wsi/CropBreastSlide.tiff", "MPP_IMPLAUSIBLE"),
        ("wsi/CropBreastSlide.tif", "MPP_IMPLAUSIBLE"),
        ("wsi/boxes.tiff", "MPP_IMPLAUSIBLE"),
        ("wsi/multi_frame_jpeg_camelyon_challenge_image.dcm", "MPP_IMPLAUSIBLE"),
    ],
)
def test_real_files_without_a_true_mpp_need_the_users(real, name, code):
    with pytest.raises((MppMissing, MppImplausible)) as error:
        open_slide(real(name))
    assert error.value.code == code
    with open_slide(real(name), mpp=0.5) as slide:
        assert slide.mpp == slide.spacing == (0.5, 0.5)


def test_the_cause_names_the_value_found(real):
    with pytest.raises(MppImplausible, match=r"264\.583 µm"):
        open_slide(real("wsi/CropBreastSlide.tiff"))


@pytest.mark.parametrize(
    ("name", "mpp"),
    [
        ("CMU-1-Small-Region.svs", 0.499),
        ("P-2_carotid_zoomify.tiff", 0.729),
        ("raw.dicom", 16.783),
        ("test3-DAPI-2-(387).ndpi", 0.228175),
    ],
)
def test_mpp_of_real_files(real, name, mpp):
    with open_slide(real(f"wsi/{name}")) as slide:
        assert slide.mpp == pytest.approx((mpp, mpp), rel=1e-5)


@pytest.mark.parametrize("axes", [(0.5, 0.5), (0.48, 0.5), (0.5, 0.48)])
def test_spacing_may_be_up_to_the_tolerance_finer_than_level_0(write_slide, tmp_path, axes):
    pixels = np.zeros((300, 300, 3), np.uint8)
    with open_slide(write_slide(tmp_path / "a.tiff", pixels, 0.5), mpp=axes) as slide:
        for spacing in (0.5 / 1.0499, 0.5, 2.0):
            slide.check_spacing(spacing)
        slide.check_spacing(0.25, max_upsampling=1.0)
        with pytest.raises(SpacingTooFine) as error:
            slide.check_spacing(0.5 / 1.0501)
        assert "--mpp 0.5" in error.value.fix
        assert "--allow-upsampling" in error.value.fix
        with pytest.raises(SpacingTooFine):
            slide.check_spacing(0.249, max_upsampling=1.0)
