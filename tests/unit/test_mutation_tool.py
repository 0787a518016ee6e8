"""The mutation tool: what it changes, how mutants are known, and the list of those that change nothing."""

from tests.mutation import subjects
from tests.mutation.__main__ import equivalent
from tests.mutation.operators import mutants_of

SOURCE = '''
"""Of 1 and 2."""
LEAST = 2

def far(a: int = 0) -> int:
    """Whether it is above 1."""
    if a < LEAST and not a:
        raise ValueError("more than 1")
    return abs(a - 1)
'''
CHANGES = {
    "LEAST = 2  =>  LEAST = 3",
    "def far(a: int=0) -> int:  =>  def far(a: int=1) -> int:",
    "if a < LEAST and (not a):  =>  if a <= LEAST and (not a):",
    "if a < LEAST and (not a):  =>  if a >= LEAST and (not a):",
    "if a < LEAST and (not a):  =>  if a < LEAST or not a:",
    "if a < LEAST and (not a):  =>  if a < LEAST and a:",
    "return abs(a - 1)  =>  return a - 1",
    "return abs(a - 1)  =>  return abs(a + 1)",
    "return abs(a - 1)  =>  return abs(a - 0)",
    "return abs(a - 1)  =>  return abs(a - 2)",
}


def test_comparisons_operators_constants_and_conditions_are_changed_and_no_text():
    assert {mutant.change for mutant in mutants_of("far", SOURCE)} == CHANGES


def test_a_mutant_keeps_its_name_where_lines_are_shifted():
    shifted = "import math\n\n" + SOURCE.replace("    if a", "    str(a)\n    if a")
    names = {mutant.key for mutant in mutants_of("far", SOURCE)}
    assert names == {mutant.key for mutant in mutants_of("far", shifted)}


def test_a_default_takes_effect_at_import_and_a_body_when_it_is_called():
    inside = {mutant.change: mutant.is_inside for mutant in mutants_of("far", SOURCE)}
    assert not inside["LEAST = 2  =>  LEAST = 3"]
    assert not inside["def far(a: int=0) -> int:  =>  def far(a: int=1) -> int:"]
    assert inside["return abs(a - 1)  =>  return a - 1"]


def test_each_mutant_on_the_list_of_equivalent_ones_is_still_one_and_has_a_reason():
    texts = subjects.sources()
    listed = equivalent()
    modules = {where.partition(":")[0] for where, _ in listed}
    made = {mutant.key for module in modules for mutant in mutants_of(module, texts[module])}
    assert not set(listed) - made
    assert all(len(reason) > 10 for reason in listed.values())


def test_each_mutated_module_has_tests():
    for module in subjects.sources():
        assert subjects.tests_of(module) or module.endswith("__init__"), module
