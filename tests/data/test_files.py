"""Listing images: data/files.py and list_images of data/images.py."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from data.files import OWN_MARKS, Met, name_key, natural_key, on_disk
from data.images import ImageError, Source, list_images, write_image
from tests.layout_fixtures import picture
from util.files import write_whole
from util.text import first_few


def test_list_images_sorts_naturally_skips_junk_and_makes_stems_unique(tmp_path):
    names = ["b/10.png", "b/9.png", "c/9.png", "x.jpg", "x.png", "Thumbs.db", "._x.jpg", ".DS_Store", "a.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {source.path.relative_to(tmp_path).as_posix(): source.stem for source in list_images(tmp_path)}
    assert found == {"b/9.png": "b_9", "b/10.png": "10", "c/9.png": "c_9", "x.jpg": "x_jpg", "x.png": "x_png"}
    assert list(found)[:2] == ["b/9.png", "b/10.png"]
    assert list_images(tmp_path / "x.png") == [Source(tmp_path / "x.png", "x")]
    (tmp_path / "b_9.png").touch()
    stems = [source.stem for source in list_images(tmp_path)]
    assert len(set(stems)) == len(stems) == 6


def test_list_images_says_what_is_wrong(tmp_path):
    (tmp_path / "notes.txt").touch()
    for path in (tmp_path, tmp_path / "notes.txt", tmp_path / "absent"):
        with pytest.raises(ValueError, match="give"):
            list_images(path)


def test_natural_order_never_fails_and_never_ties():
    names = ["１０.png", "2.png", "٣.png", "²", "9" * 5000, "01", "1", "x2", "x10", "Ä1", "a\u03081"]
    ordered = sorted(names, key=natural_key)
    names.reverse()
    assert sorted(names, key=natural_key) == ordered
    assert ordered.index("2.png") < ordered.index("٣.png") < ordered.index("１０.png")
    assert ordered.index("x2") < ordered.index("x10")


def test_names_that_differ_by_case_and_normalisation_alone_make_unlike_stems(tmp_path):
    names = ["Brücke.png", unicodedata.normalize("NFD", "Brücke.png"), "img1.PNG", "IMG1.png", "a.b.png", "a.c.png"]
    names += ["line\nbreak.png", '"quoted".png', "-dash.png", " blank .png", os.fsdecode(b"caf\xe9.png")]
    for name in names:
        picture(tmp_path / name)
    sources = list_images(tmp_path)
    assert len(sources) == len(names) == len({name_key(source.stem) for source in sources})
    assert {"a.b", "a.c"} <= {source.stem for source in sources}


def test_own_results_hidden_folders_and_links_are_no_inputs_and_are_told(tmp_path):
    picture(tmp_path / "day" / "1.png")
    picture(tmp_path / ".thumbnails" / "1.png")
    picture(tmp_path / "results" / "gen" / "visible" / "1.jpg")
    (tmp_path / "results" / "gen" / "made.jsonl").write_text("{}")
    picture(tmp_path / "checkpoints" / "run" / "web" / "1.png")
    for name in OWN_MARKS[1]:
        (tmp_path / "checkpoints" / "run" / name).touch()
    (tmp_path / "day" / "up").symlink_to(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    met = Met()
    assert [source.path for source in list_images(tmp_path, met)] == [tmp_path / "day" / "1.png"]
    assert [path.name for path, _ in met.unread] == ["loop"]
    note = " ".join(met.notes())
    assert "2 folders of this project's own results" in note and "gen" in note and "day/up" in note
    assert [source.stem for source in list_images(tmp_path / "results" / "gen" / "visible")] == ["1"]


def test_folders_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    for name in ("open", "locked", "gone"):
        picture(tmp_path / name / "1.png")
    errors = {"locked": PermissionError(13, "Permission denied"), "gone": FileNotFoundError(2, "No such file")}
    real = os.scandir

    def scandir(path):
        if Path(path).name in errors:
            raise errors[Path(path).name]
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    met = Met()
    assert len(list_images(tmp_path, met)) == 1
    assert {path.name: reason for path, reason in met.unread} == {
        "locked": "Permission denied",
        "gone": "No such file",
    }
    with pytest.raises(ValueError, match="locked cannot be read: Permission denied"):
        list_images(tmp_path / "locked")


@pytest.mark.parametrize("length", [241, 251])
def test_long_names_are_written(tmp_path, length):
    path = tmp_path / ("x" * length + ".png")
    write_image(path, np.zeros((2, 2), np.uint8))
    write_whole(path, b"text")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_lines_stay_lines_and_other_spellings_are_found(tmp_path):
    odd = tmp_path / "a\nb\x1b.png"
    odd.touch()
    assert str(ImageError(odd, "empty")) == f"{tmp_path}/a\\nb\\x1b.png: empty"
    assert first_few(["a\rb", "c"]) == "a\\rb, c"
    spelt = picture(tmp_path / unicodedata.normalize("NFD", "Br\u00fccke.png"))
    assert on_disk(tmp_path / "Br\u00fccke.png") == spelt and on_disk(odd) == odd
    assert on_disk(tmp_path / "absent.png") == tmp_path / "absent.png"
