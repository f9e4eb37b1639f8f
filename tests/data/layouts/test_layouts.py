"""data/layouts: the other data sets on trees of the published form, splits, and what every listing promises."""

import os
import unicodedata
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from data.images import ThermalRange, read_infrared, read_visible
from data.layouts import LAYOUTS, Listing, find
from options.data import DataOptions, Layout, TrainDataOptions
from tests import layout_fixtures as make
from tests.conftest import write_pairs

REAL = Path(__file__).parents[3].parent / "shared" / "data"
AUTO = {
    "roadscene": (make.roadscene, 3, 1, 1),
    "m3fd": (make.m3fd, 2, 1, 1),
    "llvip": (make.llvip, 3, 1, 2),
    "msrs": (make.msrs, 2, 1, 1),
    "kaist": (make.kaist, 6, 1, 2),
    "tno_fusiongan": (make.tno_fusiongan, 2, 1, 1),
    "cyclegan": (make.cyclegan, 0, 0, 0),
    "pix2pix": (make.pix2pix, 4, 1, 2),
}


def pairs_of(listing):
    return {name: len(split.pairs) for name, split in listing.splits.items()}


def stems_of(listing, name):
    return [pair.stem for pair in listing.splits[name].pairs]


@pytest.mark.parametrize("name", AUTO)
def test_each_layout_is_recognised_paired_and_split(tmp_path, name):
    build, *counts = AUTO[name]
    listing = find(DataOptions(dataroot=build(tmp_path)))
    assert listing.layout == name
    expected = dict(zip(("train", "val", "test"), counts, strict=True))
    if not expected["train"]:  # nothing is held out for a validation that needs pairs
        del expected["val"]
    assert pairs_of(listing) == expected
    assert listing.skipped == ()
    splits = list(listing.splits.values())
    for split in splits:
        assert {pair.visible for pair in split.pairs} <= set(split.visible)
        assert {pair.infrared for pair in split.pairs} <= set(split.infrared)
        for pair in split.pairs:
            visible, infrared = read_visible(pair.visible), read_infrared(pair.infrared, ThermalRange())
            assert abs(visible.shape[1] - infrared.shape[1]) <= 1  # an AB picture may have odd width
    for first, second in zip(splits, splits[1:], strict=False):
        assert not set(first.visible) & set(second.visible)
    assert find(DataOptions(dataroot=tmp_path, layout=name)).splits == listing.splits
    assert find(DataOptions(dataroot=tmp_path, pairs="none")).splits["train"].visible == splits[0].visible
    assert not any(find(DataOptions(dataroot=tmp_path, pairs="none")).splits[key].pairs for key in listing.splits)


def test_the_table_has_the_layouts_that_the_options_name():
    assert {"auto", *LAYOUTS} == set(get_args(Layout))


def test_roadscene_reads_the_cropped_folders_only(tmp_path):
    listing = find(DataOptions(dataroot=make.roadscene(tmp_path)))
    assert {path.parent.name for split in listing.splits.values() for path in split.files()} == {
        "crop_LR_visible",
        "cropinfrared",
    }
    assert listing.notes == ()  # equal sizes
    assert stems_of(listing, "train") == ["FLIR_00006", "FLIR_00007", "FLIR_00008"]


def test_m3fd_reads_the_detection_set_and_says_so(tmp_path):
    listing = find(DataOptions(dataroot=make.m3fd(tmp_path)))
    assert listing.root.name == "M3FD_Detection"
    notes = " ".join(listing.notes)
    assert "M3FD_Fusion" in notes
    assert "4 of 4 infrared images are stored in colour" in notes


