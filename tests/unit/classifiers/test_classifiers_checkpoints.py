"""Checkpoints as people have them: each gives the very logits of the network that was saved, or one line."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmark.classifiers.catalog import CLASSIFIERS
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.loading import load_classifier, load_dataset
from benchmark.files.known_hashes import file_sha256
from benchmark.identity.content_names import without_content


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
    assert found.sha256 == file_sha256(path)


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
    assert without_content(found.name) == f"net.{key}@my_net.Plain" != found.name
    assert len({found.sha256, rival.sha256, file_sha256(path)}) == 3
    with pytest.raises(BenchError, match="nothing under 'emma'; they hold 'model'"):
        load_classifier(f"file:{path}#emma@my_net:Plain", dataset=digits, folder=tmp_path)


def test_a_key_may_name_what_holds_the_state_and_have_an_equals_sign(digits, net, tmp_path):
    path = tmp_path / "net.pt"
    state = net.state_dict()
    torch.save({"model": other(state), "ema=0.9": {"state_dict": state}}, path)
    found = load_classifier(f"file:{path}#ema=0.9@my_net:Plain", dataset=digits, folder=tmp_path)
    x = digits.images("test", torch.arange(4))
    assert torch.equal(found(x), net(x))


def parameters(state):
    return {n: v for n, v in state.items() if "running" not in n and "tracked" not in n}


@pytest.mark.parametrize(
    ("form", "places"),
    [
        (lambda s, o: {"model": s, "ema": parameters(o)}, "'model', 'ema'"),
        (lambda s, o: {"model": s, "ema": list(parameters(o).values())}, "'model', 'ema'"),
        (lambda s, o: {"model": s, "ema": {"shadow": [*parameters(o).values()]}}, "'ema.shadow'"),
        (lambda s, o: {"model": s, "ema": {n.replace(".", ""): v for n, v in o.items()}}, "'ema'"),
        (lambda s, o: {"model": s, 0.999: o}, "'model', '0.999'"),
        (lambda s, o: {"model": s, "ema": {0: {0.99: o}}}, "'ema.0.0.99'"),
        (lambda s, o: {"model": {**s, "loss.weight": torch.ones(10)}, "ema": o}, "'ema', 'model'"),
        (lambda s, o: {"net": s, "ema": prefixed("module.", o), "n": 1}, "'net', 'ema.module'"),
        (lambda s, o: [s, o], "'0', '1'"),
        (lambda s, o: {"state_dict": s, "callbacks": {"EMA": {"weights": o}}}, "'callbacks.EMA.w"),
    ],
)
def test_averaged_weights_beside_raw_ones_are_seen_however_they_are_kept(
    digits, net, tmp_path, form, places
):
    path = tmp_path / "net.pt"
    state = net.state_dict()
    torch.save(form(state, other(state)), path)
    with pytest.raises(
        BenchError, match=f"several states.*{places}.*#KEY@.*such as file:"
    ) as caught:
        load_classifier(f"file:{path}@my_net:Plain", dataset=digits, folder=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "kept",
    [
        lambda o: parameters(o),
        lambda o: list(parameters(o).values()),
        lambda o: prefixed("module.", parameters(o)),
        lambda o: {n.replace(".", ""): v for n, v in parameters(o).items()},
    ],
)
def test_averaged_parameters_that_are_asked_for_get_the_buffers_beside_them(
    digits, net, tmp_path, kept
):
    path = tmp_path / "net.pt"
    state = net.state_dict()
    torch.save({"model": state, "ema": kept(other(state))}, path)
    found = load_classifier(f"file:{path}#ema@my_net:Plain", dataset=digits, folder=tmp_path)
    net.load_state_dict({**state, **parameters(other(state))})
    x = digits.images("test", torch.arange(4))
    assert torch.equal(found(x), net(x))
    torch.save({"a": state, "b": other(state), "ema": kept(other(state))}, path)
    with pytest.raises(BenchError, match="are not of this architecture"):
        load_classifier(f"file:{path}#ema@my_net:Plain", dataset=digits, folder=tmp_path)


@pytest.mark.parametrize(
    "beside",
    [
        lambda s: {"optimizer": {"mu": other(s), "nu": other(s)}},
        lambda s: {"optimizer_states": [{"momentum": list(other(s).values())}]},
        lambda s: {"opt": other(s)},
        lambda s: {"ema": parameters(s)},
        lambda s: {"ema": list(parameters(s).values())},
        lambda s: {"scaler": {"scale": torch.ones(4, 1, 3, 3)}},
    ],
)
def test_what_is_no_other_state_of_the_network_is_no_rival(digits, net, tmp_path, beside):
    path = tmp_path / "net.pt"
    state = net.state_dict()
    torch.save({"model": state, **beside(state)}, path)
    found = load_classifier(f"file:{path}@my_net:Plain", dataset=digits, folder=tmp_path)
    x = digits.images("test", torch.arange(4))
    assert torch.equal(found(x), net(x))


def shipped_and(change):
    """The state of the shipped network, and the same with noise."""
    source = CLASSIFIERS.get("digits-cnn")()
    state = load_file(source.weights(Path()))
    torch.manual_seed(0)
    return state, {
        n: v + change * torch.randn_like(v) if v.is_floating_point() else v
        for n, v in state.items()
    }


def test_states_that_are_right_equally_often_are_no_matter_and_one_is_said_to_be_taken(
    digits, tmp_path, caplog
):
    raw, averaged = shipped_and(1e-5)
    path = tmp_path / "net.pt"
    torch.save({"model": raw, "ema": averaged}, path)
    found = load_classifier(f"file:{path}@digits-cnn", dataset=digits, folder=tmp_path)
    x = digits.images("test", torch.arange(4))
    shipped = load_classifier("digits-cnn", dataset=digits, folder=tmp_path)
    assert torch.equal(found(x), shipped(x))
    assert "took 'model'" in caplog.text


def test_states_of_which_one_is_worse_are_refused_with_how_often_each_is_right(digits, tmp_path):
    averaged, raw = shipped_and(1.0)
    path = tmp_path / "net.pt"
    torch.save({"model": raw, "ema": averaged}, path)
    said = r"'model', 'ema' \(right on \d+\.\d and 9\d\.\d % of.*net.pt#ema@"
    with pytest.raises(BenchError, match=said):
        load_classifier(f"file:{path}@digits-cnn", dataset=digits, folder=tmp_path)
    found = load_classifier(f"file:{path}#ema@digits-cnn", dataset=digits, folder=tmp_path)
    assert ".ema@digits-cnn" in found.name


def test_a_file_may_have_a_hash_sign_in_its_name(digits, net, tmp_path):
    path = tmp_path / "net#2.safetensors"
    save_file(net.state_dict(), path)
    found = load_classifier(f"file:{path}@my_net:Plain", dataset=digits, folder=tmp_path)
    assert without_content(found.name) == "net#2@my_net.Plain"


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
    assert len({found.sha256, again.sha256, file_sha256(path)}) == 3
    torch.save(Normalised().state_dict(), path)
    whole = load_classifier(text, dataset=digits, folder=tmp_path)
    assert whole.sha256 == file_sha256(path)
