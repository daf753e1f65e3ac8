"""Writes pil-pixels.json: small image files of many kinds, and the pixels of PIL's Image.open(f).convert("RGB").

python3 pil-pixels.py > pil-pixels.json   (Pillow 13.0.0, numpy 2)
"""

import base64
import io
import json
import struct
import zlib

import numpy as np
from PIL import Image

rng = np.random.default_rng(0)
H, W = 5, 7
wide = rng.integers(0, 65536, (H, W, 4))
bytes_ = rng.integers(0, 256, (H, W, 4)).astype("u1")
rgb, grey = Image.fromarray(bytes_[..., :3]), Image.fromarray(bytes_[..., 0])
rgba, cmyk = Image.fromarray(bytes_, "RGBA"), Image.fromarray(bytes_, "CMYK")
palette = rgb.quantize(20)
files = {}


def pil(name, image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    files[name] = out.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(name, samples, depth, extra=b""):
    color = {1: 0, 2: 4, 3: 2, 4: 6}[samples.shape[-1]]
    rows = samples.astype(">u2" if depth == 16 else "u1").reshape(H, -1).view("u1")
    if depth < 8:
        rows = np.packbits(np.unpackbits(rows[..., None], axis=-1)[..., 8 - depth :].reshape(H, -1), axis=-1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, depth, color, 0, 0, 0))
    files[name] = b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def profile(space, tags):
    """An ICC profile, version 2."""
    tags = {b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061), **tags}
    at, table, body = 132 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table, body = table + name + struct.pack(">II", at + len(body), len(data)), body + data
    rest = struct.pack(">I", len(tags)) + table + body
    head = struct.pack(">I4sI4s4s4s", 128 + len(rest), b"\0" * 4, 0x02400000, b"mntr", space, b"XYZ ")
    head += b"\x07\xe4" + b"\0" * 10 + b"acsp" + b"\0" * 28 + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + rest


curve = lambda gamma: b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
xyz = lambda *v: b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(x * 65536) for x in v))
P3 = profile(
    b"RGB ",
    {
        b"rXYZ": xyz(0.51512, 0.24120, -0.00105),
        b"gXYZ": xyz(0.29198, 0.69225, 0.04189),
        b"bXYZ": xyz(0.15710, 0.06657, 0.78407),
        **{name: curve(2.2) for name in (b"rTRC", b"gTRC", b"bTRC")},
    },
)
LINEAR = profile(b"GRAY", {b"kTRC": curve(1.0)})


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


# PNG
for depth in (1, 2, 4):
    png(f"png grey {depth} bits", bytes_[..., :1] >> (8 - depth), depth)
for name, samples in (("grey", 1), ("grey, alpha", 2), ("rgb", 3), ("rgba", 4)):
    png(f"png {name}", bytes_[..., :samples], 8)
    png(f"png {name} 16 bits", wide[..., :samples], 16)
png("png grey 16 bits, dark", wide[..., :1] >> 7, 16)
png("png grey 16 bits, one transparent", wide[..., :1] >> 7, 16, chunk(b"tRNS", b"\0\7"))
png("png rgb, one transparent", bytes_[..., :3], 8, chunk(b"tRNS", struct.pack(">3H", *bytes_[0, 0, :3])))
png("png gamma", bytes_[..., :3], 8, chunk(b"gAMA", struct.pack(">I", 100000)))
pil("png palette", palette, "PNG")
pil("png palette, transparent", palette, "PNG", transparency=bytes(range(0, 200, 10)))
for image, name in ((rgb, "rgb"), (rgba, "rgba"), (palette, "palette")):
    pil(f"png {name}, profile", image, "PNG", icc_profile=P3)
pil("png grey, profile", grey, "PNG", icc_profile=LINEAR)
pil("png profile of nothing", rgb, "PNG", icc_profile=b"nothing" * 30)
pil("png turned", rgb, "PNG", exif=turned(6))
# JPEG, WebP, GIF
for name, options in (("444", {"subsampling": 0}), ("420", {"subsampling": 2}), ("progressive", {"progressive": True})):
    pil(f"jpeg {name}", rgb, "JPEG", **options)
