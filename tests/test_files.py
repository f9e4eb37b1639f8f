"""Listing images: data/files.py and list_images of data/images.py."""

import pytest

from data.images import Source, list_images


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
