"""What weights were trained for: read from where it stands, and held against what they are used for."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.errors import BenchError
from benchmark.files.known_hashes import file_sha256
from benchmark.files.weights import save_safetensors
from benchmark.records.provenance import (
    KEY,
    Behind,
    IntendedUse,
    TrainedFor,
    provenance_of,
    stated,
)

NET, OTHER = ("net", "aa"), ("other", "bb")
SAID = TrainedFor(
    defense="wash[small]",
    classifiers=(Behind(name="net", sha256="aa"),),
    dataset="digits",
    shape=(1, 8, 8),
    threat="linf:0.15",
    recipe="wash:Recipe",
    arguments={"steps": 3, "kind": "soft", "list": [1, 2]},
    seed=0,
)
USE = IntendedUse(
    name="wash",
    label="wash[small]",
    classifier=NET,
    trained=(),
    dataset="digits",
    is_known=True,
    shape=(1, 8, 8),
    arguments={"kind": "soft", "list": (1, 2), "more": 1},
    behind="",
)


def weights(folder, said=SAID):
    path = folder / "wash.safetensors"
    metadata = None if said is None else {KEY: said.model_dump_json()}
    save_safetensors({"w": torch.ones(2)}, path, metadata)
    return path


def old_record(path, **changes):
    """A training record as it was written before weights stated anything."""
    record = {
        "seed": 4,
        "recipe": "wash:Recipe",
        "arguments": {"kind": "soft"},
        "setting": {
            "dataset": "digits",
            "shape": [1, 8, 8],
            "threat": "linf:0.15",
            "classifier": "net",
            "classifier_sha256": "aa",
        },
        "weights_sha256": file_sha256(path),
    }
    path.with_suffix(".json").write_text(json.dumps(record | changes))


@pytest.mark.parametrize(
    ("defaults", "unlike"),
    [
        ({}, {}),
        ({"steps": 3, "kind": "hard", "list": (3,)}, {}),  # the last two are the defense's own
        ({"steps": 9}, {"steps": 3}),
        ({"steps": None}, {"steps": 3}),
    ],
)
def test_arguments_of_a_training_that_are_not_its_recipes_are_stated(tmp_path, defaults, unlike):
    found = provenance_of(weights(tmp_path), replace(USE, defaults=lambda: defaults))
    assert found.unlike_recipe == unlike
    assert found.is_as_meant == (not unlike)
    assert found.differs == ()


def test_a_length_is_the_recipes_own_even_where_the_defense_has_one_of_its_name(tmp_path):
    use = replace(USE, arguments={"steps": 10, "kind": "soft"}, defaults=lambda: {"steps": None})
    found = provenance_of(weights(tmp_path), use)
    assert found.unlike_recipe == {"steps": 3}
    assert found.differs == ()


def test_fewer_training_images_are_stated(tmp_path):
    said = SAID.model_copy(update={"images": 500})
    found = provenance_of(weights(tmp_path, said), USE)
    assert found.unlike_recipe == {"--images": 500}
    assert not found.is_as_meant


def test_members_that_it_was_trained_for_are_no_other_arguments(tmp_path):
    both = (*SAID.classifiers, Behind(name="other", sha256="bb"))
    arguments = {"companions": ["other"], "steps": 3}
    said = SAID.model_copy(update={"classifiers": both, "arguments": arguments})
    defaults = {"companions": (), "steps": 3}
    use = replace(USE, trained=("net", "other"), defaults=lambda: defaults)
    assert provenance_of(weights(tmp_path, said), use).unlike_recipe == {}


def test_what_fits_is_stated_and_differs_in_nothing(tmp_path):
    found = provenance_of(weights(tmp_path), USE)
    assert (found.stated_by, found.trained_for, found.differs) == ("weights", SAID, ())


def test_a_record_beside_speaks_for_weights_that_do_not(tmp_path):
    path = weights(tmp_path, None)
    old_record(path)
    found = provenance_of(path, USE)
    assert found.stated_by == "record"
    assert found.trained_for.names == ("net",)
    assert found.trained_for.seed == 4
    with pytest.raises(BenchError, match="wash@net"):
        provenance_of(path, replace(USE, classifier=OTHER))


def test_the_weights_come_before_the_record(tmp_path):
    path = weights(tmp_path)
    old_record(path, seed=9)
    assert stated(path) == ("weights", SAID)


def test_a_record_with_a_statement_gives_that(tmp_path):
    path = weights(tmp_path, None)
    old_record(path, **{KEY: SAID.model_dump(mode="json")})
    assert stated(path) == ("record", SAID)


def test_a_record_of_other_weights_says_nothing(tmp_path):
    path = weights(tmp_path, None)
    old_record(path, weights_sha256="00")
    found = provenance_of(path, replace(USE, classifier=OTHER, behind="atop"))
    assert (found.stated_by, found.trained_for, found.differs) == ("nothing", None, ())


def test_what_nobody_stated_is_believed_and_marked(tmp_path):
    found = provenance_of(weights(tmp_path, None), replace(USE, trained=("other",)))
    assert (found.stated_by, found.differs) == ("nothing", ("classifier",))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"label": "dry"}, "the defense 'wash\\[small\\]', not for 'dry'"),
        ({"dataset": "mnist"}, "the dataset 'digits', not for 'mnist'"),
        ({"shape": (1, 28, 28)}, "images of shape 1 x 8 x 8, not for 1 x 28 x 28"),
        ({"classifier": OTHER}, "the classifier net, not for other; .*'wash@net'"),
        (
            {"classifier": ("net", "cc")},
            "another net \\(sha256 aa.* than this one \\(cc.*'wash@net'",
        ),
        ({"trained": ("other",)}, "trained for net, not for other; write --defense 'wash@net'"),
    ],
)
def test_another_use_is_refused_in_one_line(tmp_path, change, reason):
    with pytest.raises(BenchError, match=reason) as refused:
        provenance_of(weights(tmp_path), replace(USE, **change))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"classifier": OTHER, "trained": ("net",)}, ("classifier",)),
        ({"classifier": ("net", "cc"), "trained": ("net",)}, ("classifier",)),
        ({"trained": ("net",)}, ()),
        ({"behind": "atop"}, ("alone",)),
        ({"dataset": "given", "is_known": False}, ("dataset",)),
        ({"arguments": {"kind": "hard"}}, ("arguments",)),
        ({"arguments": {"steps": 100}}, ()),
    ],
)
def test_a_use_that_the_user_named_is_allowed_and_marked(tmp_path, change, differs):
    assert provenance_of(weights(tmp_path), replace(USE, **change)).differs == differs


def test_several_classifiers_are_named_all_and_in_order(tmp_path):
    both = (*SAID.classifiers, Behind(name="other", sha256="bb"))
    path = weights(tmp_path, SAID.model_copy(update={"classifiers": both}))
    with pytest.raises(BenchError, match="write --defense 'wash@net&other'"):
        provenance_of(path, USE)
    assert provenance_of(path, replace(USE, trained=("net", "other"))).differs == ()
    third = replace(USE, trained=("net", "other"), classifier=("third", "cc"))
    assert provenance_of(path, third).differs == ("classifier",)


def test_what_was_trained_behind_another_is_told_from_what_was_trained_alone(tmp_path):
    path = weights(tmp_path, SAID.model_copy(update={"behind": "atop"}))
    assert provenance_of(path, USE).differs == ("behind",)
    assert provenance_of(path, replace(USE, behind="atop")).differs == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"schema_version": 2}',
        '{"schema_version": 1, "seed": NaN}',
        '{"arguments": {"a": 1e999}}',
        '{"more": 1}',
        '{"classifiers": [{"name": "net"}]}',
        "[" * 50_000,
        json.dumps({"recipe": "a" * 200_000}),
    ],
    ids=range(11),
)
def test_a_damaged_statement_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "wash.safetensors"
    save_safetensors({"w": torch.ones(1)}, path, {KEY: text})
    with pytest.raises(BenchError, match="cannot be read") as refused:
        stated(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"weights_sha256": 1}', "[" * 50_000])
def test_a_damaged_record_says_nothing(tmp_path, record):
    path = weights(tmp_path, None)
    path.with_suffix(".json").write_text(record)
    assert stated(path) == ("nothing", None)


def test_a_record_without_a_setting_is_refused(tmp_path):
    path = weights(tmp_path, None)
    old_record(path, setting=None)
    with pytest.raises(BenchError, match="no training record"):
        stated(path)


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_bytes_that_are_no_weights_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("damaged") / "wash.safetensors"
    path.write_bytes(content)
    with pytest.raises(BenchError, match="no whole safetensors file"):
        stated(path)


def test_the_shipped_weights_say_what_they_were_trained_for():
    from benchmark.files.weights import find_weights
    from benchmark.plugins import DEFENSES

    found = find_weights(
        DEFENSES.get("atop"), label="atop[digits]", classifier="digits-cnn", dataset="digits"
    )
    by, said = stated(found)
    assert by in ("weights", "record")
    assert (said.names, said.dataset, said.shape) == (("digits-cnn",), "digits", (1, 8, 8))
