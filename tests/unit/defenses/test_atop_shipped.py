"""The weights that ship with AToP are those of its first results."""

from benchmark.files.known_hashes import file_sha256
from defenses.atop.recipe import AToPRecipe
from tests.helpers.shipped_weights import record, setting, shipped

ATOP = "a599b3c45fadc9819240d413e910296c5d34527d0f62e71742d1a82bad6b500a"


def test_atops_weights_are_those_of_its_first_results():
    assert file_sha256(shipped("atop")) == ATOP


def test_the_plan_of_atops_digits_is_the_one_its_weights_were_made_by():
    said = record("atop")
    recipe = AToPRecipe()
    length = recipe.length(setting("atop"), 1297)
    assert (length.steps, length.batch_size) == (said["steps"], said["batch_size"])
    recipe.build(setting("atop"), {"fgsm": lambda _m, x, _y, _d: x})
    assert recipe._pretraining == said["arguments"]["pretraining"]
    assert recipe._rate == said["arguments"]["learning_rate"]
    assert recipe._gan == said["arguments"]["gan"]
