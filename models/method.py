"""What train.py's loop asks of a method, and the answers that most methods share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import nn


class Method(nn.Module, ABC):
    """Who is trained and what is saved. A method adds Options, trained, score_kind, loss_groups, network, updates and
    preview."""

    needs_mask = False
    """Whether its batches hold salient-target masks."""

    @abstractmethod
    def players(self) -> dict[str, nn.Module]:
        """Name the networks that are trained; each has one optimizer."""

    def saved(self) -> dict[str, Any]:
        """All that training changes; each has state_dict and load_state_dict."""
        return self.players()

    def networks(self) -> list[nn.Module]:
        """List what --compile compiles."""
        return list(self.players().values())

    def remarks(self) -> list[str]:
        """What a user should know before the run begins."""
        return []
