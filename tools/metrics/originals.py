"""What `npm run test:metrics` compares with: torch-fidelity and clean-fid, on images and weights that are made here.

python3 originals.py make DIR       weights.pth (of Inception's shapes, random), images in a/, b/ and sizes/
python3 originals.py compare DIR    their features and metrics beside ours: a JSON list of what was compared, how far
                                    apart it is, and how far it may be
"""

import json
import os
import sys

import numpy as np
import torch
import torch_fidelity.feature_extractor_inceptionv3 as inception
from cleanfid.fid import frechet_distance
from cleanfid.resize import build_resizer
from PIL import Image
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

IMAGES = 72  # more than the 64 channels of which a Fréchet distance is compared
SIZES = [(64, 48), (299, 299), (400, 310), (150, 500), (31, 17), (640, 480)]


inception.load_state_dict_from_url = lambda *args, **kwargs: {}  # nothing is downloaded


class Network(inception.FeatureExtractorInceptionV3):
    """torch-fidelity's Inception in double precision, whose weights are loaded when it is there."""

    def __init__(self, layers, state=None):
        super().__init__("inception", layers, feature_extractor_internal_dtype="float64")
        if state:
            super().load_state_dict(state)

    def load_state_dict(self, state):
        pass


def random_state(rng):
    """Weights of all layers: those that keep activations in range, and no scale or shift trivial."""
    state = {}
    for name, tensor in Network(["2048"]).state_dict().items():
        shape = tuple(tensor.shape)
        if name.endswith("num_batches_tracked"):
            state[name] = tensor
            continue
        if name.endswith((".bn.weight", ".running_var")):
            value = rng.uniform(0.5, 1.5, shape)
        elif name.endswith((".bn.bias", ".running_mean")):
            value = rng.uniform(-0.3, 0.3, shape)
        else:
            value = rng.standard_normal(shape) * np.sqrt(2 / max(1, np.prod(shape[1:])))
        state[name] = torch.tensor(value.astype(np.float32))
    return state


def picture(rng, width, height, kind):
    """Waves and spots: something to see at every scale."""
    y, x = np.mgrid[0:height, 0:width]
    channels = []
    for _ in range(3):
        value = np.zeros((height, width))
        for _ in range(4):
            angle, length, phase = rng.uniform(0, np.pi), rng.uniform(6, 60) / kind, rng.uniform(0, 2 * np.pi)
            value += np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / length + phase)
        channels.append(127.5 + 40 * value + rng.normal(0, 6, value.shape))
    return np.clip(np.stack(channels, -1), 0, 255).astype(np.uint8)


def pixels(folder):
    return [np.asarray(Image.open(os.path.join(folder, name)).convert("RGB")) for name in sorted(os.listdir(folder))]


def features(net, images):
    """Of images (height, width, 3) as the network takes them: its features, and the spatial ones."""
    places = []
    hook = net.Mixed_6d.branch1x1.register_forward_hook(lambda m, i, out: places.append(out[:, :7]))
    size = 10 if len({image.shape for image in images}) == 1 else 1
    batches = [np.stack(images[i : i + size]) for i in range(0, len(images), size)]
    found = [net(torch.tensor(np.ascontiguousarray(batch.transpose(0, 3, 1, 2)))) for batch in batches]
    hook.remove()
    columns = [torch.cat(column).double().numpy() for column in zip(*found)]
    spatial = torch.cat(places).permute(0, 2, 3, 1).reshape(len(images), -1).numpy()
    return columns, spatial


def make(folder):
    rng = np.random.default_rng(0)
    state = random_state(rng)
    for name, kind in (("a", 1.0), ("b", 1.3)):
        os.makedirs(os.path.join(folder, name))
        for i in range(IMAGES):
            Image.fromarray(picture(rng, 64, 48, kind)).save(os.path.join(folder, name, f"{i:03d}.png"))
    os.makedirs(os.path.join(folder, "sizes"))
    for i, (width, height) in enumerate(SIZES):
        Image.fromarray(picture(rng, width, height, 1.0)).save(os.path.join(folder, "sizes", f"{i}.png"))
    # Logits that tell images apart, or every inception score would be 1: nothing of what all features share.
    (seen,), _ = features(Network(["2048"], state), pixels(os.path.join(folder, "a"))[:8])
    middle, weight = seen.mean(0), state["fc.weight"].double().numpy()
    weight -= np.outer(weight @ middle, middle) / (middle @ middle)
    weight *= 2 / (seen @ weight.T).std()
    state["fc.weight"] = torch.tensor(weight.astype(np.float32))
    torch.save(state, os.path.join(folder, "weights.pth"))


