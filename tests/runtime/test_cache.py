"""Compiled code is kept where only its user can write."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import torch

from icnet_common.errors import InputError
from pytorch_icnet.runtime.cache import Cache, Unavailable, compiled_file, default_folder
from pytorch_icnet.runtime.devices import arithmetic
from pytorch_icnet.runtime.request import Request, digest

from ..nets import seeded


def test_a_new_folder_is_the_users_alone(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "deep" / "cache")
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert cache.file("x").parent == Cache(cache.folder).folder


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o707, 0o701])
def test_an_open_folder_is_refused(mode: int, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(InputError, match="closed to others"):
        Cache(folder)


def test_a_link_and_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "own")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(InputError, match="no folder of its own"):
            Cache(tmp_path / name)


def test_what_cannot_be_made_says_where_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"cannot be made: .*; let XDG_CACHE_HOME be a folder"):
        Cache()


def test_two_processes_may_make_it_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make = Path.mkdir

    def slow(path: Path, *arguments: object, **options: object) -> None:
        """Another process is faster."""
        make(path, 0o700, True, True)
        make(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", slow)
    assert Cache(tmp_path / "cache").folder.is_dir()


def test_a_folder_that_cannot_be_written_makes_a_backend_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "kernels.so"
    with pytest.raises(Unavailable, match=r"cannot be written: .*; let XDG_CACHE_HOME"), compiled_file(below):
        pass
    with pytest.raises(Unavailable, match=r"^no compiler$"), compiled_file(tmp_path / "kernels.so"):
        raise Unavailable("no compiler")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_default_is_in_the_users_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "pytorch-icnet"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "pytorch-icnet"


def test_keys_tell_requests_apart(tmp_path: Path) -> None:
    net, cache = seeded(), Cache(tmp_path / "cache")

    def key(**changes: object) -> str:
        values = {"module": net, "device": torch.device("cpu"), "precision": "fp32", "size": (65, 97), "batch": 1}
        values |= {"threads": 1, "cache": cache, "card": net.card}
        return Request(**{**values, **changes}).key()  # type: ignore[arg-type]

    first = key()
    assert first == key() == key(threads=2)
    others = [key(precision="bf16"), key(size=(97, 65)), key(batch=2)]
    net.conv6_cls.bias.data[0] += 1  # type: ignore[union-attr]
    assert len({first, *others, key()}) == 5


def test_digests_tell_networks_apart() -> None:
    nets = [seeded(), seeded(num_classes=2), seeded(pyramid={"pool1": (1, 1, 1, 1)}), seeded(merged=False)]
    assert len({digest(net) for net in nets}) == len(nets)
    assert digest(seeded()) == digest(nets[0])


def test_tf32_only_where_it_is_asked_for() -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    for precision, expected in (("fp32", ("highest", False)), ("tf32", ("high", True))):
        with arithmetic(precision):
            assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == expected
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before
