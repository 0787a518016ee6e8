"""Expressions: what is read is what was written, and what cannot be read is refused in one line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.errors import BenchError
from benchmark.expression import (
    Chain,
    Mean,
    Models,
    StageSpec,
    chains_of,
    is_expression,
    leaves_of,
    model_of,
    parse_defense,
    parse_model,
    stages_of,
)

names = st.from_regex(r"[a-z][a-z0-9_.:\[\]=-]{0,8}", fullmatch=True)
classifiers = st.recursive(
    names | st.just("Standard@L2") | st.just("file:a/b c.safetensors@net"),
    lambda inner: st.builds(Models, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    max_leaves=4,
)
stages = st.builds(StageSpec, names, st.lists(classifiers, max_size=3).map(tuple))
chains = st.builds(Chain, st.lists(stages, min_size=1, max_size=3).map(tuple))
members = st.builds(Chain, st.lists(stages, min_size=1, max_size=3).map(tuple), classifiers)
victims = st.recursive(
    members,
    lambda inner: st.builds(Mean, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    max_leaves=4,
)


@given(victims | chains)
def test_an_expression_is_read_back_as_it_was_written(expression):
    assert parse_defense(str(expression)) == expression


@given(classifiers)
def test_a_classifier_is_read_back_as_it_was_written(model):
    assert parse_model(str(model)) == model


@given(st.text(alphabet="mean(),>+@& abc\n\t\0", max_size=60))
@settings(max_examples=300)
def test_any_text_is_read_or_refused_in_one_line(text):
    for parse in (parse_defense, parse_model):
        found = _outcome(parse, text)
        if isinstance(found, BenchError):
            assert "\n" not in str(found)
            assert "expected" in str(found)
        else:
            assert parse(str(found)) == found


def _outcome(parse, text):
    try:
        return parse(text)
    except BenchError as error:
        return error


def test_the_compositions_of_hgds_table_9_are_expressions():
    transferred = parse_defense("hgd@b>mean(a, b)")
    assert transferred == Chain((StageSpec("hgd", ("b",)),), Models(("a", "b")))
    both = parse_defense(" mean( hgd>a ,hgd@b>mean(b,c)) ")
    assert str(both) == "mean(hgd>a, hgd@b>mean(b, c))"
    assert str(model_of(both)) == "mean(a, mean(b, c))"
    assert leaves_of(model_of(both)) == ["a", "b", "c"]
    assert [str(stage) for stage in stages_of(both)] == ["hgd", "hgd@b"]
    assert [str(chain) for chain in chains_of(both)] == ["hgd>a", "hgd@b>mean(b, c)"]


def test_several_training_classifiers_are_joined_by_ampersands_in_order():
    (stage,) = parse_defense("advae@b&mean(a, c)&d").stages
    assert stage.trained == ("b", Models(("a", "c")), "d")


def test_a_name_alone_and_a_chain_fix_no_classifier():
    assert not is_expression("atop+jpeg")
    assert is_expression("atop>net")
    assert is_expression("mean (atop>a, jpeg>b)")
    assert model_of(parse_defense("atop@net+jpeg")) is None


def test_a_file_may_be_called_anything_outside_of_an_ensemble():
    assert parse_model("file:a(1),b+c.pt@net") == "file:a(1),b+c.pt@net"


@pytest.mark.parametrize(
    ("text", "expected", "at"),
    [
        ("", "a defense's name", 1),
        ("atop+", "a defense's name", 6),
        ("+atop", "a defense's name", 1),
        ("atop@", "a classifier's name", 6),
        ("atop@a&", "a classifier's name", 8),
        ("atop>", "a classifier's name", 6),
        ("atop>a>b", "+, > or the end", 7),
        ("mean(atop>a)", "another member", 12),
        ("mean(atop, jpeg)", "> and the classifier", 10),
        ("mean(atop>a, jpeg>b", "closing bracket", 20),
        ("mean(atop>a, jpeg>b))", "the end", 21),
        ("mean(atop>a, )", "a defense's name", 14),
        ("mean()", "a defense's name", 6),
        ("max(atop>a, jpeg>b)", "+, > or the end", 4),
        ("atop>max(a, b)", "+, > or the end", 9),
        ("mean(" * 5000, "at most 8", 41),
    ],
)
def test_what_cannot_be_read_says_what_was_expected_and_where(text, expected, at):
    with pytest.raises(BenchError) as refused:
        parse_defense(text)
    assert expected in str(refused.value)
    assert f"at character {at}," in str(refused.value)


@pytest.mark.parametrize("text", ["mean(a)", "mean(a,)", "mean(a, b", "mean(a, b) c", "mean(, a)"])
def test_an_ensemble_that_cannot_be_read_is_refused(text):
    with pytest.raises(BenchError, match="at character"):
        parse_model(text)
