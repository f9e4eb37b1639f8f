"""data/layouts: FLIR ADAS v2, v1 and FLIR-aligned, on trees of the published form."""

import numpy as np
import pytest

from data.images import ImageError, ThermalRange, read_infrared, read_visible
from data.layouts import find
from data.layouts.flir_v2 import matching_videos, share_videos
from options.data import DataOptions
from tests import layout_fixtures as make

MAP = "rgb_to_thermal_vid_map.json"


def videos(split):
    return {pair.visible.group for pair in split.pairs}


def numbers(listing):
    return {name: (len(split.pairs), len(split.visible), len(split.infrared)) for name, split in listing.splits.items()}


@pytest.fixture
def v2(tmp_path):
    """The data set with its map beside it."""
    make.write_json(tmp_path / MAP, make.v2_map())
    return make.flir_adas_v2(tmp_path / "FLIR_ADAS_v2")


def test_v2_train_is_unpaired_and_test_videos_are_shared_by_video(v2):
    listing = find(DataOptions(dataroot=v2))
    assert listing.layout == "flir_adas_v2"
    assert numbers(listing) == {"train": (0, 5, 4), "val": (3, 4, 4), "test": (3, 3, 3)}
    assert videos(listing.splits["val"]) == {"BzZspxAweF8AnKhWK"}
    assert videos(listing.splits["test"]) == {"ZzRgbVideo1"}
    pair = listing.splits["test"].pairs[0]
    assert pair.stem == pair.visible.path.stem == "video-ZzRgbVideo1-frame-000757-r757"
    assert pair.infrared.path.name == "video-4FRnNpmSmwktFJKjg-frame-000757-t757.jpg"
    assert pair.mask is None
    assert listing.skipped == listing.notes == ()
    assert read_visible(pair.visible).shape == (79, 100, 3)  # 0.883-0.111 of 102, 0.908-0.092 of 122
    whole = find(DataOptions(dataroot=v2, camera_crop=False)).splits["test"].pairs[0]
    assert read_visible(whole.visible).shape == (102, 122, 3)


@pytest.mark.parametrize("place", ["inside", "beside", "explicit", "one level up"])
@pytest.mark.parametrize("prefix", ["", "data/", "data\\"])
def test_v2_map_is_found_and_its_names_may_have_data_before_them(tmp_path, place, prefix):
    base = make.flir_adas_v2(tmp_path / "FLIR_ADAS_v2")
    folder = {"inside": base, "beside": tmp_path, "one level up": tmp_path}.get(place, tmp_path / "elsewhere")
    folder.mkdir(exist_ok=True)
    path = make.write_json(folder / MAP, make.v2_map(prefix))
    root = tmp_path if place == "one level up" else base
    options = DataOptions(dataroot=root, rgb_to_thermal_map=path if place == "explicit" else None)
    listing = find(options)
    assert sum(len(split.pairs) for split in listing.splits.values()) == 6
    assert listing.root == base


def test_v2_without_or_with_a_wrong_map(tmp_path):
    base = make.flir_adas_v2(tmp_path / "FLIR_ADAS_v2")
    listing = find(DataOptions(dataroot=base))
    assert numbers(listing) == {"train": (0, 5, 4), "val": (0, 1, 1), "test": (0, 6, 6)}
    assert "--rgb_to_thermal_map" in " ".join(listing.notes)
    with pytest.raises(ValueError, match="--rgb_to_thermal_map .* no such file"):
        find(DataOptions(dataroot=base, rgb_to_thermal_map=tmp_path / "absent.json"))
    (base / MAP).write_text("{torn")
    with pytest.raises(ValueError, match="JSON"):
        find(DataOptions(dataroot=base))
    make.write_json(base / MAP, {"a.jpg": ["b.jpg"]})
    with pytest.raises(ValueError, match=r"map.json: 'a.jpg' goes with \['b.jpg'\], which is no name"):
        find(DataOptions(dataroot=base))
    make.write_json(base / MAP, {"a.jpg": "b.jpg", "data/a.jpg": "c.jpg"})
    with pytest.raises(ValueError, match="names the visible image a twice"):
        find(DataOptions(dataroot=base))


