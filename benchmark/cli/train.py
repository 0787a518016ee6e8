"""`bench train`: fits a defense to a classifier, or trains one of this project's classifiers."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from benchmark.cli.options import (
    MOST_PROCESSES,
    arguments_option,
    device_option,
    file_option,
    model_option,
    number_option,
    request_options,
    task_options,
)
from benchmark.cli.progress import RunProgress
from benchmark.cli.types import Word
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.names import refuse_models, refuse_training
from benchmark.evaluation.prepare.request import Request, parse_arguments
from benchmark.expression import names_in

if TYPE_CHECKING:
    from benchmark.training.fit import TrainedWeights

EPILOG = """\b
Examples:
  bench train --defense atop
  bench train --defense atop --dataset mnist --recipe-arg steps=2000
  bench train --defense advae --model mnist-x --model mnist-a     for both; run as 'advae@mnist-x&mnist-a'
  bench train --classifier digits-cnn --adversarial --out digits-cnn-at.safetensors
"""


@click.command("train", epilog=EPILOG)
@click.option("--defense", metavar="NAME", help="The defense to train (bench list defenses).")
@arguments_option("--defense-arg", "An argument of the defense.")
@arguments_option("--recipe-arg", "An argument of its recipe, such as steps=2000.")
@click.option(
    "--classifier", metavar="NAME", help="Train this classifier instead (bench list models)."
)
@click.option(
    "--adversarial", is_flag=True, help="Train the classifier on PGD images of the threat."
)
@model_option(multiple=True)
@task_options
@device_option
@click.option(
    "--precision",
    type=Word(["float32", "mixed"]),
    default="float32",
    show_default=True,
    help="mixed: steps compute in bfloat16 where that is safe; weights stay float32.",
)
@file_option(
    "--out",
    "The weights file (safetensors). Default for a defense, and for a classifier whose weights do not "
    "ship: where bench run finds it.",
)
@click.option(
    "--half", "is_half", is_flag=True, help="Store the weights as float16, in half the bytes."
)
@number_option(
    "--images", "Train on the first N images of the dataset's class-balanced order. Default: all."
)
@click.option(
    "--restart",
    is_flag=True,
    help="Discard the checkpoint of an interrupted training and begin anew. Default: resume it.",
)
@number_option(
    "--threads",
    "Threads on the CPU; the same weights, bit for bit, come only from the same number. "
    "Default: torch's own.",
    MOST_PROCESSES,
)
def train_command(**options: Any) -> int:
    """Train a defense for a classifier on a dataset, or a classifier.

    With --model given again, the first classifier is the defended one, and the others are trained for too,
    where the defense's recipe can.

    Seeded and resumable: after an interruption, even by kill -9, the same command resumes from the last
    checkpoint (one every 30 seconds) and ends with the same weights as an uninterrupted run. With other
    arguments it refuses to; --restart discards the checkpoint. A training record (curves, time, memory,
    command) is written beside the weights.
    """
    if bool(options["defense"]) == bool(options["classifier"]):
        raise BenchError("name either --defense or --classifier to train")
    if options["classifier"] and (options["models"] or options["defense_args"]):
        raise BenchError(
            "--model and --defense-arg go with --defense; leave them out with --classifier"
        )
    if options["defense"] and options["adversarial"]:
        raise BenchError("--adversarial goes with --classifier; leave it out with --defense")
    request, recipe_args = _named(options)
    from benchmark.training.fit import Fit, fit_classifier, fit_defense

    fit = Fit(
        request=request,
        companions=options["models"][1:],
        recipe_args=recipe_args,
        command=shlex.join(["bench", *sys.argv[1:]]),
        **{name: options[name] for name in ("out", "is_half", "images", "threads", "restart")},
    )
    use = ""
    with RunProgress(f"train {options['defense'] or options['classifier']}") as progress:
        if options["classifier"]:
            path = fit_classifier(
                options["classifier"],
                fit,
                is_adversarial=options["adversarial"],
                report=progress.training,
            )
        else:
            fitted = fit_defense(fit, progress.training)
            path, use = fitted.path, f"Use it: {_use(options, fitted)}"
    click.echo(f"Written: {path} and {path.with_suffix('.json')}")
    if use:
        click.echo(use, err=True)
    return 0


def _named(options: Mapping[str, Any]) -> tuple[Request, dict[str, Any]]:
    """What is to be trained, and the arguments of its recipe; a name that nobody has is refused."""
    request = Request(
        defense=options["defense"] or "none",
        defense_args=parse_arguments(options["defense_args"]),
        model=next(iter(options["models"]), None),
        **request_options(options),
    )
    recipe_args = parse_arguments(options["recipe_args"])
    refuse_training(request, recipe_args, options["classifier"])
    leaves = [leaf for model in options["models"] for leaf in names_in(model)]
    refuse_models(leaves, options["dataset"])
    return request, recipe_args


def _use(options: Mapping[str, Any], fitted: TrainedWeights) -> str:
    """The command that evaluates what was trained; it names the weights only where it has to."""
    models = options["models"]
    several = f"@{'&'.join(models)}" if len(models) > 1 else ""
    words = ["bench", "run", "--defense", f"{options['defense']}{several}"]
    for argument in options["defense_args"]:
        words += ["--defense-arg", argument]
    words += [] if fitted.is_found else ["--weights", str(fitted.path)]
    words += ["--model", models[0]] if models else []
    for name in ("dataset", "threat", "data"):
        words += [f"--{name}", str(options[name])] if options[name] else []
    return shlex.join(words)
