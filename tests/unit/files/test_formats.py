"""Files that are no plain weights: each is called what it is, in one line, and whole weights are not."""

import io
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchmark.classifiers.state import load_state
from benchmark.errors import BenchError
from benchmark.files.weights import load_safetensors


def zipped(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return content.getvalue()


def tarred():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("net.pt"))
    return content.getvalue()


def arrays():
    content = io.BytesIO()
    np.savez(content, a=np.ones(2))
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zipped("n/data.pkl", "n/constants.pkl", "n/code/n.py"), "TorchScript program.*state_dict"),
        (zipped("n/archive_format", "n/models/model.json"), "torch.export.*state_dict"),
        (zipped("serialized_exported_program.json", "version"), "torch.export"),
        (zipped("best.pth", "readme.txt"), r"zip archive of other files \(best.pth.*unpack"),
        (zipped(), "zip archive"),
        (arrays(), "numpy archive"),
        (tarred(), "tar archive.*unpack"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
        (b"\x1f\x8b\x08" + bytes(99), "gzip.*unpack"),
        (b'\x08\x07\x12\x07pytorch\x1a\x052.1"' + bytes(99), "ONNX"),
        (b"GGUF\x03\x00" + bytes(99), "GGUF"),
        (b'{"message": "Not Found"}', "text, which begins.*Not Found"),
        (("Zugriff verweigert für alle\n" * 40).encode(), "text, which begins 'Zugriff"),
        (b"<html><body>", "web page"),
        (b" \n", "empty"),
    ],
)
@pytest.mark.parametrize("read", [load_state, load_safetensors])
def test_a_file_of_another_format_is_called_what_it_is(tmp_path, content, said, read):
    path = tmp_path / "net.pt"
    path.write_bytes(content)
    with pytest.raises(BenchError, match=said) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_a_saved_script_is_a_torchscript_program(tmp_path):
    path = tmp_path / "net.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)
    with pytest.raises(BenchError, match=r"TorchScript program \(torch.jit.save\)"):
        load_state(path)


def test_a_whole_pickled_network_is_named(tmp_path):
    path = tmp_path / "net.pt"
    torch.save(nn.Sequential(nn.Linear(2, 2)), path)
    with pytest.raises(BenchError, match=r"an object of torch.nn.modules.*save network.state_dict"):
        load_state(path)


def test_weights_are_still_weights(tmp_path):
    tensors = {"a": torch.ones(3)}
    save_file(tensors, tmp_path / "a")
    torch.save(tensors, tmp_path / "b")
    torch.save(tensors, tmp_path / "c", _use_new_zipfile_serialization=False)
    for name in "abc":
        assert torch.equal(load_state(tmp_path / name)["a"], tensors["a"])
