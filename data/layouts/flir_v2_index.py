"""FLIR ADAS v2: which RGB video belongs to which thermal one, guessed from the index.json files."""

from __future__ import annotations

import re
from typing import Any

_DESCRIPTION = re.compile(r'\{\s*"RGB":\s*"([A-Za-z0-9]+)"\s*\}')


def _normal_name(filename: str) -> str:
    """1636345164_thermal.zip and 1636345164_visible.zip -> "1636345164"; camera numbers go too."""
    name = re.sub(r"\.(avi|zip|mp4)$", "", filename.lower()).replace("_", " ")
    name = re.sub(r"\bcam\s*\d+\b", " ", name)
    name = re.sub(r"\b(thermal|visible|rgb|ir)\b", " ", name)
    return " ".join(name.split())


def _videos(index: dict[str, Any]) -> list[dict[str, Any]]:
    videos = index.get("videos")
    return [video for video in videos if isinstance(video, dict)] if isinstance(videos, list) else []


def matching_videos(rgb: dict[str, Any], thermal: dict[str, Any]) -> tuple[dict[str, str], int, int]:
    """(thermal video id -> RGB video id, how many by description, how many by file name).

    The description of a thermal video may name its RGB video; otherwise equal file names match, camera
    aside. An RGB video is used once."""
    names = {_normal_name(str(video.get("filename") or "")): str(video.get("id")) for video in _videos(rgb)}
    names.pop("", None)
    found: dict[str, str] = {}
    for video in _videos(thermal):
        match = _DESCRIPTION.search(str(video.get("description") or ""))
        if match:
            found[str(video.get("id"))] = match[1]
    by_description = len(found)
    for video in _videos(thermal):
        partner = names.get(_normal_name(str(video.get("filename") or "")))
        if str(video.get("id")) not in found and partner and partner not in found.values():
            found[str(video.get("id"))] = partner
    return found, by_description, len(found) - by_description
