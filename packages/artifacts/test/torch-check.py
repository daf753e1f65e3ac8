"""
Run by torch.test.ts with a real PyTorch.

    torch-check.py save FOLDER     saves varied content with each protocol, and what is in it as JSON
    torch-check.py load FOLDER     loads what TypeScript wrote there, in every mode, and checks it
    torch-check.py legacy FOLDER   makes the files of test/legacy, which are read where there is no Python
"""

import argparse
import collections
import json
import pathlib
import pickle
import struct
import sys

import torch

DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "uint16", "uint32", "uint64"]


def content():
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    tensors = collections.OrderedDict(base=base, transposed=base.transpose(0, 2), slice=base[:, 1:, ::2], row=base[1, 2])
    tensors["expanded"] = torch.ones(3, 1).expand(3, 5)
    tensors["double.t"] = torch.arange(12, dtype=torch.float64).reshape(4, 3).t()
    tensors["scalar"], tensors["empty"] = torch.tensor(3.5), torch.zeros(0, 5)
    tensors["parameter"] = torch.nn.Parameter(torch.tensor([[1.5, -2.0]]))
    for name in DTYPES:
        tensors[name] = torch.tensor([[0, 1, 2], [3, 100, 120]]).to(getattr(torch, name))
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "tensors": tensors,
        "model": model.state_dict(),
        "opt": optimizer.state_dict(),
        "args": argparse.Namespace(a=1, b=2.5, c=None, d=[1, (2, "x")], big=2**70, neg=-(2**40)),
        "other": [torch.Size([2, 3]), torch.device("cuda:1"), torch.bfloat16, torch.strided, b"\x00\xff", bytearray(b"ab")],
        "more": [{1, 2}, 1 + 2j, collections.defaultdict(list, {"a": [1]}), pathlib.PosixPath("/a/b"), True, "\u00fc\U0001f600"],
    }


def save(folder):
    value = content()
    for protocol in (2, 3, 4, 5):
        torch.save(value, folder / f"{protocol}.pt", pickle_protocol=protocol)
        torch.save(value, folder / f"legacy-{protocol}.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    (folder / "expected.json").write_text(json.dumps(described({**value["tensors"], **value["model"]})))


def described(tensors):
    return {
        name: {
            "dtype": str(t.dtype).removeprefix("torch."),
            "shape": list(t.shape),
            "strides": list(t.stride()),
            "values": t.detach().double().reshape(-1).tolist(),
            "parameter": isinstance(t, torch.nn.Parameter),
        }
        for name, t in tensors.items()
    }


def legacy(folder):
    """The format before 1.6: as PyTorch writes it now, and with parts of storages, as only the first versions wrote them."""
    tensors = content()["tensors"]
    torch.save(tensors, folder / "saved.pt", _use_new_zipfile_serialization=False)
    save_views(folder / "views.pt")
    views = torch.load(folder / "views.pt")
    root = torch.arange(10, dtype=torch.float32)
    parts = {"whole": root, "part": root[2:8], "even": root[3:8:2], "same": root[2:8], "pairs": root[2:8].reshape(3, 2).t()}
    for name, part in parts.items():
        assert torch.equal(views[name], part), (name, views[name])
    files = {"saved.pt": described(tensors), "views.pt": described(views)}
    (folder / "legacy.json").write_text(json.dumps(files))


def save_views(path):
    """A view's id has the key and the size of the storage that it is a part of, and then its own key, offset and size."""

    class Part:
        def __init__(self, key, first, size):
            self.view = (key, first, size)

    class Pickler(pickle._Pickler):
        def persistent_id(self, item):
            if not isinstance(item, (Part, torch.storage.TypedStorage)):
                return None
            return ("storage", torch.FloatStorage, "root", "cpu", 10, item.view if isinstance(item, Part) else None)

    class Tensor:
        def __init__(self, *args):
            self.args = args

        def __reduce__(self):
            return (torch._utils._rebuild_tensor, self.args)

    part, tail = Part("part", 2, 6), Part("tail", 3, 5)
    whole = torch.arange(10, dtype=torch.float32).storage()
    value = collections.OrderedDict(
        part=Tensor(part, 0, (6,), (1,)),
        whole=Tensor(whole, 0, (10,), (1,)),
        even=Tensor(tail, 0, (3,), (2,)),
        same=Tensor(part, 0, (6,), (1,)),
        pairs=Tensor(part, 0, (2, 3), (1, 2)),
    )
    with open(path, "wb") as file:
        for item in (torch.serialization.MAGIC_NUMBER, 1001, {"protocol_version": 1001, "little_endian": True}):
            pickle.dump(item, file, protocol=2)
        Pickler(file, protocol=2).dump(value)
        pickle.dump(["root"], file, protocol=2)
        file.write(struct.pack("<q10f", 10, *range(10)))


def load(folder):
    for name in ("plain.pt", "zip64.pt"):
        for weights_only in (False, True):
            for mmap in (False, True):
                value = torch.load(folder / name, weights_only=weights_only, mmap=mmap)
                tensors, other = value["tensors"], value["other"]
                assert type(tensors) is collections.OrderedDict
                assert list(tensors) == [*DTYPES, "a", "b", "parameter", "scalar"], list(tensors)
                for dtype in DTYPES:
                    assert tensors[dtype].dtype == getattr(torch, dtype) and tensors[dtype].shape == (1, 2), dtype
                    assert tensors[dtype].double().tolist() == [[0, 1]], (dtype, tensors[dtype])
                a, b = tensors["a"], tensors["b"]
                assert a.shape == (4,) and b.shape == (2, 2) and a.data_ptr() == b.data_ptr()
                assert isinstance(tensors["parameter"], torch.nn.Parameter) and tensors["parameter"].requires_grad
                assert tensors["scalar"].shape == () and tensors["scalar"].item() == 0.5
                assert other == [None, True, 1, -(2**40), 2**70, 0.5, "\u00fc", (1, (2,)), {"k": [1.0], 3: "x"}], other
                assert type(other[8]["k"][0]) is float and b"\x00\xff" == value["bytes"]
    path = folder / "checkpoint.pt"
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, betas=(0.9, 0.95), weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    for weights_only in (False, True):
        for mmap in (False, True):
            value = torch.load(path, weights_only=weights_only, mmap=mmap)  # no global is to be allowed first
            assert list(value) == ["model", "ema", "opt", "lrs", "args"]
            args, expected = value["args"], {"lr": 1.0, "epochs": 200, "id": None, "quirks": {"condition": "autoregressive"}}
            assert dict(args) == vars(args) == vars(argparse.Namespace(**args)) == expected, args
            assert args.quirks["condition"] == "autoregressive" and type(args.lr) is float
            model.load_state_dict(value["model"])
            optimizer.load_state_dict(value["opt"])
            scheduler.load_state_dict(value["lrs"])
            assert scheduler.last_epoch == 3 and type(value["opt"]["param_groups"][0]["lr"]) is float
            reference = torch.optim.AdamW(torch.nn.Linear(2, 1).parameters()).state_dict()["param_groups"][0]
            assert set(value["opt"]["param_groups"][0]) == {*reference, "initial_lr"}
            step = value["opt"]["state"][0]["step"]
            assert step.dtype == torch.float32 and step.shape == () and step.item() == 3
            # Training goes on.
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
            scheduler.step()
            assert optimizer.state[model.weight]["step"].item() == 4


{"save": save, "load": load, "legacy": legacy}[sys.argv[1]](pathlib.Path(sys.argv[2]))
print(torch.__version__)
