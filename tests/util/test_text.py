"""util.text: counted nouns, and metrics as papers spell them."""

from util.metrics.generation import METRICS
from util.text import metric_title, plural


def test_plural():
    assert [plural(n, "image") for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert [plural(n, "box") for n in (1, 3)] == ["1 box", "3 boxes"]


def test_every_metric_of_generation_has_its_spelling():
    assert [metric_title(name) for name in METRICS] == ["PSNR", "SSIM", "MAE", "CC", "edge CC"]
    assert metric_title("Qabf") == "Qabf"