def test_v2_damaged_missing_and_orphan_images_are_reported(v2):
    rgb, thermal = (sorted((v2 / f"video_{kind}_test" / "data").iterdir()) for kind in ("rgb", "thermal"))
    rgb[0].write_bytes(b"")
    thermal[-1].unlink()
    make.picture(v2 / "video_rgb_test" / "data" / "video-ZzRgbVideo1-frame-000999-orphan.jpg", make.V2_SIZE)
    make.junk(v2 / "video_rgb_test" / "data")
    listing = find(DataOptions(dataroot=v2))
    assert sum(len(split.pairs) for split in listing.splits.values()) == 4
    assert [(item.path, item.reason) for item in listing.skipped] == [(rgb[0], "empty file (0 bytes)")]
    notes = "\n".join(listing.notes)
    assert f"{MAP}: 1 visible not on disk or skipped" in notes
    assert f"{MAP}: 1 infrared not on disk or skipped" in notes
    assert "3 video images in no pair" in notes
    assert "1 file skipped (1 empty file)" in listing.summary()
    with pytest.raises(ImageError, match="empty file"):
        find(DataOptions(dataroot=v2, strict=True))


def test_v2_16_bit_reads_the_tiffs_and_skips_the_8_bit_ones_among_them(v2):
    tiffs = sorted((v2 / "video_thermal_test" / "analyticsData").iterdir())
    make.picture(tiffs[0], make.THERMAL_SIZE, 1)
    listing = find(DataOptions(dataroot=v2, thermal_source="16bit"))
    assert [(item.path, item.reason) for item in listing.skipped] == [(tiffs[0], "8-bit picture among 16-bit counts")]
    pairs = [pair for split in listing.splits.values() for pair in split.pairs]
    assert len(pairs) == 5
    assert {pair.infrared.path.suffix for pair in pairs} == {".tiff"}
    grey = read_infrared(pairs[0].infrared, ThermalRange())
    assert grey.dtype == np.uint16
    assert grey.mean() / 65535 == pytest.approx((294.1 - 253.15) / 70, abs=0.01)
    centikelvin = find(DataOptions(dataroot=v2, thermal_source="16bit", kelvin_per_count=0.4))
    assert "--kelvin_per_count" in " ".join(centikelvin.notes)


def test_v2_masks_beside_data_belong_to_the_pairs(v2):
    name = "video-4FRnNpmSmwktFJKjg-frame-000757-t757"
    mask = make.picture(v2 / "video_thermal_test" / "masks" / f"{name}.png", make.THERMAL_SIZE, 1)
    pairs = find(DataOptions(dataroot=v2)).splits["test"].pairs
    assert [pair.mask for pair in pairs] == [mask, None, None]


@pytest.mark.parametrize("by_description", [True, False])
def test_v2_weak_pairs_join_matched_videos_on_the_frame_number(v2, by_description):
    make.v2_indexes(v2, by_description)
    listing = find(DataOptions(dataroot=v2, pairs="weak"))
    assert numbers(listing) == {"train": (3, 5, 4), "val": (0, 1, 1), "test": (6, 6, 6)}
    for pair in listing.splits["train"].pairs:
        assert pair.visible.path.stem[-1] == pair.infrared.path.stem[-1]
        assert pair.visible.group == "RgbTrainA"
    assert "3 weak pairs" in " ".join(listing.notes)


def test_v2_description_outranks_the_file_name():
    rgb = {"videos": [{"id": "R1", "filename": "A_cam1.zip"}, {"id": "R2", "filename": "b.mp4"}]}
    thermal = {
        "videos": [
            {"id": "T1", "filename": "a cam2.avi", "description": None},
            {"id": "T2", "filename": "b.zip", "description": 'x {"RGB": "R1"} y'},
            {"id": "T3", "filename": "", "description": ""},
        ]
    }
    assert matching_videos(rgb, thermal) == ({"T2": "R1"}, 1, 0)
    thermal["videos"][1]["description"] = ""
    assert matching_videos(rgb, thermal) == ({"T1": "R1", "T2": "R2"}, 0, 2)
    rgb = {"videos": [{"id": f"R{k}", "filename": f"drive_cam{k}.avi"} for k in (0, 1)]}
    thermal = {"videos": [{"id": "T0", "filename": "drive_cam0.avi"}, {"id": "T2", "filename": "drive_cam2.avi"}]}
    assert matching_videos(rgb, thermal)[0] == {"T0": "R0", "T2": "R1"}, "the name as it is, then what is left of it"


def test_v2_supervised_gives_half_of_the_videos_to_train_and_none_drops_pairs(v2):
    supervised = find(DataOptions(dataroot=v2, pairs="supervised"))
    assert numbers(supervised) == {"train": (3, 8, 7), "val": (0, 1, 1), "test": (3, 3, 3)}
    assert not videos(supervised.splits["train"]) & videos(supervised.splits["test"])
    none = find(DataOptions(dataroot=v2, pairs="none"))
    assert numbers(none) == {"train": (0, 5, 4), "val": (0, 4, 4), "test": (0, 3, 3)}


