"""Checkpoints as people have them: each gives the very logits of the network that was saved, or one line."""

import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchmark.errors import BenchError
from benchmark.loading import load_classifier, load_dataset
from benchmark.weights import sha256_of


class Plain(nn.Module):
    """A small network with batch norm."""

    def __init__(self, classes=10, channels=1):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.model = nn.Linear(144, classes)

    def forward(self, x):
        return self.model(self.bn(self.conv(x)).flatten(1))


class Normalised(nn.Module):
    """The same behind constants that its code sets."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor(0.3))
        self.network = Plain()

    def forward(self, x):
        return self.network(x - self.mean)


class Whitened(nn.Module):
    """The same behind a layer whose statistics are learned."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1, affine=False)
        self.network = Plain()

    def forward(self, x):
        return self.network(self.norm(x))


def five_classes():
    return Plain(classes=5)


def three_channels():
    return Plain(channels=3)


def compiled():
    return nn.Sequential(Plain())


def text():
    return "no module"


@pytest.fixture(autouse=True)
def architectures(monkeypatch):
    monkeypatch.setitem(sys.modules, "my_net", sys.modules[__name__])


@pytest.fixture
def digits(tmp_path):
    return load_dataset("digits", folder=tmp_path)


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = Plain()
    net.bn.running_mean.normal_()
    net.bn.running_var.uniform_(0.5, 2)
    return net.eval()


def other(state):
    return {name: value + 1 for name, value in state.items()}


def prefixed(prefix, state):
    return {prefix + name: value for name, value in state.items()}


FORMS = {
    "plain": lambda s: s,
    "lightning": lambda s: {"epoch": 3, "state_dict": prefixed("net.", s), "loops": {}},
    "ema alone": lambda s: {"ema_state_dict": s, "step": 3},
    "params": lambda s: {"params": s, "params_ema": dict(s)},
    "deep": lambda s: {
        "a": {"b": [{"c": prefixed("_orig_mod.module.", s)}]},
        "best": torch.ones(()),
    },
    "optimizer": lambda s: {
        "weights": s,
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []},
    },
    "swa": lambda s: {**prefixed("module.", s), "n_averaged": torch.tensor(5)},
    "profiled": lambda s: {**s, "total_ops": torch.zeros(1), "conv.total_params": torch.zeros(1)},
    "parts": lambda s: {
        "body": {n: v for n, v in s.items() if not n.startswith("model.")},
        "head": {n: v for n, v in s.items() if n.startswith("model.")},
        "optimizer": {"momentum": torch.ones(2)},
    },
    "half": lambda s: {n: v.half() if v.is_floating_point() else v for n, v in s.items()},
    "double": lambda s: {n: v.double() if v.is_floating_point() else v for n, v in s.items()},
    "old": lambda s: {n: v for n, v in s.items() if "tracked" not in n},
    "list": lambda s: [s, {"epoch": 1}],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_gives_the_logits_of_the_network_that_was_saved(digits, net, tmp_path, form):
    path = tmp_path / "net.pt"
    torch.save(FORMS[form](net.state_dict()), path)
    found = load_classifier(f"file:{path}@my_net:Plain", dataset=digits, folder=tmp_path)
    x = digits.images("test", torch.arange(4))
    torch.testing.assert_close(
        found(x), net(x), **({"rtol": 1e-2, "atol": 1e-2} if form == "half" else {})
    )
    assert found.sha256 == sha256_of(path)


