from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from fake_workers import WorkersHere
from napari_semiseg.core.events import (
    Finished,
    Planned,
    Predicted,
    Staged,
    Started,
    Stepped,
    Validated,
    Warned,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Answer:
    """What a verb said, and the code it ended with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        return json.loads(self.out)

    @property
    def refusal(self) -> str:
        """The one line on stderr of a verb that refused."""
        assert self.code == 1, (self.code, self.out, self.err)
        assert self.out == ""
        assert self.err.count("\n") == 1, self.err
        assert "Traceback" not in self.err
        return self.err


@pytest.fixture
def semiseg(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Answer]:
    """Run the command line in this process."""
    from napari_semiseg.cli import main

    monkeypatch.setenv("COLUMNS", "140")

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["semiseg", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main()
        code = ending.value.code
        said = capsys.readouterr()
        return Answer(int(code or 0), said.out, said.err)

    return run


@pytest.fixture
def workers_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials without processes of their own, which would load PyTorch each."""
    executor = "napari_semiseg.execution.local.LocalExecutor"
    monkeypatch.setattr(executor, lambda low_priority: WorkersHere())


class FakeEngine(ModuleType):
    """An engine of three steps; ``during`` is called at every step."""

    def __init__(self, predict_ball: Callable[..., Any]) -> None:
        super().__init__("napari_semiseg.engine")
        self._predict = predict_ball
        self.during: Callable[[], None] = lambda: None
        self.error: Exception | None = None
        self.configs: list[Any] = []

    def train(self, project: Any, config: Any, *, run: Any) -> Iterator[Any]:
        self.configs.append(config)
        if self.error is not None:
            raise self.error
        yield from self._session(run, 0, 3)

    def resume(
        self, project: Any, run: Any, *, steps: Any = None, minutes: Any = None
    ) -> Iterator[Any]:
        yield from self._session(run, run.steps_done, steps or 6)

    def join(self) -> Any:
        return SimpleNamespace(
            is_first=True, alone=True, size=1, shared=lambda value: value
        )

    def check_batches(self, config: Any, devices: int, plan: Any = None) -> None:
        pass

    def predict_cases(
        self,
        project: Any,
        run: Any,
        cases: Any,
        *,
        worker: Any = None,
        maps: Any = True,
        precision: Any = None,
    ) -> Iterator[Any]:
        for done, case in enumerate(cases, start=1):
            made = self._predict(run, case)
            run.write_prediction(made, case.image, maps=maps)
            yield Predicted(case=case.id, uncertainty=0.3, done=done, total=len(cases))

    def methods(self) -> list[Any]:
        return []

    def _session(self, run: Any, step: int, steps: int) -> Iterator[Any]:
        def log(event: Any) -> Any:
            run.append(event)
            return event

        yield log(Started(run=run.id, method="ug_mcl", pid=os.getpid(), step=step))
        yield log(Staged(stage="Preparing labelled cases", done=1, total=1))
        yield log(Warned(message="one image is dark"))
        yield log(
            Planned(device="cpu", steps=steps, seconds_per_step=0.1, parameters=10)
        )
        while step < steps and not run.stop_requested:
            step += 1
            yield log(
                Stepped(
                    step=step,
                    steps=steps,
                    losses={"supervised": 0.5},
                    learning_rate=0.1,
                    seconds=step,
                    seconds_left=1.0,
                )
            )
            self.during()
        run.folder.checkpoints.mkdir(exist_ok=True)
        run.folder.last.touch()
        yield log(Validated(step=step, dice={"left atrium": 0.75}))
        reason = "completed" if step >= steps else "cancelled"
        yield log(Finished(run=run.id, reason=reason, step=step, seconds=float(step)))


@pytest.fixture
def engine(
    monkeypatch: pytest.MonkeyPatch, predict_ball: Callable[..., Any]
) -> FakeEngine:
    """An engine without PyTorch in the place of the real one."""
    import napari_semiseg

    fake = FakeEngine(predict_ball)
    monkeypatch.setitem(sys.modules, "napari_semiseg.engine", fake)
    monkeypatch.setattr(napari_semiseg, "engine", fake, raising=False)
    return fake
