"""What a user names as weights: paths, URLs with and without a hash, and files of the Hugging Face Hub."""

import hashlib

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save

from benchmark.errors import BenchError
from benchmark.files import downloads
from benchmark.files import locations as remote
from benchmark.files.downloads import reported_to
from benchmark.files.known_hashes import file_sha256
from benchmark.files.locations import cache_place, local_file, pinned
from benchmark.files.user_folders import weights_folder
from tests.helpers.fake_hub import COMMIT, absent, publish
from tests.helpers.servers import body, closed_port, serving, status

WEIGHTS = save({"w": torch.arange(500_000.0)})


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setattr(downloads, "PAUSES", (0.01,))
    for name in ("BENCH_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    remote.hub_file.cache_clear()
    with serving() as served:
        yield served


def found(text, **options):
    return local_file(text, what="the weights", **options)


def refused(text, **options):
    with pytest.raises(BenchError) as caught:
        found(text, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_path_is_itself_and_a_missing_one_says_what_may_stand_there(tmp_path):
    path = tmp_path / "w.safetensors"
    assert "hf:org/name" in refused(path)
    path.write_bytes(WEIGHTS)
    assert found(path) == found(str(path)) == path
    assert pinned(path) == str(path)


def test_a_url_is_downloaded_once_and_pinned_by_its_sha256(server):
    server.answers["/a/my%20net.safetensors"] = body(WEIGHTS)
    url = f"{server.url}/a/my%20net.safetensors"
    path = found(url)
    assert path.read_bytes() == WEIGHTS
    assert path.name == "my-net.safetensors"
    assert weights_folder() in path.parents
    assert found(url) == path
    assert len(server.asked) == 1
    assert pinned(url) == f"{url}#sha256={file_sha256(path)}"
    assert found(pinned(url)) == path
    assert pinned(pinned(url)) == pinned(url)
    assert len(server.asked) == 1


def test_a_name_and_a_password_in_a_url_are_neither_printed_nor_recorded(server):
    heard = []

    def answer(handler):
        heard.append(handler.headers.get("Authorization"))
        body(WEIGHTS)(handler)

    server.answers["/net.pt"] = answer
    url = f"{server.url}/net.pt".replace("://", "://me:secret@")
    path = found(url)
    assert heard[0].startswith("Basic ")
    assert "secret" not in pinned(url)
    assert found(pinned(url)) == path
    for wrong in (url.replace("net.pt", "absent"), f"{url}#sha256=1", url.replace("http", "ftp")):
        assert "secret" not in refused(wrong)


def test_a_url_with_another_sha256_is_refused_and_not_kept(server):
    server.answers["/net.pt"] = body(WEIGHTS)
    line = refused(f"{server.url}/net.pt#sha256={'0' * 64}")
    assert "0" * 64 in line
    assert not [path for path in weights_folder().rglob("*") if path.is_file()]


def test_what_a_url_gave_once_is_not_silently_something_else_later(server):
    server.answers["/net.pt"] = body(WEIGHTS)
    url = f"{server.url}/net.pt"
    path = found(url)
    first = file_sha256(path)
    path.write_bytes(WEIGHTS[:-4] + b"oops")
    assert "has changed" in refused(url)
    path.unlink()
    server.answers["/net.pt"] = body(WEIGHTS[:-4] + b"oops")
    assert f"should be {first}" in refused(url)


def test_a_cached_file_that_no_longer_has_the_sha256_asked_for_is_refused(server):
    server.answers["/net.pt"] = body(WEIGHTS)
    url = f"{server.url}/net.pt#sha256={hashlib.sha256(WEIGHTS).hexdigest()}"
    found(url).write_bytes(b"damaged")
    assert "is damaged" in refused(url)


def test_offline_a_cached_url_is_used_and_another_names_where_to_put_it(server, monkeypatch):
    server.answers["/net.pt"] = body(WEIGHTS)
    path = found(f"{server.url}/net.pt")
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    assert found(f"{server.url}/net.pt") == path
    asked = len(server.asked)
    line = refused(f"{server.url}/other.pt")
    assert "offline mode" in line
    folder = cache_place(hashlib.sha256(f"{server.url}/other.pt".encode()).hexdigest(), "-").parent
    assert str(folder) in line
    assert len(server.asked) == asked


@pytest.mark.parametrize(
    "text",
    [
        "http://example.com/net.pt",
        "ftp://127.0.0.1/net.pt",
        "https:///net.pt",
        "http://[::1/net.pt",
        "https://example.com/net.pt#sha256=12",
        "https://example.com/net.pt#md5=12",
        "hf:net",
        "hf:me/net/../../x",
        "hf:me/net@",
        "hf:me//net",
        "hf:/etc/passwd",
    ],
)
def test_what_is_not_understood_is_refused_without_asking_anybody(server, text):
    assert "expected" in refused(text)


@pytest.fixture
def hub(server, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    files = {"net.safetensors": WEIGHTS, "sub/small.safetensors": WEIGHTS[:99], "README.md": b"#"}
    publish(server, "me/two", files, revisions=("main", "v1.0"))
    publish(server, "me/net", {"model.safetensors": WEIGHTS, "old.pt": b"pickle"})
    publish(server, "me/none", {"README.md": b"#"})
    return server


def test_the_only_weights_of_a_repository_are_found_and_pinned_by_their_commit(hub):
    seen = []
    with reported_to(lambda *told: seen.append(told)):
        path = found("hf:me/net")
    assert path.read_bytes() == WEIGHTS
    assert seen[-1] == ("me/net/model.safetensors", len(WEIGHTS), len(WEIGHTS))
    assert pinned("hf:me/net") == f"hf:me/net@{COMMIT}/model.safetensors"
    assert found(pinned("hf:me/net")) == path


@pytest.mark.parametrize("revision", ["", "@main", "@v1.0", f"@{COMMIT}"])
def test_a_file_may_be_named_at_any_revision(hub, revision):
    path = found(f"hf:me/two{revision}/sub/small.safetensors")
    assert path.read_bytes() == WEIGHTS[:99]
    assert pinned(f"hf:me/two{revision}/sub/small.safetensors").count(COMMIT) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hf:me/two", "2 .safetensors files: net.safetensors, sub/small.safetensors; name one"),
        ("hf:me/none", "no .safetensors files; name one"),
        ("hf:me/nobody", "is no repository that can be seen"),
        ("hf:me/nobody/net.safetensors", "is no repository that can be seen"),
        ("hf:me/net/absent.safetensors", "has no file 'absent.safetensors'"),
        ("hf:me/net@v9", "has no revision 'v9'"),
        ("hf:me/net@v9/model.safetensors", "has no revision 'v9'"),
        ("hf:me/gated", "is gated"),
    ],
)
def test_what_the_hub_does_not_have_is_one_clear_line(hub, text, reason):
    hub.answers |= absent("me/nobody", "net.safetensors", code="RepoNotFound")
    hub.answers |= absent("me/net", "model.safetensors", code="RevisionNotFound", revision="v9")
    hub.answers |= absent("me/net", "absent.safetensors", code="EntryNotFound")
    hub.answers |= absent("me/gated", "net.safetensors", code="GatedRepo", status=403)
    hub.answers |= absent("me/net", "model.safetensors", code="RevisionNotFound", revision="v9")
    line = refused(text)
    assert reason in line
    assert text in line


def test_a_hub_file_that_arrives_truncated_or_changed_is_refused(hub):
    answer = body(WEIGHTS[:-9] + b"tampered!", ETag=f'"{"a" * 64}"', X_Repo_Commit=COMMIT)
    hub.answers["/me/net/resolve/main/model.safetensors"] = answer
    assert "is damaged" in refused("hf:me/net/model.safetensors")


def test_a_hub_that_cannot_be_reached_is_named_unless_the_cache_has_the_file(hub, monkeypatch):
    path = found("hf:me/net")
    remote.hub_file.cache_clear()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    assert found("hf:me/net") == found("hf:me/net/model.safetensors") == path
    line = refused("hf:me/two/net.safetensors")
    assert "127.0.0.1" in line
    assert "cannot be reached" in line


def test_a_hub_that_fails_is_one_line(hub):
    hub.answers["/me/two/resolve/main/net.safetensors"] = status(500)
    assert "hf:me/two" in refused("hf:me/two/net.safetensors")


@pytest.mark.parametrize("name", ["BENCH_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_the_hubs_cache_is_used_and_the_hub_not_asked(hub, monkeypatch, name):
    path = found("hf:me/net")
    remote.hub_file.cache_clear()
    monkeypatch.setenv(name, "1")
    asked = len(hub.asked)
    assert found("hf:me/net") == found("hf:me/net@main/model.safetensors") == path
    assert "offline mode" in refused("hf:me/two/net.safetensors")
    assert "offline mode" in refused("hf:me/two")
    assert len(hub.asked) == asked


def test_the_users_token_is_sent_to_the_hub(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    heard = []
    answer = hub.answers["/me/net/resolve/main/model.safetensors"]

    def listen(handler):
        heard.append(handler.headers.get("Authorization"))
        answer(handler)

    hub.answers["/me/net/resolve/main/model.safetensors"] = listen
    found("hf:me/net/model.safetensors")
    assert heard[0] == "Bearer hf_secret"
