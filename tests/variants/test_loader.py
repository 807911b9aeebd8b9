"""Any file of any family is read by its content, as data, or refused in one line."""

from __future__ import annotations

import io
import pickle
import resource
import struct
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from converter.cli import main as convert
from icnet_common.errors import InputError
from pytorch_icnet import ICNet, load
from pytorch_icnet.card import card_of
from pytorch_icnet.variants import FAMILIES, family_of
from pytorch_icnet.variants.liminn import LiminnICNet
from pytorch_icnet.variants.mmseg import MMSegICNet
from pytorch_icnet.variants.semseg import SemSegICNet
from pytorch_icnet.weights.checkpoints import read_checkpoint, write_checkpoint
from pytorch_icnet.weights.torch_files import WRAPPERS, read_state

from ..nets import seeded as seeded_icnet

NETS: dict[str, Callable[[], nn.Module]] = {
    "liminn": lambda: LiminnICNet(7),
    "mmseg": lambda: MMSegICNet(18, 7),
    "semseg": lambda: SemSegICNet(7),
    "semseg without batch normalisation": lambda: SemSegICNet(7, batch_norm=False),
}
IMAGE = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))

State = dict[str, torch.Tensor]


def seeded(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETS[name]().eval()


@pytest.fixture(scope="module")
def small() -> State:
    """A state dict of a few kB."""
    generator = torch.Generator().manual_seed(2)
    return {
        "a.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "a.bias": torch.randn(4, generator=generator).half(),
        "b.weight": torch.randn(6, 5, generator=generator).double().T,
        "b.count": torch.tensor(3),
        "c.mask": torch.tensor([True, False]),
    }


def assert_same(found: State, expected: State) -> None:
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype and torch.equal(found[key], value), key


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False])
def test_the_same_tensors_as_torch(tmp_path: Path, small: State, zipped: bool) -> None:
    torch.save(small, tmp_path / "a", _use_new_zipfile_serialization=zipped)
    assert_same(read_state(tmp_path / "a"), small)
    assert_same(read_state(tmp_path / "a"), torch.load(tmp_path / "a", weights_only=True))


@pytest.mark.parametrize("zipped", [True, False])
def test_wrappers(tmp_path: Path, small: State, zipped: bool) -> None:
    """What programs put around weights is left out, whatever it is."""
    parallel = OrderedDict((f"module.{key}", value) for key, value in small.items())
    net = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    extras = {
        "epoch": 3,
        "best_iou": np.float64(0.5),
        "optimizer_state": optimizer.state_dict(),
        "scheduler_state": {"last_epoch": 3, "milestones": defaultdict(int), 5: None},
        "meta": {
            "CLASSES": ("road",),
            "PALETTE": np.zeros((19, 3), np.uint8),
            "seed": np.int64(1),
            "at": Path("x"),
            "ids": {1},
        },
    }
    for wrapper in WRAPPERS:
        torch.save({**extras, wrapper: parallel}, tmp_path / "a", _use_new_zipfile_serialization=zipped)
        assert_same(read_state(tmp_path / "a"), small)
    torch.save({"model": {"state_dict": parallel}}, tmp_path / "a", _use_new_zipfile_serialization=zipped)
    assert_same(read_state(tmp_path / "a"), small)


def test_shared_and_parts_of_memory(tmp_path: Path) -> None:
    whole = torch.arange(20.0)
    state = {
        "whole": whole,
        "same": whole,
        "part": whole[3:9:2],
        "image": whole.reshape(1, 5, 2, 2).contiguous(memory_format=torch.channels_last),
    }
    for zipped in (True, False):
        torch.save(state, tmp_path / "a", _use_new_zipfile_serialization=zipped)
        found = read_state(tmp_path / "a")
        assert_same(found, state)
        assert found["whole"] is found["same"] and all(value.is_contiguous() for value in found.values())


def test_parameters(tmp_path: Path, small: State) -> None:
    torch.save(
        {key: nn.Parameter(value, requires_grad=value.is_floating_point()) for key, value in small.items()},
        tmp_path / "a",
    )
    assert_same(read_state(tmp_path / "a"), small)