def test_lists_in_meta_decide_the_split(tmp_path):
    make.two_folders(tmp_path, "vi", "ir", [f"{number:05d}" for number in range(6)])
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "train.txt").write_text("00004.png\n00001.png\n")
    (tmp_path / "meta" / "val.txt").write_text("00000.png\n00003.png\n")
    (tmp_path / "meta" / "pred.txt").write_text("00003.png\n")
    listing = find(DataOptions(dataroot=tmp_path))
    assert {name: stems_of(listing, name) for name in listing.splits} == {
        "train": ["00001", "00004"],
        "val": ["00000"],
        "test": ["00003"],
    }
    assert "2 pairs in no list" in " ".join(listing.notes)


def test_masks_beside_named_folders_and_in_one_folder_for_all_splits(tmp_path):
    make.two_folders(tmp_path / "day", "left", "right", ["1", "2", "3"])
    for stem in "123":
        make.picture(tmp_path / "day" / "mask" / f"{stem}.png", (15, 11), 1)
    named = DataOptions(dataroot=tmp_path, visible_dir=Path("day/left"), infrared_dir=Path("day/right"))
    splits = find(named).splits.values()
    assert [pair.mask.parent.name for split in splits for pair in split.pairs] == ["mask"] * 3
    for split, stem in (("train", "1"), ("test", "2")):
        make.two_folders(tmp_path / "b", f"visible/{split}", f"infrared/{split}", [stem])
        make.picture(tmp_path / "b" / "mask" / f"{stem}.png", (15, 11), 1)
    splits = find(DataOptions(dataroot=tmp_path / "b")).splits
    assert {name: [pair.mask.name for pair in split.pairs] for name, split in splits.items()} == {
        "train": ["1.png"],
        "test": ["2.png"],
    }


def test_a_list_of_test_images_alone_keeps_them_out_of_training(tmp_path):
    make.two_folders(tmp_path, "vi", "ir", [f"{number:05d}" for number in range(20)])
    lists(tmp_path / "meta", test=b"00000\n00001\n", val=b"")
    listing = find(DataOptions(dataroot=tmp_path))
    assert stems_of(listing, "test") == ["00000", "00001"] and len(stems_of(listing, "train")) == 16
    assert len(stems_of(listing, "val")) == 2, "an empty list is none: validation has a block of the rest"
    assert "the 18 pairs that no other names are to train on" in " ".join(listing.notes)
    (tmp_path / "meta" / "val.txt").unlink()
    assert stems_of(find(DataOptions(dataroot=tmp_path)), "test") == ["00000", "00001"], "one list is enough"
    lists(
        tmp_path / "meta",
        test=b"00000\n00001\n",
        val=b"00000\n",
        train="\n".join(f"{k:05d}" for k in range(2, 20)).encode(),
    )
    assert len(stems_of(find(DataOptions(dataroot=tmp_path)), "val")) == 2, "all of its list is test's"


def test_kaist_lists_flat_copies_and_whole_videos_for_validation(tmp_path):
    listing = find(DataOptions(dataroot=make.kaist(tmp_path / "a")))
    assert stems_of(listing, "val") == ["set05_V000_I00001"]
    halves = find(DataOptions(dataroot=tmp_path / "a", val_fraction=0.4))
    assert stems_of(halves, "train")[-1] == "set00_V001_I00020"  # 3 of 7 asked: videos stay whole
    flat = find(DataOptions(dataroot=make.kaist(tmp_path / "b", flat=True)))
    assert flat.layout == "kaist"
    assert stems_of(flat, "test") == ["set06_V000_I00019", "set11_V001_I00039"]
    sets = tmp_path / "a" / "imageSets"
    sets.mkdir()
    (sets / "train-all-02.txt").write_text("set00/V000/I00000\nset00/V001/I00020\nset00/V009/I00000\n")
    (sets / "train-all-04.txt").write_text("set00/V000/I00000\n")
    (sets / "test-all-20.txt").write_text("set06/V000/I00019\n")
    listed = find(DataOptions(dataroot=tmp_path / "a", val_fraction=0))
    assert stems_of(listed, "train") == ["set00_V000_I00000", "set00_V001_I00020"]
    assert stems_of(listed, "test") == ["set06_V000_I00019"]
    assert "train-all-02.txt: 1 listed frame not on disk: set00_V009_I00000" in listed.notes
    (sets / "test-all-20.txt").unlink()
    one = find(DataOptions(dataroot=tmp_path / "a", val_fraction=0))
    assert stems_of(one, "train") == stems_of(listed, "train")
    assert stems_of(one, "test") == ["set06_V000_I00019", "set11_V001_I00039"], "set06-11 where no list says"


