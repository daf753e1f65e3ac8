"""How fast PyTorch is at what `check.sh` measures: python tools/gpu/peer_speed.py STEP tiny|full

Steps: rates, train-N, compile-N, sample-N, with N images. bfloat16 by autocast, attention by SDPA; on the first GPU, or
without one on the CPU. Each finding is a line of JSON, as the engine's own steps print them.
"""

import json
import math
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor

import peer

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SIZES = {
    "full": {"hidden_size": 1152, "num_heads": 18, "depth": 28, "diff_depth": 14, "ar_len": 16, "side": 32}
    | {"intermediate_size": 4096, "unet_block_out_channels": [512, 1024], "unet_resnet_groups": 32}
    | {"unet_num_heads": 16, "unet_time_emb_dim": 128, "sample_steps": 8},
    "tiny": {"hidden_size": 64, "num_heads": 4, "depth": 4, "diff_depth": 2, "ar_len": 4, "side": 8}
    | {"intermediate_size": 128, "unet_block_out_channels": [16, 32], "unet_resnet_groups": 16}
    | {"unet_num_heads": 2, "unet_time_emb_dim": 16, "sample_steps": 2},
}
FIXED = {"latent_channels": 4, "unet_num_layers_per_block": [2, 2], "unet_transformer_layers_per_block": [0, 1]}
EPSILONS = {"rms_norm_eps": 1e-5, "qk_norm_eps": 1e-6}


def tell(what: str, value: float | str, unit: str = "") -> None:
    print(json.dumps({"what": what, "value": value, "unit": unit}), flush=True)


