"""Which version of which label a training draws from, and since which step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Role:
    """What a case gives to a training.

    Attributes
    ----------
    version : str
        SHA-256 of its label file; empty where it has no label.
    whole : bool
        Every voxel is annotated, so that nothing of it is unlabelled data.
    """

    version: str
    whole: bool


@dataclass(frozen=True, slots=True)
class Take:
    """What changed before a step: new roles, None for a case that is out.

    ``fresh`` are the labels among them that are sampled more often for a while.
    """

    step: int
    roles: dict[str, Role | None]
    fresh: tuple[str, ...]


class Schedule:
    """All takes of a run; with seed and step it determines every batch.

    Parameters
    ----------
    takes : iterable of Take
        By step.
    """

    def __init__(self, takes: Iterable[Take] = ()) -> None:
        self.takes = list(takes)

    @property
    def since(self) -> int:
        """Step from which the present roles are in force."""
        return self.takes[-1].step if self.takes else 0

    @property
    def roles(self) -> dict[str, Role]:
        """Roles in force now, by case id."""
        found: dict[str, Role | None] = {}
        for take in self.takes:
            found.update(take.roles)
        return {name: role for name, role in found.items() if role is not None}

    @property
    def fresh(self) -> dict[str, int]:
        """Step at which a label that is still in force came in as a fresh one."""
        found: dict[str, int] = {}
        for take in self.takes:
            for name in take.roles:
                found.pop(name, None)
            found.update(dict.fromkeys(take.fresh, take.step))
        return found

    def take(
        self, step: int, roles: Mapping[str, Role], fresh: Collection[str] | None = None
    ) -> Take | None:
        """Note the roles from ``step`` on; None when they are what they were.

        ``fresh`` is every new or changed label by default.
        """
        before = self.roles
        changed: dict[str, Role | None] = {
            name: roles.get(name)
            for name in sorted(before.keys() | roles.keys())
            if before.get(name) != roles.get(name)
        }
        if not changed:
            return None
        labels = self.new_labels(roles)
        fresh = labels if fresh is None else [name for name in labels if name in fresh]
        made = Take(step, changed, tuple(fresh))
        self.takes.append(made)
        return made

    def new_labels(self, roles: Mapping[str, Role]) -> list[str]:
        """Cases of which these roles have a label that is not in force, sorted."""
        before = self.roles
        return sorted(
            name
            for name, role in roles.items()
            if role.version
            and (name not in before or before[name].version != role.version)
        )

    def lost_labels(self, roles: Mapping[str, Role]) -> list[str]:
        """Cases of which a label is in force, and these roles have none, sorted."""
        return sorted(
            name
            for name, role in self.roles.items()
            if role.version and (name not in roles or not roles[name].version)
        )

    def state(self) -> list[dict[str, Any]]:
        """Plain values for a checkpoint."""
        return [
            {
                "step": take.step,
                "roles": {
                    name: None if role is None else [role.version, role.whole]
                    for name, role in take.roles.items()
                },
                "fresh": list(take.fresh),
            }
            for take in self.takes
        ]

    @classmethod
    def from_state(cls, state: Iterable[Mapping[str, Any]]) -> Self:
        """Inverse of `state`."""
        return cls(
            Take(
                int(item["step"]),
                {
                    name: None if role is None else Role(*role)
                    for name, role in item["roles"].items()
                },
                tuple(item["fresh"]),
            )
            for item in state
        )