def test_fusiongans_tno_is_read_once_because_train_is_test(tmp_path):
    listing = find(DataOptions(dataroot=make.tno_fusiongan(tmp_path)))
    assert [stems_of(listing, name) for name in listing.splits] == [["1", "2"], ["10"], ["17"]]
    assert {pair.visible.path.suffix for split in listing.splits.values() for pair in split.pairs} == {
        ".bmp",
        ".tif",
    }
    assert "4 of 4 test pairs are training pairs too" in " ".join(listing.notes)
    for number in (1, 2, 10, 17):  # other pictures under the same numbers
        (path,) = (tmp_path / "Test_vi").glob(f"{number}.*")
        make.picture(path, (25 + number, 20), value=7)
    own = find(DataOptions(dataroot=tmp_path))
    assert stems_of(own, "test") == ["1", "2", "10", "17"] and len(stems_of(own, "train")) == 3


def test_cyclegan_is_unpaired_unless_test_names_are_equal(tmp_path):
    listing = find(DataOptions(dataroot=make.cyclegan(tmp_path / "a")))
    sizes = {name: (len(split.visible), len(split.infrared)) for name, split in listing.splits.items()}
    assert sizes == {"train": (6, 4), "test": (2, 3)}
    same = find(DataOptions(dataroot=make.cyclegan(tmp_path / "b", same_stems=True)))
    assert pairs_of(same) == {"train": 0, "test": 2}
    assert "--pairs none" in " ".join(same.notes)


def test_pix2pix_halves_and_folders_a_b(tmp_path):
    pair = find(DataOptions(dataroot=make.pix2pix(tmp_path / "ab"))).splits["train"].pairs[0]
    assert np.all(read_visible(pair.visible) == 200)
    assert read_visible(pair.visible).shape == (10, 12, 3)
    assert np.all(read_infrared(pair.infrared, ThermalRange()) == 50)
    for split in ("train", "test"):
        make.two_folders(tmp_path / "two", f"A/{split}", f"B/{split}", ["1", "2", "3"])
    listing = find(DataOptions(dataroot=tmp_path / "two"))
    assert listing.layout == "pix2pix"
    assert pairs_of(listing) == {"train": 2, "val": 1, "test": 3}


@pytest.mark.parametrize(
    ("visible", "infrared"),
    [("vi", "ir"), ("VIS", "Ir"), ("Visible", "Infrared"), ("rgb", "lwir"), ("color", "thermal"), ("VI", "inf")],
)
@pytest.mark.parametrize("nesting", ["flat", "split inside", "split outside"])
def test_two_folders_of_any_known_name_and_nesting(tmp_path, visible, infrared, nesting):
    stems = ["1", "2", "10"]
    if nesting == "flat":
        make.two_folders(tmp_path / "input", visible, infrared, stems)
        expected = {"train": 1, "val": 1, "test": 1}
    else:
        for split in ("train", "validation"):
            inside = nesting == "split inside"
            places = [f"{name}/{split}" if inside else f"{split}/{name}" for name in (visible, infrared)]
            make.two_folders(tmp_path, *places, stems)
        expected = {"train": 3, "val": 3}
    listing = find(DataOptions(dataroot=tmp_path))
    assert listing.layout == "two_folders"
    assert pairs_of(listing) == expected
    if nesting == "flat":
        assert stems_of(listing, "test") == ["10"]


