"""MADFormer in PyTorch, written from docs/reference.md (sections 2 to 9): what the engines are measured beside.

    python tools/gpu/peer.py error packages/golden/data    # what bfloat16 autocast changes, on the golden model

Parameters have the reference's names. Only what training and sampling need is here: the default variant, without the
clean tower's output. Where the reference has an oddity, so has this.
"""

import argparse
import json
import math
import struct
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TimeEmbedding(nn.Module):
    """The raw timesteps (R, 1), through two linear maps: (R, E)."""

    def __init__(self, width: int):
        super().__init__()
        self.linear_1 = nn.Linear(1, width, bias=False)
        self.linear_2 = nn.Linear(width, width, bias=False)

    def forward(self, t: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(t)))


class Resnet(nn.Module):
    def __init__(self, channels: int, out: int, groups: int, time: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels, 1e-6)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.time_emb_proj = nn.Linear(time, out)
        self.norm2 = nn.GroupNorm(groups, out, 1e-6)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(F.silu(time))[:, :, None, None]
        return self.conv_shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class SpatialAttention(nn.Module):
    """Attention of all pixels of an image (R, C, H, W) to each other."""

    def __init__(self, channels: int, groups: int, heads: int):
        super().__init__()
        self.heads = channels // (channels // heads)
        self.group_norm = nn.GroupNorm(groups, channels, 1e-6)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)  # (R, HW, C)
        q, k, v = (f(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2) for f in (self.to_q, self.to_k, self.to_v))
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.to_out[0](attended).transpose(1, 2).unflatten(2, x.shape[2:])


