"""The gallery page as a file: its links, names, numbers and curves."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from util.pages.charts import Curve, curve_panel
from util.pages.gallery import Table, write_gallery
from util.pages.image_rows import Row, column_order
from util.text import format_column, format_number

AWKWARD = "a & b <i>\"q\" 'p' #1 50% ü 夜 ?x=1"
VOID = {"meta", "link", "img", "input"}


class Page(HTMLParser):
    """Elements as (tag, attributes, text directly inside); fails where one is not closed in order."""

    def __init__(self, path: Path):
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict, list[str]]] = []
        self.open: list[tuple[str, dict, list[str]]] = []
        self.feed(self.text)
        self.close()
        assert not self.open, f"not closed: {[tag for tag, _, _ in self.open]}"

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in {tag}: {attrs}"
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1][0] == tag, f"</{tag}> closes <{self.open[-1][0]}>"
        self.open.pop()

    def handle_data(self, data):
        if self.open:
            self.open[-1][2].append(data)

    def all(self, tag: str, **wanted: str) -> list[dict]:
        return [a for t, a, _ in self.elements if t == tag and wanted.items() <= a.items()]

    def texts(self, tag: str) -> list[str]:
        return ["".join(text) for t, _, text in self.elements if t == tag]

    def images(self) -> list[dict]:
        return [attrs for attrs in self.all("img") if not attrs["src"].startswith("data:")]


def picture(path: Path, size: tuple[int, int] = (30, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 150)).save(path)
    return path


def linked_file(page_path: Path, src: str) -> Path:
    parts = urlsplit(src)
    assert not (parts.scheme or parts.netloc or parts.query or parts.fragment), src
    return page_path.parent / unquote(parts.path)


def test_images_resolve_from_the_page_with_size_and_lazy_loading(tmp_path):
    visible = picture(tmp_path / "data set" / "v.png", (64, 48))
    fake = picture(tmp_path / "run" / "images" / "f.jpg", (33, 57))
    path = tmp_path / "run" / "web" / "index.html"
    write_gallery(path, "run", [Row("one", {"visible": visible, "generated": str(fake)})])
    page = Page(path)
    assert [linked_file(path, a["src"]).resolve() for a in page.images()] == [visible, fake]
    assert [(a["width"], a["height"]) for a in page.images()] == [("64", "48"), ("33", "57")]
    assert all(a["loading"] == "lazy" and a["decoding"] == "async" for a in page.images())
    assert [a["alt"] for a in page.images()] == ["visible, one", "generated, one"]


def test_a_relative_image_path_is_taken_from_the_working_directory(tmp_path, monkeypatch):
    picture(tmp_path / "images" / "v.png")
    monkeypatch.chdir(tmp_path)
    write_gallery(Path("web/index.html"), "run", [Row("one", {"visible": "images/v.png"})])
    assert Page(tmp_path / "web/index.html").images()[0]["src"] == "../images/v.png"


@pytest.mark.parametrize("name", [AWKWARD, "a:b", " leading", "a+b;c=d,e@f", "back\\slash", "</script>", "&amp;"])
def test_awkward_names_come_back_unchanged(tmp_path, name):
    file = picture(tmp_path / f"dir {name.replace('/', '')}" / f"{name.replace('/', '')}.png")
    path = tmp_path / "index.html"
    row = Row(name, {f"label {name}": file}, {f"score {name}": 0.5})
    curve, table = curve_panel(Curve(name, {name: [(0, 1), (1, 2)]}, name)), Table(name, [name], [[name]], name)
    write_gallery(path, name, [row], [table], [curve], {name: name})
    page = Page(path)
    assert linked_file(path, page.images()[0]["src"]) == file
    card = page.all("li", **{"class": "row"})[0]
    assert card["data-name"] == name
    assert json.loads(card["data-scores"]) == {f"score {name}": 0.5}
    assert page.images()[0]["alt"] == f"label {name}, {name}"
    assert page.texts("h1") == page.texts("title") == [name]
    assert page.texts("h3").count(name) == 3
    assert page.texts("td") == page.texts("th") == [name]
    assert page.all("i") == []
    assert len(page.all("script")) == 1


def test_a_name_that_is_not_utf8_is_written(tmp_path):
    name = "n\udcff"
    try:
        file = picture(tmp_path / f"{name}.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    write_gallery(tmp_path / "i.html", "run", [Row(name, {"visible": file})])
    assert Page(tmp_path / "i.html").images()[0]["src"] == "n%FF.png"


def test_nothing_is_loaded_from_elsewhere(tmp_path):
    file = picture(tmp_path / "v.png")
    rows = [Row("one", {"visible": file, "infrared": file})]
    write_gallery(tmp_path / "i.html", "run", rows, charts=[curve_panel(Curve("c", {"s": [(0, 1)]}, "x"))])
    page = Page(tmp_path / "i.html")
    links = [(n, v) for _, a, _ in page.elements for n, v in a.items() if n in {"src", "href", "srcset", "action"}]
    assert links
    assert [v for _, v in links if urlsplit(v).scheme not in ("", "data")] == []
    assert all(v.startswith(("data:image/", "#")) for n, v in links if n == "href")
    inlined = "".join(page.texts("style") + page.texts("script"))
    assert not re.search(r"url\(|@import|https?:|innerHTML|\bfetch\(", inlined)


def test_the_page_is_one_well_formed_html5_document(tmp_path):
    write_gallery(tmp_path / "i.html", "run", [Row("one", {"visible": picture(tmp_path / "v.png")})])
    page = Page(tmp_path / "i.html")
    assert page.text.startswith('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">')
    ids = [a["id"] for _, a, _ in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert page.all("meta", **{"http-equiv": "refresh"}) == []


def test_missing_labels_leave_a_gap_in_the_common_column_order(tmp_path):
    file = picture(tmp_path / "v.png")
    rows = [
        Row("one", {"visible": file, "generated": file, "cycled": file}),
        Row("two", {"visible": file, "generated": file, "infrared": file, "cycled": file}),
        Row("three", {"infrared": file}),
    ]
    assert column_order(rows) == ["visible", "generated", "infrared", "cycled"]
    write_gallery(tmp_path / "i.html", "run", rows)
    page = Page(tmp_path / "i.html")
    assert len(page.images()) == 8
    assert page.texts("span").count("none") == 4
    assert len(page.all("button", **{"class": "quiet compare"})) == 2


def test_scores_that_are_not_numbers(tmp_path):
    scores = {"SSIM": math.nan, "PSNR": math.inf, "MI": 1.23456}
    write_gallery(tmp_path / "i.html", "run", [Row("one", {"visible": picture(tmp_path / "v.png")}, scores)])
    page = Page(tmp_path / "i.html")
    assert page.texts("dd") == ["n/a", "∞", "1.235"]
    saved = json.loads(page.all("li")[0]["data-scores"], parse_constant=pytest.fail)
    assert saved == {"SSIM": "nan", "PSNR": "Infinity", "MI": 1.23456}
    sort_choices = [a["value"] for a in page.all("option")]
    assert sort_choices == ["", "name", "score:SSIM", "score:PSNR", "score:MI"]


def test_an_image_that_is_gone_or_broken_is_named(tmp_path):
    path = tmp_path / "i.html"
    missing = tmp_path / "none.png"
    for _ in ("gone", "broken"):
        with pytest.raises(OSError, match=r"none\.png"):
            write_gallery(path, "run", [Row("one", {"visible": missing})])
        missing.write_text("not an image")
    assert not path.exists()


def test_a_failed_write_leaves_the_old_page_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "i.html"
    write_gallery(path, "old", [])
    before = path.read_bytes()

    def full(self, *_, **__):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        write_gallery(path, "new", [])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_thousand_rows(tmp_path):
    file = picture(tmp_path / "v.png")
    rows = [Row(f"sample {i}", {"visible": file, "generated": file, "infrared": file}) for i in range(1000)]
    write_gallery(tmp_path / "i.html", "run", rows)
    page = Page(tmp_path / "i.html")
    assert len(page.images()) == 3000
    assert "content-visibility: auto" in page.text


def test_an_empty_page_says_so(tmp_path):
    write_gallery(tmp_path / "i.html", "run", [], charts=[curve_panel(Curve("loss", {"G": []}, "epoch"))])
    assert {"No images yet.", "Nothing to draw yet."} <= set(Page(tmp_path / "i.html").texts("p"))


def test_refresh(tmp_path):
    write_gallery(tmp_path / "i.html", "run", [], refresh_s=30)
    assert Page(tmp_path / "i.html").all("meta", **{"http-equiv": "refresh", "content": "30"})


def test_facts_are_a_definition_list_closed_when_long(tmp_path):
    write_gallery(tmp_path / "i.html", "run", [], facts={"device": "cpu", "seed": "0"})
    page = Page(tmp_path / "i.html")
    assert (page.texts("dt"), page.texts("dd")) == (["device", "seed"], ["cpu", "0"])
    assert "open" in page.all("details")[0]
    write_gallery(tmp_path / "i.html", "run", [], facts={f"option {i}": str(i) for i in range(40)})
    assert "open" not in Page(tmp_path / "i.html").all("details")[0]


def test_table_numbers_align_and_the_best_is_bold(tmp_path):
    rows = [["ours", 19.84, 0.2, "yes"], ["copied", 14.2, math.nan, "no"], ["inverted", 19.84, 0.4477, "no"]]
    table = Table("t", ["method", "PSNR", "LPIPS", "paired"], rows, best={"PSNR": "max", "LPIPS": "min"})
    write_gallery(tmp_path / "i.html", "run", [], [table])
    page = Page(tmp_path / "i.html")
    assert page.texts("b") == ["19.84", "0.2000", "19.84"]
    assert [a["class"] for a in page.all("th")] == ["", "number", "number", ""]


def test_numbers():
    assert [format_number(v) for v in (0.123456, 12, 3.0, 1e-7, -math.inf)] == [
        "0.1235",
        "12",
        "3",
        "1e-07",
        "-∞",
    ]
    assert format_column(["x", 1.5, 10, math.nan, 2.25]) == ["x", "1.50", "10.00", "n/a", "2.25"]
    assert format_column([0.0001234, 0.5]) == ["0.0001", "0.5000"], "a tiny value does not stretch the column"
    assert format_column([0.0003, 0.00012]) == ["0.00030", "0.00012"] and format_column([0.0, 0.0]) == ["0", "0"]