def test_named_folders_suffixes_and_masks(tmp_path):
    for name in ("a", "b", "c"):
        make.picture(tmp_path / "day" / f"{name}_RGB.png")
        make.picture(tmp_path / "warm" / f"{name}_ir.jpg", channels=1)
        make.picture(tmp_path / "masks" / f"{name}.png", channels=1)
    with pytest.raises(ValueError, match="--visible_dir and --infrared_dir"):
        find(DataOptions(dataroot=tmp_path))
    options = DataOptions(dataroot=tmp_path, visible_dir="day", infrared_dir="warm")
    listing = find(options)
    assert [stems_of(listing, name) for name in listing.splits] == [["a"], ["b"], ["c"]]
    assert listing.splits["train"].pairs[0].mask == tmp_path / "masks" / "a.png"
    with pytest.raises(ValueError, match="no folder .*absent"):
        find(DataOptions(dataroot=tmp_path, visible_dir="day", infrared_dir="absent"))
    with pytest.raises(ValueError, match="--layout llvip"):
        find(DataOptions(dataroot=tmp_path, visible_dir="day", infrared_dir="warm", layout="llvip"))


def test_sub_folders_are_videos_and_are_held_out_whole(tmp_path):
    for video in ("a", "b", "c"):
        make.two_folders(tmp_path, f"vi/{video}", f"ir/{video}", ["1", "2", "3", "4"])
    listing = find(DataOptions(dataroot=tmp_path, val_fraction=0.2, test_fraction=0.2))
    assert [stems_of(listing, name)[0] for name in listing.splits] == ["a_1", "b_1", "c_1"]
    assert {pair.visible.group for pair in listing.splits["test"].pairs} == {"c"}


def test_damage_oddities_and_sizes_are_told(tmp_path):
    make.two_folders(tmp_path, "vi", "ir", ["1", "2", "3", "4"])
    (tmp_path / "vi" / "2.png").write_bytes(b"")
    (tmp_path / "ir" / "3.png").write_text("text")
    make.picture(tmp_path / "vi" / "4.png", (30, 22))
    make.picture(tmp_path / "vi" / "4.bmp", (30, 22))
    make.junk(tmp_path / "vi")
    listing = find(DataOptions(dataroot=tmp_path))
    assert sorted((item.path.name, item.reason) for item in listing.skipped) == [
        ("2.png", "empty file (0 bytes)"),
        ("3.png", "not an image"),
        ("4.bmp", "same name as another image (as 4.png)"),
    ]
    assert "1 visible without infrared partner: 3" in listing.notes
    assert "1 infrared without visible partner: 2" in listing.notes
    assert "1 of 2 pairs have images of two sizes: 4" in listing.notes


def test_names_without_partners_stay_unpaired(tmp_path):
    for number in range(4):
        make.picture(tmp_path / "vi" / f"day{number}.png")
        make.picture(tmp_path / "ir" / f"night{number}.png", channels=1)
    listing = find(DataOptions(dataroot=tmp_path))
    assert pairs_of(listing) == {"train": 0, "test": 0}, "no validation without pairs"
    assert [len(split.visible) for split in listing.splits.values()] == [3, 1]
    assert "same name" in " ".join(listing.notes)


