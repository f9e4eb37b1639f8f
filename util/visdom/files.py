"""The scripts, styles and fonts that visdom's page needs and its package lacks: from the npm registry into place.

visdom fetches them from several public addresses when its server first starts, and its server ends where it cannot."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import os
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from util.files import write_whole

VERSION = "0.2.4"  # of visdom, whose server/build.py names the versions below
REGISTRY = "https://registry.npmjs.org"
TIMEOUT_S = 30

_GLYPHICONS = "glyphicons-halflings-regular"
_MATHJAX = (
    "config/Safe.js",
    "config/TeX-AMS-MML_HTMLorMML.js",
    "extensions/Safe.js",
    "jax/output/SVG/fonts/TeX/fontdata.js",
    "jax/output/SVG/jax.js",
    "jax/output/SVG/fonts/TeX/Size1/Regular/Main.js",
    "jax/output/SVG/config.js",
    "MathJax.js",
)

# npm package -> file in it -> place below visdom's folder "static".
FILES: Mapping[str, Mapping[str, str]] = {
    "jquery@3.1.1": {"dist/jquery.min.js": "js/jquery.min.js"},
    "bootstrap@3.3.7": {
        "dist/js/bootstrap.min.js": "js/bootstrap.min.js",
        "dist/css/bootstrap.min.css": "css/bootstrap.min.css",
        f"dist/fonts/{_GLYPHICONS}.eot": f"fonts/{_GLYPHICONS}.eot",
        f"dist/fonts/{_GLYPHICONS}.woff2": f"fonts/{_GLYPHICONS}.woff2",
        f"dist/fonts/{_GLYPHICONS}.woff": f"fonts/{_GLYPHICONS}.woff",
        f"dist/fonts/{_GLYPHICONS}.ttf": f"fonts/{_GLYPHICONS}.ttf",
        f"dist/fonts/{_GLYPHICONS}.svg": f"fonts/{_GLYPHICONS}.svg#glyphicons_halflingsregular",
    },
    "react@16.2.0": {"umd/react.production.min.js": "js/react-react.min.js"},
    "react-dom@16.2.0": {"umd/react-dom.production.min.js": "js/react-dom.min.js"},
    "react-modal@3.1.10": {"dist/react-modal.min.js": "js/react-modal.min.js"},
    "plotly.js-dist-min@2.11.1": {"plotly.min.js": "js/plotly-plotly.min.js"},
    "sjcl@1.0.7": {"sjcl.js": "js/sjcl.js"},
    "layout-bin-packer@1.4.0": {
        "dist/layout-bin-packer.js": "js/layout_bin_packer.js",
        "dist/layout-bin-packer.js.map": "js/layout-bin-packer.js.map",
    },
    "d3@3.5.17": {"d3.min.js": "js/d3.v3.min.js"},
    "d3-selection-multi@1.0.1": {"build/d3-selection-multi.js": "js/d3-selection-multi.v1.js"},
    "save-svg-as-png@1.4.17": {"lib/saveSvgAsPng.js": "js/saveSvgAsPng.js"},
    "react-resizable@1.4.6": {"css/styles.css": "css/react-resizable-styles.css"},
    "react-grid-layout@0.16.3": {"css/styles.css": "css/react-grid-layout-styles.css"},
    "classnames@2.2.5": {"index.js": "fonts/classnames"},
    "mathjax@2.7.5": {path: f"js/mathjax/2.7.5/{path}" for path in _MATHJAX},
}


def static_folder() -> Path:
    """visdom's folder of static files; ValueError where visdom is not installed, or is another version."""
    found = importlib.util.find_spec("visdom")
    if found is None or found.origin is None:
        raise ValueError("visdom is not installed: requirements-visdom.txt says how, in two lines")
    package = Path(found.origin).parent
    version = (package / "VERSION").read_text().strip() if (package / "VERSION").is_file() else "unknown"
    if version != VERSION:
        raise ValueError(f"visdom is of version {version}: install the one of requirements-visdom.txt, {VERSION}")
    return package / "static"


def missing(static: Path) -> list[str]:
    """The files that are not in place, as paths below `static`."""
    places = [place for files in FILES.values() for place in files.values()]
    return [place for place in places if not (static / place).is_file() or not (static / place).stat().st_size]


def mark_built(static: Path) -> None:
    """Tell visdom's server that its files are there, so that it does not try to download them again."""
    (static / "version.built").write_text(VERSION)


def _read(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return answer.read()
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        raise OSError(f"{url}: {getattr(error, 'reason', None) or error}") from None


def _fetched(package: str, registry: str) -> bytes:
    """The package's archive from the registry, checked against the sum in its metadata."""
    name, _, version = package.rpartition("@")
    address = f"{registry.rstrip('/')}/{name}/{version}"
    try:
        facts = json.loads(_read(address))["dist"]
        archive = _read(facts["tarball"])
        if "integrity" in facts:
            kind, _, wanted = facts["integrity"].split()[0].partition("-")
            found = base64.b64encode(hashlib.new(kind, archive).digest()).decode()
        else:
            wanted, found = facts["shasum"], hashlib.sha1(archive).hexdigest()
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):  # a proxy's page, say
        raise OSError(f"{address}: answers what no npm registry does") from None
    if found != wanted:
        raise OSError(f"{package}: the archive from {facts['tarball']} is damaged (its sum is not the registry's)")
    return archive


def put_in_place(static: Path, registry: str | None = None, say: Callable[[str], None] = lambda line: None) -> int:
    """Fetch what is missing; returns the number of files written. OSError where a package cannot be had."""
    wanted = set(missing(static))
    registry, written = registry or os.environ.get("npm_config_registry") or REGISTRY, 0  # noqa: SIM112
    for package, files in FILES.items():
        places = {inner: place for inner, place in files.items() if place in wanted}
        if not places:
            continue
        say(f"{package}: {len(places)} file{'s' * (len(places) > 1)}")
        with tarfile.open(fileobj=io.BytesIO(_fetched(package, registry))) as archive:
            for inner, place in places.items():
                write_whole(static / place, archive.extractfile(f"package/{inner}").read())
                written += 1
    mark_built(static)
    return written