pil("jpeg rgb", rgb, "JPEG", keep_rgb=True)
pil("jpeg grey, profile", grey, "JPEG", icc_profile=LINEAR)
pil("jpeg profile", rgb, "JPEG", icc_profile=P3)
pil("jpeg turned", rgb, "JPEG", exif=turned(6))
pil("jpeg cmyk", cmyk, "JPEG", quality=95)
at = files["jpeg cmyk"].index(b"\xff\xee")
files["jpeg cmyk, not Adobe's"] = files["jpeg cmyk"][:at] + files["jpeg cmyk"][at + 16 :]
files["jpeg ycck"] = files["jpeg cmyk"][: at + 15] + b"\2" + files["jpeg cmyk"][at + 16 :]
files["jpeg with bytes between"] = files["jpeg 444"].replace(b"\xff\xda", b"\0\0\0\xff\xda", 1)
pil("webp", rgb, "WEBP")
pil("webp lossless, alpha, profile", rgba, "WEBP", lossless=True, exact=True, icc_profile=P3)
pil("webp turned", rgb, "WEBP", exif=turned(6))
pil("gif", palette, "GIF")
# TIFF
for orientation in range(2, 9):
    pil(f"tiff turned {orientation}", rgb, "TIFF", tiffinfo={274: orientation}, compression="tiff_lzw")
modes = {"bits": grey.convert("1"), "grey": grey, "grey, alpha": grey.convert("LA"), "palette": palette, "rgba": rgba}
for name, image in {**modes, "cmyk": cmyk}.items():
    pil(f"tiff {name}", image, "TIFF")
pil("tiff cmyk, turned", cmyk, "TIFF", tiffinfo={274: 6}, compression="tiff_lzw")
pil("tiff profile", rgb, "TIFF", icc_profile=P3)
pil("tiff jpeg", rgb, "TIFF", compression="jpeg")