def test_a_wrong_root_is_one_line_with_the_remedy(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "holiday" / "pictures").mkdir(parents=True)
    make.picture(tmp_path / "holiday" / "pictures" / "x.jpg")
    (tmp_path / "hollow" / "vi").mkdir(parents=True)
    (tmp_path / "hollow" / "ir").mkdir()
    for name, layout, message in (
        ("absent", "auto", "does not exist"),
        ("empty", "auto", "empty folder"),
        ("holiday", "auto", "flir_adas_v2, .*two_folders.*--visible_dir"),
        ("holiday", "kaist", "no kaist there, which has images/set00"),
        ("hollow", "auto", "no readable image"),
        ("holiday/pictures/x.jpg", "auto", "is no folder"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            find(DataOptions(dataroot=tmp_path / name, layout=layout))
        assert "\n" not in str(caught.value)


def test_summary_is_one_honest_line_and_the_fingerprint_sees_changes(tmp_path):
    root = make.two_folders(tmp_path / "set", "vi", "ir", ["1", "2", "3"])
    make.picture(root / "vi" / "4.png")
    listing = find(DataOptions(dataroot=root))
    assert listing.summary() == (
        f"two_folders in {root}: train 1 pair; val 1 pair; test 1 pair + 1 visible and 0 infrared unpaired; "
        "no file skipped"
    )
    before = listing.fingerprint()
    assert before == find(DataOptions(dataroot=root)).fingerprint()
    assert Listing("m3fd", listing.root, listing.splits).fingerprint() != before
    with (root / "vi" / "4.png").open("ab") as file:
        file.write(b"x")
    assert listing.fingerprint() != before
    after = listing.fingerprint()
    moved = (tmp_path / "set").rename(tmp_path / "moved")
    assert find(DataOptions(dataroot=moved)).fingerprint() == after


@pytest.mark.parametrize(
    ("name", "layout", "pairs", "masks"),
    [
        ("roadscene", "roadscene", 180, 0),
        ("tno", "two_folders", 41, 0),
        ("stdfusionnet/train", "two_folders", 20, 20),
    ],
)
def test_published_pictures(name, layout, pairs, masks):
    if not (REAL / name).is_dir():
        pytest.skip(f"no copy of {name} beside the repository")
    listing = find(DataOptions(dataroot=REAL / name))
    found = [pair for split in listing.splits.values() for pair in split.pairs]
    assert (listing.layout, len(found), listing.skipped) == (layout, pairs, ())
    assert sum(pair.mask is not None for pair in found) == masks
    for pair in found[::20]:
        assert read_visible(pair.visible).shape[:2] == read_infrared(pair.infrared, ThermalRange()).shape
        if pair.mask:
            assert Image.open(pair.mask).size == Image.open(pair.infrared.path).size


def test_several_data_sets_join_and_what_one_holds_out_no_other_trains_on(tmp_path):
    first, second = write_pairs(tmp_path / "a", 20), write_pairs(tmp_path / "b", 20, seed=7)
    held_out = find(DataOptions(dataroot=first)).splits["test"].pairs[0]
    victim = find(DataOptions(dataroot=second)).splits["train"].pairs[0]
    victim.visible.path.write_bytes(held_out.visible.path.read_bytes())  # the same picture under another name
    joined = find(TrainDataOptions(dataroot=(first, second)))
    train, test = joined.splits["train"], joined.splits["test"]
    assert len(train.pairs) == 16 + 15 and [len(part.pairs) for part in train.parts] == [16, 15]
    assert victim.visible not in train.visible and victim.infrared not in train.infrared
    assert len({pair.stem for pair in test.pairs}) == len(test.pairs) == 4, "stems say which data set"
    assert any("2 training pictures left out" in note for note in joined.notes), "a picture and its partner"
    assert "a: train 16 pairs" in joined.summary() and "b: train 15 pairs" in joined.summary()
    assert joined.fingerprint() != find(TrainDataOptions(dataroot=(second, first))).fingerprint()
    other = find(DataOptions(dataroot=second)).splits["train"].pairs[1]
    other.infrared.path.write_bytes(held_out.infrared.path.read_bytes())
    train = find(TrainDataOptions(dataroot=(first, second))).splits["train"]
    assert len(train.parts[1].pairs) == 14 and not {other.visible, other.infrared} & {*train.visible, *train.infrared}
    third = write_pairs(tmp_path / "other" / "a", 20, seed=8)
    stems = [pair.stem for pair in find(TrainDataOptions(dataroot=(first, third))).splits["test"].pairs]
    assert len(set(stems)) == len(stems) == 4, "of two folders of one name too"
    with pytest.raises(ValueError, match="--dataroot .*a is given twice"):
        find(TrainDataOptions(dataroot=(first, tmp_path / "b" / ".." / "a")))
    with pytest.raises(ValueError, match="--dataroot_weights has 1 numbers for 2"):
        TrainDataOptions(dataroot=(first, second), dataroot_weights=(1.0,))


def lists(folder, **content):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in content.items():
        (folder / f"{name}.txt").write_bytes(value)
    return folder


def encoded(encoding, *lines, end="\n"):
    return end.join(lines).encode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "form", ["{}", "{}.png", "vi/{}", "D:\\data\\vi\\{}.png", "./{}.JPG  # day", '"{}"', "vi/{}.png ir/{}.png"]
)
def test_lists_of_any_form_name_stems_with_blanks_and_dots(tmp_path, encoding, form):
    stems = ["scene.00", "scene.01", "a scene 2", "Br\u00fccke"]
    make.two_folders(tmp_path, "vi", "ir", stems)
    listed = [form.format(stem, stem) for stem in (*stems[:3], unicodedata.normalize("NFD", stems[3]))]
    if " ir/" in form:
        listed[2] = stems[2]  # a name with blanks is one of two columns to nobody
    train = encoded(encoding, "# day", "", *listed[:2], listed[3], end="\r\n")
    lists(tmp_path / "meta", train=train, val=encoded(encoding, listed[2]))
    listing = find(DataOptions(dataroot=tmp_path))
    assert {name: stems_of(listing, name) for name in listing.splits} == {
        "train": ["Br\u00fccke", "scene.00", "scene.01"],
        "val": ["a scene 2"],
    }
    assert listing.notes == ("this copy has no test split",)


def test_lists_that_match_nothing_are_no_text_or_no_files(tmp_path):
    stems = [f"{number:05d}" for number in range(6)]
    make.two_folders(tmp_path, "vi", "ir", stems)
    meta = lists(tmp_path / "meta", train=b"x1\nx2\n", val=b"00001\n")
    listing = find(DataOptions(dataroot=tmp_path))
    assert "train.txt: none of its 2 lines names an image here: x1, x2; the list is left out" in listing.notes
    assert sum(pairs_of(listing).values()) == 6
    lists(meta, train=b"00000\n00002\n00001\n", val=b"00001\n00009\n")
    listing = find(DataOptions(dataroot=tmp_path))
    notes = " | ".join(listing.notes)
    assert "val.txt: 1 listed pair not on disk: 00009" in notes and "3 pairs in no list (train.txt, val.txt)" in notes
    assert "val.txt: 1 image of an earlier list too" in notes and "6 images not read" in listing.summary()
    for content in (b"\x89PNG\r\n\x1a\n\0\0", "00001\n".encode("utf-16-le"), b"caf\xe9\n"):
        lists(meta, train=content)
        with pytest.raises(ValueError, match="train.txt: is a list .* no text"):
            find(DataOptions(dataroot=tmp_path))
    (meta / "train.txt").unlink()
    os.mkfifo(meta / "train.txt")
    assert "is no plain file" in " ".join(find(DataOptions(dataroot=tmp_path)).notes)


def test_kaist_lists_with_backslashes_and_what_they_lack(tmp_path):
    root = make.kaist(tmp_path)
    frames = [rb"set00\V000\I00000", rb"set00\V001\visible\I00020.jpg", rb"set00\V009\I00000"]
    lists(tmp_path / "imageSets", **{"train-all-02": b"\r\n".join(frames), "test-all-20": b"set09/V000/I00000"})
    listing = find(DataOptions(dataroot=root, val_fraction=0))
    assert stems_of(listing, "train") == ["set00_V000_I00000", "set00_V001_I00020"]
    notes = " | ".join(listing.notes)
    assert "train-all-02.txt: 1 listed frame not on disk: set00_V009_I00000" in notes
    assert "test-all-20.txt: none of its 1 line names an image here: set09_V000_I00000" in notes


def test_mfnet_is_colour_and_heat_in_one_file(tmp_path):
    for number in range(4):
        array = np.full((6, 8, 4), 90, np.uint8)
        array[..., 3] = np.arange(8) * 30
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(array).save(tmp_path / "images" / f"{number:05d}D.png")
        make.picture(tmp_path / "labels" / f"{number:05d}D.png", (8, 6), 1, 3)
    listing = find(DataOptions(dataroot=tmp_path, val_fraction=0, test_fraction=0))
    assert listing.layout == "mfnet" and pairs_of(listing) == {"train": 4} and "not read" not in listing.summary()
    pair = listing.splits["train"].pairs[0]
    assert read_visible(pair.visible).shape == (6, 8, 3) and np.all(read_visible(pair.visible) == 90)
    assert np.array_equal(read_infrared(pair.infrared, ThermalRange())[0], np.arange(8) * 30)
    assert pair.labels == tmp_path / "labels" / "00000D.png" and pair.mask is None
    lists(tmp_path, train=b"00000D\n00001D\n00001D_flip\n", val=b"00002D", test=b"00003D")
    assert pairs_of(find(DataOptions(dataroot=tmp_path))) == {"train": 2, "val": 1, "test": 1}
    Image.new("RGBA", (8, 6)).save(tmp_path / "images" / "00000D.png")
    with pytest.raises(ValueError, match="none of the layouts"):
        find(DataOptions(dataroot=tmp_path))


def test_images_that_no_split_has_are_counted(tmp_path):
    make.two_folders(tmp_path, "vi", "ir", ["1", "2", "3"])
    for name in ("vi/night/4.png", "rgb/1.png", "x.png", "results/gen/infrared/1.png"):
        make.picture(tmp_path / name)
    (tmp_path / "results" / "gen" / "made.jsonl").touch()
    listing = find(DataOptions(dataroot=tmp_path))
    assert listing.unread == {".": 1, "rgb": 1, "vi/night": 1}
    assert listing.summary().endswith("no file skipped; 3 images not read (of ., rgb, vi/night)")
    assert "own results" in " ".join(listing.notes)


def test_a_is_visible_only_beside_b(tmp_path):
    make.two_folders(tmp_path, "color", "b", ["1", "2", "3"])
    with pytest.raises(ValueError, match="none of the layouts"):
        find(DataOptions(dataroot=tmp_path))
    make.two_folders(tmp_path, "a", "b", ["1", "2", "3"])
    assert find(DataOptions(dataroot=tmp_path)).layout == "two_folders"


def test_names_that_are_no_text_do_not_end_a_search(tmp_path):
    make.two_folders(tmp_path, "vi", "ir", ["1", os.fsdecode(b"caf\xe9"), "3"])
    listing = find(DataOptions(dataroot=tmp_path))
    assert sum(pairs_of(listing).values()) == 3 and len(listing.fingerprint()) == 16


def test_of_files_of_one_stem_the_one_that_its_partner_is_called_like_is_read(tmp_path):
    make.two_folders(tmp_path, "vi", "ir", ["1", "2", "3", "y", "z"])
    make.picture(tmp_path / "vi/Y.png")
    make.picture(tmp_path / "vi/z.bmp")
    listing = find(DataOptions(dataroot=tmp_path))
    pairs = [pair for split in listing.splits.values() for pair in split.pairs]
    assert all(pair.visible.path.name == pair.infrared.path.name for pair in pairs) and len(pairs) == 5
    assert {(item.path.name, item.reason) for item in listing.skipped} == {
        ("Y.png", "same name as another image (as y.png)"),
        ("z.bmp", "same name as another image (as z.png)"),
    }