@pytest.mark.parametrize(
    ("policy", "count", "shares"),
    [
        ("official", 8, (0, 2, 6)),
        ("official", 2, (0, 1, 1)),
        ("official", 1, (0, 0, 1)),
        ("supervised", 8, (4, 1, 3)),
        ("supervised", 3, (1, 1, 1)),
        ("weak", 8, (0, 0, 8)),
    ],
)
def test_v2_videos_are_shared_the_same_way_each_time(policy, count, shares):
    names = [f"video{number}" for number in range(count)]
    split_of = share_videos(reversed(names), policy)
    assert split_of == share_videos(names, policy)
    assert tuple(list(split_of.values()).count(name) for name in ("train", "val", "test")) == shares


def test_v1_pairs_by_stem_in_the_nested_folder_and_tells_what_is_missing(tmp_path):
    listing = find(DataOptions(dataroot=make.flir_adas_v1(tmp_path)))
    assert listing.layout == "flir_adas_v1"
    assert numbers(listing) == {"train": (2, 2, 3), "val": (2, 2, 2), "test": (2, 2, 2)}
    assert listing.splits["test"].pairs[0].visible.path.parent.name == "rgb"
    notes = "\n".join(listing.notes)
    assert "train: 1 infrared without visible partner: FLIR_00001" in notes
    assert "1 of 204x153" in notes  # the shape of 2048x1536
    first, second = listing.splits["train"].pairs
    assert read_visible(first.visible).shape == (127, 158, 3)
    assert read_visible(second.visible).shape == (153, 204, 3)
    with pytest.raises(ValueError, match="--thermal_source 8bit"):
        find(DataOptions(dataroot=tmp_path, thermal_source="16bit"))


def test_v1_first_release(tmp_path):
    make.flir_v1_first_release(tmp_path)
    listing = find(DataOptions(dataroot=tmp_path))
    assert listing.layout == "flir_adas_v1"
    assert numbers(listing) == {"train": (1, 1, 1), "val": (1, 1, 1), "test": (1, 1, 1)}
    assert listing.splits["train"].pairs[0].infrared.path.parent.name == "PreviewData"
    deep = find(DataOptions(dataroot=tmp_path, thermal_source="16bit"))
    assert deep.splits["train"].pairs[0].infrared.path.name == "FLIR_00002.tiff"
    assert "--thermal_range percentile" in " ".join(deep.notes)


@pytest.mark.parametrize("suffix", ["_PreviewData", "", "_RGB"])
@pytest.mark.parametrize("lists", [".", "ImageSets/Main"])
def test_aligned_follows_its_lists_and_never_reads_drawn_boxes_or_masks(tmp_path, suffix, lists):
    listing = find(DataOptions(dataroot=make.flir_aligned(tmp_path, suffix, lists)))
    assert listing.layout == "flir_aligned"
    assert numbers(listing) == {"train": (3, 3, 3), "val": (1, 1, 1), "test": (1, 1, 1)}
    assert [pair.stem for pair in listing.splits["test"].pairs] == ["FLIR_08863"]
    pairs = [pair for split in listing.splits.values() for pair in split.pairs]
    assert {pair.visible.path.parent.name for pair in pairs} == {"JPEGImages"}
    assert all(pair.visible.path.name == f"{pair.stem}_RGB.jpg" for pair in pairs)
    assert all(pair.infrared.path.name == f"{pair.stem}_PreviewData.jpeg" for pair in pairs)
    assert "align_train.txt: 1 listed pair not on disk" in " ".join(listing.notes)


def test_aligned_without_its_list_of_training_images_is_cut_in_blocks(tmp_path):
    make.flir_aligned(tmp_path)
    (tmp_path / "align" / "align_train.txt").unlink()
    assert set(find(DataOptions(dataroot=tmp_path)).splits) == {"train", "val", "test"}


def test_aligned_without_lists_is_cut_in_blocks(tmp_path):
    make.flir_aligned(tmp_path)
    for path in (tmp_path / "align").glob("*.txt"):
        path.unlink()
    assert numbers(find(DataOptions(dataroot=tmp_path))) == {
        "train": (3, 3, 3),
        "val": (1, 1, 1),
        "test": (1, 1, 1),
    }