# --- families ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_every_family_by_its_content(tmp_path: Path, name: str) -> None:
    """Bare and wrapped, old and new, without the counts that old files lack, as safetensors, under any file name."""
    model: Any = seeded(name)
    state: State = model.state_dict()
    file = tmp_path / "icnet_mmseg.caffemodel"
    family = name.split()[0]
    assert [each for each, known in FAMILIES.items() if known.matches(state)] == [family]
    counted = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    contents = [
        (state, True),
        ({"model_state": {f"module.{key}": value for key, value in counted.items()}}, False),
        ({"meta": {"seed": np.int64(0)}, "state_dict": state, "optimizer": {}}, True),
    ]
    x = torch.zeros(1, 3, 1025, 2049)[..., :33, :33] if family == "semseg" else IMAGE
    for content, zipped in contents:
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
        found: Any = load(file)
        assert type(found) is type(model) and not found.training
        card = card_of(found)
        assert card.num_classes == 7 and card.protocol == family and card.weights_data()["file"] == file.name
        assert card.input_size == FAMILIES[family].INPUT_SIZE
        assert all(torch.equal(value, state[key]) for key, value in found.state_dict().items())
        if family != "semseg":
            with torch.no_grad():
                assert torch.equal(found(x), model(x))
    checkpoint = read_checkpoint(file)
    write_checkpoint(tmp_path / "b.safetensors", checkpoint)
    again: Any = load(tmp_path / "b.safetensors")
    assert type(again) is type(model) and card_of(again).weights_data()["file"] == file.name
    assert all(torch.equal(value, state[key]) for key, value in again.state_dict().items())


def test_caffe_faithful_is_for_one_family(tmp_path: Path) -> None:
    torch.save(seeded("semseg").state_dict(), tmp_path / "semseg.pkl")
    torch.save(seeded("liminn").state_dict(), tmp_path / "liminn.pth")
    torch.save(seeded_icnet().state_dict(), tmp_path / "icnet.pth")
    strides = []
    for faithful in (False, True):
        net: Any = load(tmp_path / "semseg.pkl", caffe_faithful=faithful)
        block = net.res_block3_conv.layers[0]
        strides.append([block.cbr1.cbr_unit[0].stride, block.cbr2.cbr_unit[0].stride])
    assert strides == [[(1, 1), (2, 2)], [(2, 2), (1, 1)]]
    for other in ("liminn.pth", "icnet.pth"):
        with pytest.raises(InputError, match="only pytorch-semseg's and Supervisely's"):
            load(tmp_path / other, caffe_faithful=True)


def test_a_relative_is_not_caffes_net(tmp_path: Path) -> None:
    torch.save(seeded("liminn").state_dict(), tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a\.pth: holds liminn's ICNet, not Caffe's; pytorch_icnet\.load reads it"):
        read_checkpoint(tmp_path / "a.pth").model()


@pytest.mark.parametrize("name", NETS)
def test_what_does_not_fit_is_named(tmp_path: Path, name: str) -> None:
    state = seeded(name).state_dict()
    key = [each for each in state if each.endswith(".weight")][-1]
    state["strange"] = state.pop(key)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError) as error:
        load(tmp_path / "a.pth")
    message = str(error.value)
    assert message.startswith("a.pth: not the weights of") and f"missing: {key}" in message and "\n" not in message
    assert "unknown: strange" in message


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("head.", "liminn's ICNet with ResNet-50"),
        ("res_block", "pytorch-semseg's ICNet"),
        ("backbone.psp", "mmsegmentation's ICNet with ResNet-18"),
    ],
)
def test_the_closest_network(tmp_path: Path, prefix: str, expected: str) -> None:
    """A part of a network: which, how much of it, and what is missing."""
    states = {"head.": "liminn", "res_block": "semseg", "backbone.psp": "mmseg"}
    state = {key: value for key, value in seeded(states[prefix]).state_dict().items() if key.startswith(prefix)}
    assert family_of(state) is None
    torch.save({**state, "own.weight": torch.zeros(2, 3)}, tmp_path / "a.pth")
    with pytest.raises(InputError) as error:
        load(tmp_path / "a.pth")
    message = str(error.value)
    assert f"closest is {expected}: " in message and "1 unknown: own.weight [2, 3]" in message and "\n" not in message
    counted = sum(not key.endswith("num_batches_tracked") for key in state)
    others = int(message.split(" of other shapes")[0].split("; ")[-1]) if "of other shapes" in message else 0
    assert f"{counted - others} of its" in message