def compare(folder):
    at = lambda *path: os.path.join(folder, *path)
    load = lambda *path: np.load(at(*path)).astype(np.float64)
    scores = lambda name: json.load(open(at(name, "scores.json")))["groups"][0]
    state = torch.load(at("weights.pth"))
    weight = state["fc.weight"].double()
    results = []

    def close(what, found, expected, tolerance, scale=None):
        scale = float(np.max(np.abs(expected))) if scale is None else scale
        apart = float(np.max(np.abs(np.asarray(found) - np.asarray(expected)))) / scale
        results.append({"what": what, "apart": apart, "tolerance": tolerance})

    statistics = lambda x: {"mu": x.mean(0), "sigma": np.cov(x, rowvar=False)}

    # Metrics of the same features.
    a, b = load("ours-a", "images", "features.npy"), load("ours-b", "images", "features.npy")
    score = scores("score")
    isc = isc_features_to_metric(torch.tensor(b) @ weight.T, 10, True, 2020)
    close("inception score", score["isc"], isc["inception_score_mean"], 1e-6)
    close("inception score, deviation", score["iscStd"], isc["inception_score_std"], 1e-6)
    kid = kid_features_to_metric(
        torch.tensor(b), torch.tensor(a), kid_subsets=100, kid_subset_size=IMAGES // 2, verbose=False
    )
    close("KID", score["kid"], kid["kernel_inception_distance_mean"], 1e-6)
    close("KID, deviation", score["kidStd"], kid["kernel_inception_distance_std"], 1e-6)
    a64, b64 = load("ours-a-64", "images", "features.npy"), load("ours-b-64", "images", "features.npy")
    fid = fid_statistics_to_metric(statistics(a64), statistics(b64), verbose=False)["frechet_inception_distance"]
    close("Fréchet distance, 64 channels", scores("score-64")["distance"], fid, 1e-6)
    # 2023 channels of 80 images: both covariances are singular, and the root of their product by sqrtm, as ADM's suite
    # and clean-fid take it, is good to 1e-6 of the variances. The trace of the root is also a sum of singular values.
    sa, sb = load("ours-a", "images", "spatial.npy"), load("ours-b", "images", "spatial.npy")
    ya, yb = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (sa, sb)]
    root = np.linalg.svd(ya @ yb.T, compute_uv=False).sum()
    variances = (ya**2).sum() + (yb**2).sum()
    means = ((sa.mean(0) - sb.mean(0)) ** 2).sum()
    close("sFID, by singular values", score["sfid"], means + variances - 2 * root, 1e-6)
    sfid = frechet_distance(sa.mean(0), np.cov(sa, rowvar=False), sb.mean(0), np.cov(sb, rowvar=False))
    close("sFID, by sqrtm", score["sfid"], sfid, 1e-6, scale=means + variances)
    for name, x in (("a", sa), ("b", sb)):
        kept = np.load(at(f"ours-{name}", "images", "statistics.npz"))
        close(f"spatial means of {name}", kept["mu_s"], x.mean(0), 1e-12)
        close(f"spatial covariances of {name}", kept["sigma_s"], np.cov(x, rowvar=False), 1e-12)

    # Features of the same images and weights: ours in single precision, theirs in double.
    net = Network(["64", "2048"], state)
    with torch.no_grad():
        theirs = {name: features(net, pixels(at(name))) for name in ("a", "b")}
    for name, ours, ours64, spatial in (("a", a, a64, sa), ("b", b, b64, sb)):
        (x64, x), places = theirs[name]
        close(f"features of {name}, 64 channels", ours64, x64, 1e-5)
        close(f"features of {name}, 2048 channels", ours, x, 1e-5)
        close(f"spatial features of {name}", spatial, places, 1e-5)
    (x64, x), (y64, y) = theirs["a"][0], theirs["b"][0]
    isc = isc_features_to_metric(torch.tensor(y) @ weight.T, 10, True, 2020)
    close("inception score of the same images", score["isc"], isc["inception_score_mean"], 1e-6)
    kid = kid_features_to_metric(
        torch.tensor(y), torch.tensor(x), kid_subsets=100, kid_subset_size=IMAGES // 2, verbose=False
    )
    close("KID of the same images", score["kid"], kid["kernel_inception_distance_mean"], 1e-6)
    fid = fid_statistics_to_metric(statistics(x64), statistics(y64), verbose=False)["frechet_inception_distance"]
    close("Fréchet distance of the same images, 64 channels", scores("score-64")["distance"], fid, 5e-6)

    # clean-fid resizes in floats before the network; at 299 x 299 torch-fidelity's own resize changes nothing.
    inception.vassert = lambda *args: None
    resize = build_resizer("clean")
    with torch.no_grad():
        (_, x), places = features(net, [resize(image) for image in pixels(at("sizes"))])
    close("features after clean-fid's resize", load("ours-clean", "images", "features.npy"), x, 1e-5)
    close("spatial features after clean-fid's resize", load("ours-clean", "images", "spatial.npy"), places, 1e-5)
    print(json.dumps(results))


{"make": make, "compare": compare}[sys.argv[1]](sys.argv[2])