def config_of(size: str) -> dict:
    c = SIZES[size] | FIXED | EPSILONS
    return c | {"pre_downsample_block_size": c["side"] ** 2, "block_size": c["side"] ** 2 // 4}


def seconds_of(run: Callable[[], object], runs: int) -> float:
    """Seconds per run, the best of three rounds, after two that do not count. Runs of a round are queued."""

    def wait() -> None:
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()

    best = math.inf
    run(), run()
    for _ in range(3):
        wait()
        start = time.perf_counter()
        for _ in range(runs):
            run()
        wait()
        best = min(best, (time.perf_counter() - start) / runs)
    return best


def once(function: Callable[..., object]) -> Callable[..., object]:
    """Tables that depend on sizes alone are made once, as whoever trains would have them."""
    known: list[object] = []

    def table(*words: object) -> object:
        if not known:
            known.append(function(*words))
        return known[0]

    return table


def model_of(size: str) -> peer.Madformer:
    peer.rope_tables, peer.scam_mask = once(peer.rope_tables), once(peer.scam_mask)
    torch.manual_seed(0)
    c = config_of(size)
    peer.rope_tables(c, DEVICE), peer.scam_mask(c["ar_len"], c["block_size"], DEVICE)
    with DEVICE:
        return peer.Madformer(c)


def bf16(enabled: bool = True) -> AbstractContextManager:
    return torch.autocast(DEVICE.type, torch.bfloat16, enabled=enabled)


def peak_gib() -> float:
    return torch.cuda.max_memory_allocated() / 2**30 if DEVICE.type == "cuda" else math.nan


def tell_peak(what: str) -> None:
    if DEVICE.type == "cuda":
        tell(f"{what}, peak memory", peak_gib(), "GiB")


def rates(size: str) -> None:
    """Products, attention and a convolution, at the sizes of the engine's steps."""
    full = size == "full"
    n = 8192 if full else 128
    a, b = (torch.randn(n, n, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    rate = 2 * n**3 / seconds_of(lambda: a @ b, 16)
    tell(f"torch product bf16, {n} x {n}", rate / 1e12, "TFLOP/s")

    B, T, D = (18, 4096, 64) if full else (2, 64, 16)
    q, k, v, dy = (torch.randn(1, B, T, D, device=DEVICE, dtype=torch.bfloat16) for _ in range(4))
    for x in (q, k, v):
        x.requires_grad_()

    def attend() -> Tensor:
        return F.scaled_dot_product_attention(q, k, v)

    def convolve() -> Tensor:
        return F.conv2d(x, w, padding=1)

    N, side, C = (16, 32, 512) if full else (2, 8, 16)
    shapes = ((N, C, side, side), (C, C, 3, 3), (N, C, side, side))
    images, w, dz = (torch.randn(s, device=DEVICE).to(torch.bfloat16, memory_format=torch.channels_last) for s in shapes)
    x = images.requires_grad_()
    w.requires_grad_()
    with torch.no_grad():
        tell_rate("torch SDPA forward", seconds_of(attend, 8), 2 * 2 * B * T * T * D)
        tell_rate("torch convolution forward", seconds_of(convolve, 8), 2 * N * side**2 * 9 * C * C)
    both = seconds_of(lambda: torch.autograd.grad(attend(), (q, k, v), dy), 8)
    tell_rate("torch SDPA forward and backward", both, 6 * 2 * B * T * T * D)
    both = seconds_of(lambda: torch.autograd.grad(convolve(), (x, w), dz), 8)
    tell_rate("torch convolution and both gradients", both, 3 * 2 * N * side**2 * 9 * C * C)


def tell_rate(what: str, seconds: float, operations: float) -> None:
    tell(what, seconds * 1e3, "ms")
    tell(what, operations / seconds / 1e12, "TFLOP/s")


def train(size: str, batch: int, compiled: bool) -> None:
    """Forward, backward, clipping, AdamW, average: a step as the reference takes it (section 9)."""
    model = model_of(size)
    c = model.c
    parameters = [p for p in model.parameters() if p.requires_grad]
    averages = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, 1e-5, (0.9, 0.95), weight_decay=0.05, fused=True)
    clean, noise, noised = (
        torch.randn(batch, c["ar_len"], c["side"] ** 2, c["latent_channels"], device=DEVICE) for _ in range(3)
    )
    t = torch.randint(0, 1000, (batch, c["ar_len"]), device=DEVICE)
    losses = torch.compile(peer.losses) if compiled else peer.losses
    name = f"torch training step, batch {batch}" + (", compiled" if compiled else "")

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with bf16():
            loss = losses(model, clean, noise, noised, t)[0]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, parameters, 1e-4)

    start = time.perf_counter()
    step()
    tell(f"{name}, first step", time.perf_counter() - start, "s")
    tell(name, seconds_of(step, 5 if size == "full" else 2) * 1e3, "ms")
    tell_peak(name)


class Cache:
    """Keys and values of a layer's finished blocks."""

    def __init__(self) -> None:
        self.kv: tuple[Tensor, Tensor] | None = None

    def with_own(self, own: tuple[Tensor, Tensor], keep: bool) -> tuple[Tensor, Tensor]:
        both = own if self.kv is None else tuple(torch.cat(pair, 2) for pair in zip(self.kv, own, strict=True))
        if keep:
            self.kv = both
        return both


def layer_step(
    layer: peer.Layer,
    towers: dict[int, Tensor],
    ropes: dict[int, tuple[Tensor, Tensor]],
    cache: Cache,
    keep: bool,
) -> dict[int, Tensor]:
    """A layer over one block of each tower. Clean tokens (0) see what is cached, noised ones (1) themselves, too."""
    attention, results = layer.self_attn, {}
    for i in sorted(towers):
        x = layer.input_layernorm_list[i](towers[i])
        q, k, v = attention.qkv_list[i](x).unflatten(2, (3, attention.heads, -1)).permute(2, 0, 3, 1, 4)
        q = peer.rotate(attention.q_norm_list[i](q), *ropes[i]).to(v.dtype)
        k = peer.rotate(attention.k_norm_list[i](k), *ropes[i]).to(v.dtype)
        if i == 0 and not keep and cache.kv is not None:
            keys, values = cache.kv  # which hold this block's already
        else:
            keys, values = cache.with_own((k, v), keep and i == 0)
        y = F.scaled_dot_product_attention(q, keys, values).transpose(1, 2).flatten(2)
        h = towers[i] + attention.proj_list[i](y)
        results[i] = h + layer.mlp_list[i](layer.post_attention_layernorm_list[i](h))
    return results


@torch.no_grad()
def sample_images(model: peer.Madformer, batch: int, steps: int, recomputing: bool) -> Tensor:
    """Blocks one after another (section 12). The solver's arithmetic is left at one line: it takes no time."""
    c, M = model.c, model.c["block_size"]
    side, inner = c["side"], math.isqrt(M)
    first = c["depth"] - c["diff_depth"]
    caches = [Cache() for _ in model.blocks]
    cos, sin = peer.rope_tables(c, DEVICE)
    times = [999 - i * 999 // steps for i in range(steps)]
    done: list[Tensor] = []

    def down(x: Tensor, t: int) -> tuple[Tensor, list[Tensor]]:
        h, states = model.downsampler(x, torch.full((batch, 1), float(t), device=DEVICE))
        return h.flatten(2).transpose(1, 2), states

    for block in range(c["ar_len"]):
        places = {i: slice((block - 1 + i) * M, (block + i) * M) for i in (0, 1)}
        ropes = {i: (cos[place], sin[place]) for i, place in places.items()}
        if block == 0:
            towers = {1: model.boi_block.expand(batch, -1, -1)}
        else:
            clean = down(done[-1], times[-1])[0]
            towers = {0: clean, 1: clean}
        for layer, cache in zip(model.blocks[:first], caches[:first], strict=True):
            towers = layer_step(layer, towers, ropes, cache, keep=True)
        x = torch.randn(batch, c["latent_channels"], side, side, device=DEVICE)
        for i, t in enumerate(times):
            tokens, states = down(x, t)
            inside = {1: towers[1] + tokens}
            if 0 in towers and (i == 0 or recomputing):
                inside[0] = towers[0]
            for layer, cache in zip(model.blocks[first:], caches[first:], strict=True):
                inside = layer_step(layer, inside, ropes, cache, keep=i == 0)
            image = inside[1].transpose(1, 2).unflatten(2, (inner, inner))
            noise = model.upsampler(image, torch.full((batch, 1), float(t), device=DEVICE), states)
            x = x - noise.float() / steps
        done.append(x)
    return torch.stack(done, 1)


def sample(size: str, batch: int) -> None:
    model = model_of(size).eval()
    steps = model.c["sample_steps"]
    for precision, recomputing in (("bf16", False), ("float32", True)):
        way = "recomputing" if recomputing else "cache"
        with bf16(precision == "bf16"):
            sample_images(model, batch, steps, recomputing)
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            sample_images(model, batch, steps, recomputing).sum().item()
        name = f"torch sampling, batch {batch}, {steps} steps, {precision}, {way}"
        tell(name, time.perf_counter() - start, "s")
        tell_peak(name)


if __name__ == "__main__":
    step, size = sys.argv[1:3]
    tell("torch", f"{torch.__version__} on {torch.cuda.get_device_name() if DEVICE.type == 'cuda' else 'the CPU'}")
    kind, _, count = step.partition("-")
    if kind == "rates":
        rates(size)
    elif kind == "sample":
        sample(size, int(count))
    else:
        train(size, int(count), compiled=kind == "compile")