def test_no_network_at_all(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(3, 3)}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"none has any of its 1 keys \(conv\.weight \[3, 3\]\)"):
        load(tmp_path / "a.pth")


# --- harm -------------------------------------------------------------------------------------------------------------


class Harmful:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.victim,))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_never_run(tmp_path: Path, small: State, zipped: bool) -> None:
    """Beside the weights it is left out; in place of the weights the file is refused."""
    victim = tmp_path / "ran"
    torch.save({"meta": Harmful(victim), "state_dict": small}, tmp_path / "a", _use_new_zipfile_serialization=zipped)
    assert_same(read_state(tmp_path / "a"), small)
    whole: list[Any] = [
        Harmful(victim),
        {"state_dict": Harmful(victim)},
        {"a.weight": Harmful(victim)},
        nn.Linear(2, 2),
    ]
    for content in whole:
        torch.save(content, tmp_path / "a", _use_new_zipfile_serialization=zipped)
        with pytest.raises(InputError, match="could run code"):
            load(tmp_path / "a")
    assert not victim.exists()


def archive(path: Path, content: bytes, *, method: int = zipfile.ZIP_STORED, data: bytes = bytes(64)) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("archive/data.pkl", content)
        file.writestr("archive/data/0", data)
    return path


def tensor(shape: tuple[int, ...], strides: tuple[int, ...], count: int = 16) -> bytes:
    """The pickle of ``{"a.weight": tensor}`` with the places that are told."""

    class Fake:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (torch._utils._rebuild_tensor_v2, (Stored(), 0, shape, strides, False, OrderedDict()))

    class Stored:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, each: object) -> object:
            return ("storage", torch.FloatStorage, "0", "cpu", count) if isinstance(each, Stored) else None

    stream = io.BytesIO()
    Pickler(stream, 2).dump({"a.weight": Fake()})
    return stream.getvalue()


def call(function: object, *arguments: object) -> bytes:
    class Called:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (function, arguments)

    return pickle.dumps({"meta": Called(), "state_dict": {}}, 2)


def nested(opcode: bytes, times: int) -> bytes:
    return b"\x80\x02}(" + b")" + opcode * times + b"K\x01u."


HARM = {
    "many times its own size": tensor((1 << 20, 1 << 14), (0, 0)),
    "beyond its values": tensor((17,), (1,)),
    "more values than there are": tensor((1 << 30,), (1,), count=1 << 30),
    "negative": tensor((-4, 4), (4, 1)),
    "no numbers": tensor(("a",), (1,)),  # type: ignore[arg-type]
    "many dimensions": tensor((1,) * 40, (1,) * 40),
    "a huge bytearray": call(bytearray, 1 << 40),
    "a huge memo": b"\x80\x02}r\xff\xff\xff\xff.",
    "a huge text": b"\x80\x02X\xff\xff\xff\xff.",
    "a huge number": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a huge bytearray of its own": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
    "keys as deep as the stack": nested(b"\x85", 1_000_000),
    "a list of itself": b"\x80\x02]q\x00h\x00a.",
    "nothing": b"",
    "no end": b"\x80\x02}",
    "an extension": b"\x80\x02\x82\x01.",
    "text": b"hello",
}


