"""Names of a network's tensors beside a checkpoint's: wrappers fall away, and nothing else does."""

import pytest

from benchmark.classifiers.alignment import align

NET = (
    "conv.weight",
    "bn.weight",
    "bn.running_mean",
    "bn.num_batches_tracked",
    "layers.0.fc.weight",
    "layers.0.model.weight",
)


def wrapped(*prefixes, names=NET):
    return ["".join(prefixes) + name for name in names]


@pytest.mark.parametrize(
    "given",
    [
        wrapped(),
        wrapped("module."),
        wrapped("_orig_mod.", "module."),
        wrapped("module.", "_orig_mod."),
        wrapped("1."),
        wrapped("model.", "model."),
        wrapped("whatever.", "somebody.", "7.", "calls_it."),
        [name.replace("layers.", "layers.module.") for name in NET],
        [name.replace("layers.0.", "layers.0._orig_mod.") for name in wrapped("model.")],
        [*wrapped("module."), "n_averaged"],
        [*NET, "total_ops", "layers.0.total_params"],
        [name for name in NET if "tracked" not in name],
    ],
)
@pytest.mark.parametrize("inside", ["", "network.", "1.net.", "module."])
def test_every_name_of_the_network_finds_its_own(given, inside):
    found = align(wrapped(inside), given)
    assert found.is_whole
    for name, theirs in found.names.items():
        plain = [part for part in theirs.split(".") if part not in ("_orig_mod", "module")]
        assert plain[-len(name.removeprefix(inside).split(".")) :] == name.removeprefix(
            inside
        ).split(".")
    assert len(set(found.names.values())) == len(found.names)


@pytest.mark.parametrize(
    ("given", "missing", "surplus"),
    [
        (NET[1:], ["conv.weight"], []),
        ([*NET, "head.weight"], [], ["head.weight"]),
        ([*wrapped("1."), "0.mean", "0.std"], [], ["0.mean", "0.std"]),
        ([*wrapped("model."), "criterion.weight"], [], ["criterion.weight"]),
        ([*NET[1:], "other.weight"], ["conv.weight"], ["other.weight"]),
        ([], [name for name in NET if "tracked" not in name], []),
        (["x.weight"], [name for name in NET if "tracked" not in name], ["x.weight"]),
    ],
)
def test_what_is_missing_and_what_is_left_over_is_said(given, missing, surplus):
    found = align(NET, given)
    assert list(found.missing) == sorted(missing)
    assert list(found.surplus) == sorted(surplus)
    assert found.is_whole == (not missing and not surplus)


def test_of_two_parts_that_fit_none_is_chosen_in_silence():
    found = align(NET, [*wrapped("student."), *wrapped("teacher.")])
    assert not found.is_whole
    assert {found.under, *found.rivals} == {"student.", "teacher."}
    assert len(found.surplus) == len(NET) - 1  # but for the counter


def test_parts_that_reduce_to_one_name_are_both_left_over():
    assert align(["fc.weight"], ["a.x.fc.weight", "b.y.fc.weight"]).surplus


def test_thousands_of_names_are_matched_at_once():
    names = [f"layers.{i}.{j}.conv.weight" for i in range(100) for j in range(100)]
    assert align(names, [f"module.{name}" for name in names]).is_whole