@pytest.mark.parametrize(
    ("form", "architecture", "said"),
    [
        (lambda s: {"model": s, "ema": other(s)}, "Plain", "several states.*'model', 'ema'.*#KEY@"),
        (
            lambda s: {**prefixed("1.", s), "0.mean": torch.ones(1)},
            "Plain",
            "no place for 0.mean.*normalises",
        ),
        (
            lambda s: {"state_dict": {**prefixed("model.", s), "loss.weight": torch.ones(10)}},
            "Plain",
            r"no place for loss.weight.*#state_dict\.model@",
        ),
        (
            lambda s: {**prefixed("student.", s), **prefixed("teacher.", other(s))},
            "Plain",
            "'student', 'teacher'.*#KEY@",
        ),
        (
            lambda s: {n: v for n, v in s.items() if n != "conv.bias"},
            "Plain",
            "needs conv.bias and",
        ),
        (lambda s: s, "Whitened", "needs norm.running_mean, norm.running_var"),
        (
            lambda s: s,
            "five_classes",
            r"model.weight is \(10, 144\).*for 10 outputs \(classes\), not 5",
        ),
        (lambda s: s, "three_channels", r"conv.weight is .*for 1 inputs \(channels\), not 3"),
        (
            lambda s: {n: v.long() for n, v in s.items()},
            "Plain",
            "is int64 in the file and float32",
        ),
        (
            lambda s: {"model": {"other.weight": torch.ones(2)}},
            "Plain",
            r"nothing in 'model' \(other",
        ),
        (lambda s: s, "text", "made no torch.nn.Module"),
    ],
)
def test_what_does_not_fit_whole_is_one_line_that_names_it(
    digits, net, tmp_path, form, architecture, said
):
    path = tmp_path / "net.pt"
    torch.save(form(net.state_dict()), path)
    with pytest.raises(BenchError, match=said) as caught:
        load_classifier(f"file:{path}@my_net:{architecture}", dataset=digits, folder=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["ema", "state.student"])
def test_a_key_chooses_a_state_and_is_part_of_what_it_is(digits, net, tmp_path, key):
    path = tmp_path / "net.pt"
    state = net.state_dict()
    both = {**prefixed("student.", state), **prefixed("teacher.", other(state))}
    torch.save({"model": other(state), "ema": state, "state": both}, path)
    found = load_classifier(f"file:{path}#{key}@my_net:Plain", dataset=digits, folder=tmp_path)
    x = digits.images("test", torch.arange(4))
    assert torch.equal(found(x), net(x))
    rival = load_classifier(f"file:{path}#model@my_net:Plain", dataset=digits, folder=tmp_path)
    assert found.name == f"net.{key}@my_net.Plain"
    assert len({found.sha256, rival.sha256, sha256_of(path)}) == 3
    with pytest.raises(BenchError, match="nothing under 'emma'; they hold 'model'"):
        load_classifier(f"file:{path}#emma@my_net:Plain", dataset=digits, folder=tmp_path)


def test_a_file_may_have_a_hash_sign_in_its_name(digits, net, tmp_path):
    path = tmp_path / "net#2.safetensors"
    save_file(net.state_dict(), path)
    found = load_classifier(f"file:{path}@my_net:Plain", dataset=digits, folder=tmp_path)
    assert found.name == "net#2@my_net.Plain"


def test_constants_of_a_wrapper_are_its_own_and_part_of_what_it_is(
    digits, net, tmp_path, caplog, monkeypatch
):
    path = tmp_path / "net.pt"
    torch.save(net.state_dict(), path)
    text = f"file:{path}@my_net:Normalised"
    found = load_classifier(text, dataset=digits, folder=tmp_path)
    x = digits.images("test", torch.arange(4))
    torch.testing.assert_close(found(x), net(x - 0.3))
    assert "do not hold mean" in caplog.text
    init = Normalised.__init__

    def brighter(self):
        init(self)
        self.mean += 0.1

    monkeypatch.setattr(Normalised, "__init__", brighter)
    again = load_classifier(text, dataset=digits, folder=tmp_path)
    assert len({found.sha256, again.sha256, sha256_of(path)}) == 3
    torch.save(Normalised().state_dict(), path)
    whole = load_classifier(text, dataset=digits, folder=tmp_path)
    assert whole.sha256 == sha256_of(path)