@pytest.mark.parametrize("name", HARM)
def test_files_that_mean_harm(tmp_path: Path, name: str) -> None:
    """One line each, with no more memory than the file is worth."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = archive(tmp_path / "a.pth", HARM[name])
    with pytest.raises(InputError) as error:
        load(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "kB"


def test_bombs(tmp_path: Path) -> None:
    """Compressed archives, and archives whose parts overlap."""
    with pytest.raises(InputError, match="compressed"):
        load(archive(tmp_path / "a.pth", tensor((16,), (1,)), method=zipfile.ZIP_DEFLATED, data=bytes(1 << 20)))
    whole = archive(tmp_path / "b.pth", tensor((16,), (1,))).read_bytes()
    place = whole.rindex(b"PK\x01\x02")
    grown = whole[: place + 20] + struct.pack("<II", 1 << 30, 1 << 30) + whole[place + 28 :]
    (tmp_path / "b.pth").write_bytes(grown)
    with pytest.raises(InputError, match="larger than the file"):
        load(tmp_path / "b.pth")


def test_programs_are_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a program of torch\.export or torch\.jit"):
        load(tmp_path / "a.pt")
    archive(tmp_path / "c.pth", b"")
    with zipfile.ZipFile(tmp_path / "c.pth", "w") as file:
        file.writestr("a.txt", "hello")
    with pytest.raises(InputError, match="not a torch checkpoint"):
        load(tmp_path / "c.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_truncated_and_changed_files(tmp_path: Path, small: State, zipped: bool) -> None:
    """Every length, and random bytes in random places: read, or refused in one line; nothing else."""
    torch.save({"state_dict": small, "meta": {"a": np.zeros(3)}}, tmp_path / "a", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "a").read_bytes()
    random = np.random.default_rng(0)
    variants = [whole[:length] for length in range(0, len(whole), max(1, len(whole) // 150))]
    for _ in range(300):
        changed = bytearray(whole)
        for place in random.integers(0, len(whole), random.integers(1, 4)):
            changed[place] = random.integers(0, 256)
        variants.append(bytes(changed))
    refused = 0
    for variant in variants:
        (tmp_path / "b").write_bytes(variant)
        try:
            found = read_state(tmp_path / "b")
        except InputError as error:
            assert "\n" not in str(error) and str(error).startswith(str(tmp_path / "b"))
            refused += 1
        else:
            assert all(isinstance(value, torch.Tensor) for value in found.values())
    assert refused > 150


# --- icnet-convert ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["liminn", "semseg"])
def test_convert(tmp_path: Path, name: str) -> None:
    model: Any = seeded(name)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "a.pth")
    output = tmp_path / "b.safetensors"
    done = CliRunner().invoke(convert, [str(tmp_path / "a.pth"), "--output", str(output)])
    assert done.exit_code == 0, done.output
    found: Any = load(output)
    assert type(found) is type(model) and card_of(found).weights_data()["file"] == "a.pth"
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in found.state_dict().items())


def test_convert_to_caffes_net(tmp_path: Path) -> None:
    """pytorch-semseg's weights under Caffe's names, for every command that takes an ICNet."""
    model: Any = seeded("semseg without batch normalisation")
    torch.save(model.state_dict(), tmp_path / "a.pkl")
    done = CliRunner().invoke(
        convert, [str(tmp_path / "a.pkl"), "--caffe-faithful", "--output", str(tmp_path / "b.safetensors")]
    )
    assert done.exit_code == 0, done.output
    found: Any = load(tmp_path / "b.safetensors")
    assert isinstance(found, ICNet) and found.merged and card_of(found).weights_data()["file"] == "a.pkl"
    assert torch.equal(found.conv6_cls.weight, model.state_dict()["classification.weight"])


def test_convert_refuses(tmp_path: Path) -> None:
    torch.save(seeded("liminn").state_dict(), tmp_path / "a.pth")
    for options, message in (
        (["--caffe-faithful"], "only pytorch-semseg's and Supervisely's"),
        (["--to", "onnx"], "a checkpoint can be written as safetensors, pth"),
        (["--fold-bn"], "--fold-bn is for ICNet itself"),
        (["--output", str(tmp_path / "a.pth")], "would be lost"),
    ):
        done = CliRunner().invoke(convert, [str(tmp_path / "a.pth"), *options])
        assert done.exit_code == 1 and message in done.output, done.output
    assert CliRunner().invoke(convert, [str(tmp_path / "a.pth"), "--lenient"]).exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    with pytest.raises(InputError, match=r"empty\.pth: an empty file; get it again"):
        load(tmp_path / "empty.pth")
