"""
Run by torch-step.test.ts with a real PyTorch: torch-step.py CHECKPOINT NEXT

Takes a checkpoint as the reference's training program would, and makes the next update with the gradients that NEXT holds: what
comes of it is what NEXT says that came of it here. Its schedule is the reference's cosine, written anew.
"""

import math
import sys

import torch

checkpoint = torch.load(sys.argv[1], weights_only=True)
following = torch.load(sys.argv[2], weights_only=True)
args, settings = checkpoint["args"], following["settings"]


def module(shapes):
    """A module that has parameters of these names and shapes, in this order, as the reference's model registers them."""
    root = torch.nn.Module()
    for name, shape in shapes:
        *path, last = name.split(".")
        here = root
        for part in path:
            if not hasattr(here, part):
                here.add_module(part, torch.nn.Module())
            here = getattr(here, part)
        here.register_parameter(last, torch.nn.Parameter(torch.zeros(shape)))
    return root


def cosine(k):
    total, floor = settings["total"], 0.01
    warm = int(args.lr_warmup * total)
    return k / warm if k < warm else floor + 0.5 * (1 - floor) * (1 + math.cos(math.pi * (k - warm) / (total - warm)))


model, ema = module(settings["shapes"]), module(settings["shapes"])
names = [name for name, _ in model.named_parameters()]
assert names == [name for name, _ in settings["shapes"]] == list(checkpoint["model"]), "another order"
for target, source in ((model, "model"), (ema, "ema")):
    result = target.load_state_dict(checkpoint[source], strict=True)
    assert not result.missing_keys and not result.unexpected_keys, result
# What the reference starts from is overwritten by what the file holds.
optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.1, 0.2), eps=1.0, weight_decay=1.0)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, cosine)
optimizer.load_state_dict(checkpoint["opt"])
scheduler.load_state_dict(checkpoint["lrs"])

for name, parameter in model.named_parameters():
    parameter.grad = following["gradients"][name].clone()
torch.nn.utils.clip_grad_norm_(model.parameters(), args.max_grad_norm)
optimizer.step()
scheduler.step()
with torch.no_grad():
    for average, parameter in zip(ema.parameters(), model.parameters()):
        average.mul_(settings["decay"]).add_(parameter, alpha=1 - settings["decay"])

state = [optimizer.state[parameter] for parameter in model.parameters()]
assert all(one["step"].item() == settings["step"] for one in state)
results = {
    "params": dict(model.named_parameters()),
    "ema": dict(ema.named_parameters()),
    "m": dict(zip(names, (one["exp_avg"] for one in state))),
    "v": dict(zip(names, (one["exp_avg_sq"] for one in state))),
}
for part, tensors in results.items():
    for name, tensor in tensors.items():
        expected = following[part][name]
        assert torch.allclose(tensor, expected, rtol=1e-5, atol=1e-7), (part, name, (tensor - expected).abs().max())
    moved = sum((tensors[name] - following["before"][part][name]).abs().sum().item() for name in names)
    assert moved > 0, f"{part} did not move"
print(torch.__version__)
