"""What each flag means where it is raised, and what to do next."""

from __future__ import annotations

EXPLANATIONS = {
    "transfer-beats-white-box": "images made on other classifiers do more harm than the adaptive attacks",
    "oblivious-beats-adaptive": "images made on the bare classifier do more harm than the adaptive attacks",
    "autoattack-beats-adaptive": "AutoAttack's images do more harm than the adaptive attacks",
    "one-step": "one signed step does more harm than many",
    "zero-gradients": "gradients are zero: the attack was blind",
    "clean-fails": "clean images fail under the vote or any-of-n rule itself",
    "autoattack-warnings": "AutoAttack itself complained about the victim",
    "autoattack-native": "AutoAttack's own verdict is not what its images do when drawn again",
    "convergence": "accuracy was still falling in the last quarter of the steps",
    "training-floor-clean": "a trained defense loses too many clean images",
    "training-floor-oblivious": "a trained defense hardly helps where only its classifier is attacked",
    "no-attack-effect": "no attack changed anything",
    "black-box-beats-white-box": "an attacker who sees outputs alone does more harm than the adaptive attacks",
    "doubled-steps": "twice the steps change the number: the attack was too short",
    "doubled-eot": "twice the draws a gradient change the number: its gradients were too noisy",
    "eps-curve-rises": "a larger budget leaves more accuracy than a smaller one",
    "eps-curve-ends-high": "accuracy is left where every image can be turned into grey",
    "gradient-not-as-declared": "autograd through a purifier is not what it declares",
    "random-noise": "random points fool images that every attack left alone",
    "memorises-images": "a purifier gives back evaluation images, and others not",
    "batch-dependent": "what becomes of an image hangs on its batch",
    "undeclared-randomness": "it is random in a way that it does not declare",
    "worst-above-column": "the worst case is above what it was chosen from, by more than its draws explain",
    "surrogate-misleads": "the attacks follow gradients that miss what a recovered one tells of the victim",
    "verdict-unlike-attack": "on the same images it answers otherwise while it is attacked than in the verdict",
    "unlike-published": "the bare classifier's clean accuracy is not the one that RobustBench publishes of it",
}
"""What it means that a flag is raised, by its id; in the order in which flags stand in an entry."""

_HIDDEN = (
    "look for a gradient that is hidden (bench check NAME); gradients: [recovered] in a row of a "
    "--protocol FILE.yaml attacks by it"
)
_TRAIN = "train it for this classifier and dataset (bench train --defense NAME --model NAME)"

NEXT_STEPS = {
    "transfer-beats-white-box": _HIDDEN,
    "oblivious-beats-adaptive": _HIDDEN,
    "autoattack-beats-adaptive": "run --protocol full: its adaptive column has restarts, targets and Square",
    "one-step": "smaller steps (step_size) or gradients: [recovered] in the rows of a --protocol FILE.yaml",
    "zero-gradients": "loss: margin or gradients: [bpda, recovered] for that row in a --protocol FILE.yaml",
    "clean-fails": "judge it by single draws: what a rule takes from clean images is no attack's doing",
    "autoattack-warnings": "read the warning in the entry; believe the rows with EOT (--protocol standard)",
    "autoattack-native": "quote the images drawn again, and the rows with EOT (--protocol standard)",
    "convergence": "run a protocol with more steps (--protocol standard, then full); "
    "bench plot convergence ENTRY.json shows which rows still fall",
    "training-floor-clean": f"{_TRAIN}, or weigh clean images more in its recipe (--recipe-arg)",
    "training-floor-oblivious": f"{_TRAIN}, or for longer (--recipe-arg)",
    "no-attack-effect": "run bench selftest, which shows that attacks attack here, then bench check NAME",
    "black-box-beats-white-box": _HIDDEN,
    "doubled-steps": "run a protocol with more steps (--protocol standard, then full)",
    "doubled-eot": "run a protocol with more draws a gradient (--protocol standard, then full)",
    "eps-curve-rises": "run a protocol with more steps and restarts (--protocol full)",
    "eps-curve-ends-high": _HIDDEN,
    "gradient-not-as-declared": "declare the gradient that it has, or mend it, until bench check NAME passes",
    "random-noise": "run a protocol with restarts and Square (--protocol full)",
    "memorises-images": "take evaluation images out of what it knows, and train it on others (bench train)",
    "batch-dependent": "purify each image alone (eval mode, no batch statistics) until bench check NAME passes",
    "undeclared-randomness": "declare stochastic = True, draw from draws alone, until bench check NAME passes",
    "worst-above-column": "score more draws: --protocol standard, or criterion: {draws: 100} in a FILE.yaml",
    "surrogate-misleads": "take out what hides the gradient (detach, no_grad, jit), or mend the surrogate",
    "verdict-unlike-attack": "let answers hang on images and draws alone: not on batch, gradients or who asks",
    "unlike-published": "compare weights, preparation and data with RobustBench's (--model, --dataset, --data)",
}
"""What to do about a flag that is raised, by its id, with a command or an option where there is one."""


def said_of(name: str) -> str:
    """A raised flag in one line: its id, what it means, what to do next; of an unknown one its id."""
    if name not in EXPLANATIONS:
        return name
    return f"{name}: {EXPLANATIONS[name]}. Next: {NEXT_STEPS[name]}"
