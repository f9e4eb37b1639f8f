"""What fuse.py recorded beside fused images, and whether they are scored beside the sources they were made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.images import Source
from data.inputs import Job
from util.json_file import read_json
from util.text import plural


def record_of(folder: Path) -> dict[str, Any]:
    """The content of results.json in a folder of fused images or beside it; {} where there is none."""
    for path in (folder / "results.json", folder.parent / "results.json"):
        try:
            return read_json(path)
        except ValueError:
            continue
    return {}


def range_policy(record: Mapping[str, Any]) -> str:
    """How the fused images were brought to 0..255; where that is not recorded only that they were."""
    policy = record.get("range")
    return f"{policy}, saved as 8 bit" if isinstance(policy, str) else "as saved, 8 bit"


def note_sources(record: Mapping[str, Any], fused: Sequence[tuple[Job, Source]], of_data_set: bool) -> list[str]:
    """Lines about fused images that were made of other files than those of their jobs, by their names: folders may
    have moved. of_data_set: whether the jobs are a data set's, whose infrared nobody generated."""
    recorded = record.get("images")
    recorded = recorded if isinstance(recorded, Mapping) else {}
    made, others = 0, []
    for job, source in fused:
        had = recorded.get(source.stem)
        if not isinstance(had, Mapping):
            continue
        generated = had.get("infrared") == "generated"
        made += generated and of_data_set
        sides = {"visible": job.visible} if generated else {"visible": job.visible, "infrared": job.real}
        for side, here in sides.items():
            name = Path(str(had.get(side, here.path))).name
            if name != here.path.name:
                others.append(f"{name}, here {here.path.name}")
                break
    lines = []
    if made:
        lines.append(f"{_were(made)} fused with generated infrared, and scored here beside real infrared")
    if others:
        lines.append(
            f"{_were(len(others))} fused of other files than those here ({others[0]}): give the options that they were "
            "fused with, such as --split or --thermal_source"
        )
    return lines


def _were(count: int) -> str:
    return f"{plural(count, 'image')} {'was' if count == 1 else 'were'}"
