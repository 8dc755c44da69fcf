from __future__ import annotations

import pytest

from napari_semiseg.errors import ConfigError
from napari_semiseg.experiments.benchmark.spec import Budget, MethodVariant


def test_a_seed_is_complete_before_the_next_begins(make_bench) -> None:
    budgets = ("2 min", "10 min")
    bench = make_bench(budgets=budgets, seeds=(0, 1))
    trials = bench.benchmark.trials()
    assert [trial.seed for trial in trials] == [0] * 4 + [1] * 4
    assert [trial.run_id for trial in trials[:4]] == [
        "supervised_2min_seed0",
        "ug_mcl_2min_seed0",
        "supervised_10min_seed0",
        "ug_mcl_10min_seed0",
    ]
    assert trials[3].text == "ug_mcl, two, 10 min, seed 0"


def test_labelled_cases_are_learned_from_once(make_bench) -> None:
    benchmark = make_bench().benchmark
    assert benchmark.training_cases("two") == ["case_0", "case_1", "case_2", "case_3"]


@pytest.mark.parametrize(
    "changes",
    [
        {"unlabelled": ("case_3", "case_5", "case_6")},
        {"labelled": {"one": ("case_0",), "two": ("case_5",)}},
    ],
)
def test_a_test_case_is_never_learned_from(make_bench, changes) -> None:
    with pytest.raises(ConfigError, match=r"no test case among .*case_5"):
        make_bench(**changes)


def test_a_variant_of_a_method_has_parameters_of_its_own(make_bench) -> None:
    variant = MethodVariant.parse("ug_mcl:passes=4:ramp=0.5")
    assert variant.params == (("passes", "4"), ("ramp", "0.5"))
    bench = make_bench("ug_mcl,ug_mcl:passes=4", settings={"width": "8"})
    plain, other = bench.benchmark.trials()
    assert other.run_id == "ug_mcl-passes-4_3steps_seed0"
    config = bench.benchmark.config(other)
    assert (config.method, config.params, config.width) == ("ug_mcl", {"passes": 4}, 8)
    assert bench.benchmark.config(plain).params == {}
    for text in ("ug_mcl:passes", ":a=1", "ug_mcl:=3"):
        with pytest.raises(ConfigError, match="expected"):
            MethodVariant.parse(text)


def test_names_that_become_one_folder_are_refused(make_bench) -> None:
    with pytest.raises(ConfigError, match="twice"):
        make_bench("ug_mcl:passes=4,ug_mcl-passes-4")


@pytest.mark.parametrize(
    ("methods", "settings", "instead"),
    [
        ("ug_mcl:seed=3", {}, "no 'seed' .* use --seeds"),
        ("supervised,ug_mcl:minutes=3", {}, "use --minutes"),
        ("ug_mcl", {"width": "4", "seed": "5"}, "use --seeds"),
        ("ug_mcl", {"method": "dtml"}, "use --methods"),
        ("ug_mcl", {"steps": "9"}, "use --steps"),
        ("ug_mcl", {"device": "cpu"}, "use --device"),
        ("ug_mcl", {"params": "{}"}, "the name of the parameter"),
        ("ug_mcl", {"start_from": "old"}, "use semiseg train"),
    ],
)
def test_what_the_comparison_decides_is_no_setting(
    make_bench, methods, settings, instead
) -> None:
    with pytest.raises(ConfigError, match=instead):
        make_bench(methods, settings=settings)


@pytest.mark.parametrize("budget", [Budget(minutes=2.5), Budget(steps=300)])
def test_a_budget_is_read_as_it_was_written(budget) -> None:
    assert Budget.parse(budget.text) == budget