class Resampler(nn.Module):
    """Half the side, or twice."""

    def __init__(self, channels: int, up: bool):
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(channels, channels, 3, stride=1 if up else 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest") if self.up else x)


class Level(nn.Module):
    """Residual blocks of one resolution, attention after each where the level has it."""

    def __init__(self, sizes: list[tuple[int, int]], attention: bool, c: dict):
        super().__init__()
        groups, out = c["unet_resnet_groups"], sizes[0][1]
        if attention:
            self.attentions = nn.ModuleList([SpatialAttention(out, groups, c["unet_num_heads"]) for _ in sizes])
        self.resnets = nn.ModuleList([Resnet(a, b, groups, c["unet_time_emb_dim"]) for a, b in sizes])

    def step(self, i: int, x: Tensor, time: Tensor) -> Tensor:
        x = self.resnets[i](x, time)
        return self.attentions[i](x) if hasattr(self, "attentions") else x


class Downsampler(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        channels, layers = c["unet_block_out_channels"], c["unet_num_layers_per_block"]
        self.conv_in = nn.Conv2d(c["latent_channels"], channels[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        for i, (out, n) in enumerate(zip(channels, layers, strict=True)):
            first = channels[max(i - 1, 0)]
            level = Level([(first if j == 0 else out, out) for j in range(n)], attends(c, i), c)
            if i + 1 < len(channels):
                level.downsamplers = nn.ModuleList([Resampler(out, up=False)])
            self.down_blocks.append(level)
        self.conv_out = nn.Conv2d(channels[-1], c["hidden_size"], 3, padding=1)
        self.time_embedding = TimeEmbedding(c["unet_time_emb_dim"])

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, list[Tensor]]:
        time = self.time_embedding(t)
        states = [x := self.conv_in(x)]
        for level in self.down_blocks:
            for i in range(len(level.resnets)):
                states.append(x := level.step(i, x, time))
            if hasattr(level, "downsamplers"):
                states.append(x := level.downsamplers[0](x))
        return self.conv_out(x), states


class Upsampler(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        channels, layers = c["unet_block_out_channels"], c["unet_num_layers_per_block"]
        self.up_blocks = nn.ModuleList()
        for i in reversed(range(len(channels))):
            out, below = channels[i], channels[min(i + 1, len(channels) - 1)]
            skips = [out] * layers[i] + [channels[max(i - 1, 0)]]
            sizes = [((below if j == 0 else out) + skip, out) for j, skip in enumerate(skips)]
            level = Level(sizes, attends(c, i), c)
            if i > 0:
                level.upsamplers = nn.ModuleList([Resampler(out, up=True)])
            self.up_blocks.append(level)
        self.conv_in = nn.Conv2d(c["hidden_size"], channels[-1], 3, padding=1)
        self.time_embedding = TimeEmbedding(c["unet_time_emb_dim"])
        self.conv_out = nn.Conv2d(channels[0], c["latent_channels"], 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, states: list[Tensor]) -> Tensor:
        time, left = self.time_embedding(t), list(states)
        x = self.conv_in(x)
        for level in self.up_blocks:
            for i in range(len(level.resnets)):
                x = level.step(i, torch.cat([x, left.pop()], 1), time)
            if hasattr(level, "upsamplers"):
                x = level.upsamplers[0](x)
        return self.conv_out(x)


def attends(c: dict, level: int) -> bool:
    return c["unet_transformer_layers_per_block"][level] == 1


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        return (self.weight * (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps))).to(x.dtype)


class SelfAttention(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        C, self.heads = c["hidden_size"], c["num_heads"]
        D = C // self.heads
        self.qkv_list = nn.ModuleList([nn.Linear(C, 3 * C) for _ in range(2)])
        self.q_norm_list = nn.ModuleList([RMSNorm(D, c["qk_norm_eps"]) for _ in range(2)])
        self.k_norm_list = nn.ModuleList([RMSNorm(D, c["qk_norm_eps"]) for _ in range(2)])
        self.proj_list = nn.ModuleList([nn.Linear(C, C) for _ in range(2)])

    def forward(self, towers: list[Tensor], rope: tuple[Tensor, Tensor], mask: Tensor) -> list[Tensor]:
        parts = []
        for i, x in enumerate(towers):  # (N, L, C)
            q, k, v = self.qkv_list[i](x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (N, H, L, D)
            parts.append((rotate(self.q_norm_list[i](q), *rope), rotate(self.k_norm_list[i](k), *rope), v))
        q, k, v = (torch.cat(both, 2) for both in zip(*parts, strict=True))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        return [self.proj_list[i](x) for i, x in enumerate(attended.chunk(2, 1))]


class Mlp(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        C, eps = c["hidden_size"], c["rms_norm_eps"]
        self.self_attn = SelfAttention(c)
        self.mlp_list = nn.ModuleList([Mlp(C, c["intermediate_size"]) for _ in range(2)])
        self.input_layernorm_list = nn.ModuleList([RMSNorm(C, eps) for _ in range(2)])
        self.post_attention_layernorm_list = nn.ModuleList([RMSNorm(C, eps) for _ in range(2)])

    def forward(self, towers: list[Tensor], rope: tuple[Tensor, Tensor], mask: Tensor) -> list[Tensor]:
        normed = [norm(x) for norm, x in zip(self.input_layernorm_list, towers, strict=True)]
        towers = [x + y for x, y in zip(towers, self.self_attn(normed, rope, mask), strict=True)]
        parts = zip(towers, self.post_attention_layernorm_list, self.mlp_list, strict=True)
        return [x + mlp(norm(x)) for x, norm, mlp in parts]


class Madformer(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.c = c
        self.boi_block = nn.Parameter(torch.randn(1, c["block_size"], c["hidden_size"]))
        self.downsampler = Downsampler(c)
        self.upsampler = Upsampler(c)
        self.blocks = nn.ModuleList([Layer(c) for _ in range(c["depth"])])

    def forward(self, clean: Tensor, noised: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Latents in blocks (N, T, P, channels) twice, timesteps (N, T): noise and condition, (N, T, P, channels)."""
        N, T, P, _ = clean.shape
        M, side = self.c["block_size"], math.isqrt(P)
        steps = t.reshape(-1, 1).to(clean.dtype)

        def down(x: Tensor) -> tuple[Tensor, list[Tensor]]:
            h, states = self.downsampler(x.flatten(0, 1).unflatten(1, (side, side)).permute(0, 3, 1, 2), steps)
            return h.flatten(2).transpose(1, 2).reshape(N, T * M, -1), states

        def up(x: Tensor, states: list[Tensor]) -> Tensor:
            images = x.reshape(N * T, M, -1).transpose(1, 2).unflatten(2, (math.isqrt(M),) * 2)
            return self.upsampler(images, steps, states).flatten(2).transpose(1, 2).reshape(clean.shape)

        (clean_tokens, clean_states), (noised_tokens, noised_states) = down(clean), down(noised)
        first = self.boi_block.expand(N, -1, -1)
        # Type promotion: the parameter is float32, so the residual stream is, under autocast too.
        towers = [clean_tokens.to(first.dtype), torch.cat([first, clean_tokens[:, :-M].to(first.dtype)], 1)]
        rope, mask = rope_tables(self.c, clean.device), scam_mask(T, M, clean.device)
        for i, block in enumerate(self.blocks):
            if i == self.c["depth"] - self.c["diff_depth"]:
                towers[1] = condition = towers[1] + noised_tokens
            towers = block(towers, rope, mask)
        return up(towers[1], noised_states), up(condition, clean_states)


def scam_mask(T: int, M: int, device: torch.device) -> Tensor:
    """Who may look at whom, (2TM, 2TM): clean blocks first, then noised ones."""
    block = torch.arange(2 * T, device=device)
    query, key = block[:, None], block[None, :]
    clean = (query < T) & (key <= query)
    noised = (query >= T) & (key < query - T)
    allowed = clean | noised | (query == key)
    return allowed.repeat_interleave(M, 0).repeat_interleave(M, 1)


def rope_tables(c: dict, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines (TM, D) of all tokens, block after block."""
    D, grid = c["hidden_size"] // c["num_heads"], math.isqrt(c["ar_len"])
    token_side = math.isqrt(c["block_size"])
    n, length = D // 4, grid * token_side
    base = (int(8 * length / math.pi) // 100 + 1) * 100
    exponents = torch.arange(n, dtype=torch.float32) / max(n - 1, 1)
    frequencies = 1.0 / (base**exponents)
    angles = (torch.arange(length, dtype=torch.float32)[:, None] * frequencies).repeat(1, 2)  # (length, D / 2)
    places = torch.arange(length**2).view(grid, token_side, grid, token_side).permute(0, 2, 1, 3).flatten()
    table = torch.cat([angles[places // length], angles[places % length]], 1)
    return table.cos().to(device), table.sin().to(device)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    y = x.float()
    first, second = y.chunk(2, -1)
    return (y * cos + torch.cat([-second, first], -1) * sin).to(x.dtype)


def losses(model: Madformer, clean: Tensor, noise: Tensor, noised: Tensor, t: Tensor) -> tuple[Tensor, ...]:
    predicted, condition = model(clean, noised, t)
    image, hidden = F.mse_loss(predicted.float(), noise), F.mse_loss(condition.float(), clean)
    return image + 0.1 * hidden, predicted, condition


def read_safetensors(path: Path) -> dict[str, Tensor]:
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    kinds = {"F32": torch.float32, "I32": torch.int32, "U8": torch.uint8}
    tensors = {}
    for key, entry in json.loads(data[8 : 8 + size]).items():
        if key != "__metadata__":
            start, end = (8 + size + at for at in entry["data_offsets"])
            flat = torch.frombuffer(bytearray(data[start:end]), dtype=kinds[entry["dtype"]])
            tensors[key] = flat.view(entry["shape"])
    return tensors


def autocast_error(folder: Path) -> dict:
    """How far bfloat16 autocast is from float32 on the golden model; and float32 from the golden tensors."""
    model = Madformer(json.loads((folder / "meta.json").read_text())["model"])
    model.load_state_dict(read_safetensors(folder / "model.safetensors"))
    golden = read_safetensors(folder / "forward.safetensors")
    batch = tuple(golden[name] for name in ("clean_x", "noise", "noised_x", "t"))

    def run(dtype: torch.dtype | None) -> dict[str, Tensor]:
        model.zero_grad()
        with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
            loss, predicted, condition = losses(model, *batch)
        loss.backward()
        gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        images = {"noise_pred": predicted, "condition": condition}
        return {"loss": loss.detach(), **{k: v.detach().float() for k, v in images.items()}, "gradients": gradients}

    def distance(a: Tensor, b: Tensor) -> float:
        return ((a - b).norm() / b.norm()).item()

    exact, rounded = run(None), run(torch.bfloat16)
    expected = {name: golden[f"default.{name}"].flatten(2).transpose(1, 2) for name in ("noise_pred", "condition")}
    return {
        "torch": torch.__version__,
        "float32 from golden": {k: distance(exact[k], v.reshape(batch[0].shape)) for k, v in expected.items()},
        "bf16 from float32": {name: distance(rounded[name], exact[name]) for name in exact},
        "loss": {"float32": exact["loss"].item(), "bf16": rounded["loss"].item()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    error = commands.add_parser("error", help="what bfloat16 autocast changes on the golden model")
    error.add_argument("folder", type=Path, help="packages/golden/data, or another set of its layout")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print(json.dumps(autocast_error(arguments.folder), indent=2))
