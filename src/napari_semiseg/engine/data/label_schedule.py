"""Which version of which label a training draws from, and since which step."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


@dataclass(frozen=True, slots=True)
class LabelVersion:
    """What a training draws from a case.

    Attributes
    ----------
    sha256 : str
        Of its label file; empty where it has no label.
    whole : bool
        Every voxel is annotated, so that nothing of it is unlabelled data.
    proposed : bool
        Its mask is no label but a proposal of another program.
    """

    sha256: str
    whole: bool
    proposed: bool = False

    @property
    def label(self) -> str:
        """SHA-256 of what a person has labelled; empty where nobody has."""
        return "" if self.proposed else self.sha256


@dataclass(frozen=True, slots=True)
class LabelUpdate:
    """What changed before a step; None for a case that is out.

    ``new_labels`` are the labels that are sampled more often for a while.
    """

    step: int
    versions: dict[str, LabelVersion | None]
    new_labels: tuple[str, ...]


class Schedule:
    """All updates of a run, by step; with the seed they determine every batch."""

    def __init__(self, updates: Iterable[LabelUpdate] = ()) -> None:
        self.updates = list(updates)

    @property
    def since(self) -> int:
        """Step from which the present versions are in force."""
        return self.updates[-1].step if self.updates else 0

    @property
    def versions(self) -> dict[str, LabelVersion]:
        """Versions in force now, by case id."""
        found: dict[str, LabelVersion | None] = {}
        for update in self.updates:
            found.update(update.versions)
        return {name: known for name, known in found.items() if known is not None}

    @property
    def new_since(self) -> dict[str, int]:
        """Step at which a label that is still in force came in as a new one."""
        found: dict[str, int] = {}
        for update in self.updates:
            for name in update.versions:
                found.pop(name, None)
            found.update(dict.fromkeys(update.new_labels, update.step))
        return found

    def update(
        self,
        step: int,
        versions: Mapping[str, LabelVersion],
        new: Collection[str] | None = None,
    ) -> LabelUpdate | None:
        """Note the versions from ``step`` on; None when they are what they were.

        Sampled more often is every new or changed label, or only those in ``new``.
        """
        before = self.versions
        changed: dict[str, LabelVersion | None] = {
            name: versions.get(name)
            for name in sorted(before.keys() | versions.keys())
            if before.get(name) != versions.get(name)
        }
        if not changed:
            return None
        labels = self.new_labels(versions)
        chosen = labels if new is None else [name for name in labels if name in new]
        made = LabelUpdate(step, changed, tuple(chosen))
        self.updates.append(made)
        return made

    def new_labels(self, versions: Mapping[str, LabelVersion]) -> list[str]:
        """List cases whose label in these versions is not in force, sorted."""
        before = self.versions
        return sorted(
            name
            for name, found in versions.items()
            if found.label and (name not in before or before[name].label != found.label)
        )

    def lost_labels(self, versions: Mapping[str, LabelVersion]) -> list[str]:
        """List cases whose label is in force and gone in these versions, sorted."""
        return sorted(
            name
            for name, known in self.versions.items()
            if known.label and (name not in versions or not versions[name].label)
        )

    def state(self) -> list[dict[str, Any]]:
        """Give plain values for a checkpoint."""
        return [
            {
                "step": update.step,
                "roles": {
                    name: None if known is None else [*astuple(known)]
                    for name, known in update.versions.items()
                },
                "fresh": list(update.new_labels),
            }
            for update in self.updates
        ]

    @classmethod
    def from_state(cls, state: Iterable[Mapping[str, Any]]) -> Self:
        """Restore what `state` gave."""
        return cls(
            LabelUpdate(
                int(item["step"]),
                {
                    name: None if known is None else LabelVersion(*known)
                    for name, known in item["roles"].items()
                },
                tuple(item["fresh"]),
            )
            for item in state
        )