def tiff(name, samples, photometric, extra=()):
    count = samples.shape[-1]
    bits = 8 * samples.dtype.itemsize
    data = samples.astype(samples.dtype.newbyteorder("<")).tobytes()
    tags = [(256, W), (257, H), (258, (bits,) * count), (259, 1), (262, photometric), (273, 1024), (277, count), (278, H)]
    tags += [(279, len(data)), (284, 1)] + ([(338, extra)] if extra else [])
    out, tail = struct.pack("<2sHIH", b"II", 42, 8, len(tags)), b""
    for tag, value in tags:
        values = value if isinstance(value, tuple) else (value,)
        packed = struct.pack(f"<{len(values)}H", *values)
        if len(packed) > 4:
            packed, tail = struct.pack("<I", 512 + len(tail)), tail + packed
        out += struct.pack("<HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    files[name] = (out.ljust(512, b"\0") + tail).ljust(1024, b"\0") + data


alpha = np.maximum(bytes_[..., 3:], 1)
tiff("tiff times alpha", np.concatenate([np.minimum(bytes_[..., :3], alpha), alpha], -1), 2, (1,))
tiff("tiff rgb and another", bytes_, 2, (0,))
tiff("tiff grey 16 bits", (wide[..., :1] >> 7).astype("u2"), 1)
tiff("tiff grey 16 bits, white is 0", (wide[..., :1] >> 7).astype("u2"), 0)
tiff("tiff white is 0", bytes_[..., :1], 0)
tiff("tiff rgb 16 bits", wide[..., :3].astype("u2"), 2)
tiff("tiff cmyk 16 bits", wide.astype("u2"), 5)
# PBM, PGM, PPM
header = b"%d %d\n" % (W, H)
for largest in (1, 7, 255, 300, 65535):
    values = wide[..., :3] % (largest + 1)
    dtype = "u1" if largest < 256 else ">u2"
    text = lambda array: b" ".join(b"%d" % v for v in array.ravel())
    files[f"pgm to {largest}"] = b"P5 %s%d\n" % (header, largest) + values[..., 0].astype(dtype).tobytes()
    files[f"ppm to {largest}"] = b"P6\n# comment\n%s%d\n" % (header, largest) + values.astype(dtype).tobytes()
    files[f"pgm as text to {largest}"] = b"P2 %s%d\n" % (header, largest) + text(values[..., 0])
    files[f"ppm as text to {largest}"] = b"P3 %s%d #\n" % (header, largest) + text(values) + b"\n"
files["pbm"] = b"P4 " + header + np.packbits(wide[..., 0] & 1, axis=1).tobytes()
files["pbm as text"] = b"P1 " + header + b"".join(b"%d" % (v & 1) for v in wide[..., 0].ravel())
files["ppm with comments"] = b"P3 2#x\n 1 9 1 2 3 # y\n4 5 6"
# BMP
for name, image in {"rgb": rgb, "grey": grey, "palette": palette, "bits": grey.convert("1"), "rgba": rgba}.items():
    pil(f"bmp {name}", image, "BMP")
colors = rng.integers(0, 256, (256, 4)).astype("u1")


def bmp(name, bits, data, compression=0, table=b"", masks=(), size=40, top=False, used=0, offset=None):
    head = struct.pack("<IiiHHIIiiII", size, W, -H if top else H, 1, bits, compression, len(data), 0, 0, used, 0)
    if size == 12:
        head = struct.pack("<IHHHH", 12, W, H, 1, bits)
    packed = struct.pack(f"<{len(masks)}I", *masks)
    head = head + packed if size == 40 else (head + packed).ljust(size, b"\0")
    at = 14 + len(head) + len(table)
    files[f"bmp {name}"] = b"BM" + struct.pack("<IHHI", at + len(data), 0, 0, at if offset is None else offset) + head + table + data


def rows(array):
    return b"".join(row.tobytes().ljust((len(row.tobytes()) + 3) // 4 * 4, b"\0") for row in array)


index = bytes_[..., 0]
bmp("1 bit", 1, rows(np.packbits(index & 1, axis=1)), table=colors[:2].tobytes())
halves = np.pad(index & 15, ((0, 0), (0, 1)))
bmp("4 bits", 4, rows(halves[:, ::2] << 4 | halves[:, 1::2]), table=colors[:16].tobytes())
bmp("8 bits, no place told", 8, rows(index), table=colors.tobytes(), offset=0)
bmp("8 bits, the palette's place told", 8, rows(index), table=colors.tobytes(), offset=54)
bmp("few colours", 8, rows(index), table=colors[:20].tobytes(), used=20)
bmp("OS/2", 8, rows(index), table=colors[:, :3].tobytes(), size=12)
bmp("24 bits, downwards", 24, rows(bytes_[..., :3].reshape(H, -1)), top=True, size=124)
pairs = rows(wide[..., 0].astype("<u2").view("u1").reshape(H, -1))
bmp("15 bits", 16, pairs)
bmp("16 bits", 16, pairs, 3, masks=(0xF800, 0x7E0, 0x1F))
bmp("15 bits by masks", 16, pairs, 3, masks=(0x7C00, 0x3E0, 0x1F), size=108)
quads = rows(bytes_.reshape(H, -1))
for i, masks in enumerate(
    [
        (0xFF0000, 0xFF00, 0xFF),
        (0xFF000000, 0xFF0000, 0xFF00),
        (0xFF000000, 0xFF00, 0xFF),
        (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    ]
):
    bmp(f"32 bits, masks {i}", 32, quads, 3, masks=masks, size=40 if len(masks) == 3 else 124)
runs = bytes([5, 3, 2, 4, 0, 0, 9, 1, 0, 0, 0, 3, 7, 8, 9, 0, 4, 1, 0, 0, 0, 2, 3, 1, 4, 5, 0, 0, 0, 1])
bmp("runs of 8 bits", 8, runs, 1, table=colors.tobytes())
runs = bytes([5, 0x35, 2, 0x4F, 0, 0, 0, 5, 0x12, 0x34, 0x50, 0, 2, 0x67, 0, 0, 0, 2, 3, 1, 4, 0x89, 0, 0, 7, 0xAB, 0, 1])
bmp("runs of 4 bits", 4, runs, 2, table=colors[:16].tobytes())

told = {}
for name, data in files.items():
    image = Image.open(io.BytesIO(data)).convert("RGB")
    encode = lambda data: base64.b64encode(data).decode()
    told[name] = {"file": encode(zlib.compress(data, 9)), "width": image.width, "pixels": encode(image.tobytes())}
print(json.dumps(told, indent=2))
