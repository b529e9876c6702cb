#!/usr/bin/env python3
"""Writes what the tests of pictures need into images/: files of every kind, their pixels, and a small network's answers.

    pip install pillow==12.3.0 onnx onnxruntime numpy
    python make_images.py

- reference.json, `files`: files in base64 as Pillow writes them, and digests of the pixels that Pillow reads from them.
- `resized`: the same of pictures that Pillow resized. `tensors`: of what a configuration of `builtin:image` makes, by the
  steps that torchvision's transforms take (Pillow, then NumPy in single precision).
- network.onnx: a convolution, a mean and a linear layer with weights at random. `answers`: its scores by ONNX Runtime.
"""

import base64
import hashlib
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageOps

FOLDER = Path(__file__).parent / "images"
NUMBERS = np.random.default_rng(7)
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SIDE = 24


def picture(width: int, height: int) -> Image.Image:
    """Waves, noise and an edge."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 100 * np.sin(x / (4 + 3 * k) + k) * np.cos(y / (6 + 2 * k)) for k in range(3)]
    samples = np.stack(waves, -1) + NUMBERS.normal(0, 12, (height, width, 3))
    samples[height // 4 : height // 2, width // 4 : width // 2] = (250, 20, 90)
    return Image.fromarray(samples.clip(0, 255).astype(np.uint8))


def written(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def files() -> dict[str, bytes]:
    made: dict[str, bytes] = {}
    for width, height in ((37, 29), (16, 16), (1, 1), (3, 50)):
        size = f"{width}x{height}"
        image = picture(width, height)
        for name, factors in (("444", 0), ("422", 1), ("420", 2)):
            made[f"{size}-{name}.jpg"] = written(image, "JPEG", quality=85, subsampling=factors)
            made[f"{size}-{name}-progressive.jpg"] = written(
                image, "JPEG", quality=60, subsampling=factors, progressive=True
            )
        made[f"{size}.webp"] = written(image, "WEBP", quality=70)
        made[f"{size}.png"] = written(image, "PNG")
    image = picture(33, 21)
    alpha = image.convert("RGBA")
    alpha.putalpha(Image.fromarray(NUMBERS.integers(0, 256, (21, 33)).astype(np.uint8)))
    made |= {
        "restarts.jpg": written(image, "JPEG", restart_marker_blocks=3),
        "best.jpg": written(image, "JPEG", quality=100, subsampling=0),
        "coarse.jpg": written(image, "JPEG", quality=5),
        "optimized.jpg": written(image, "JPEG", optimize=True),
        "gray.jpg": written(image.convert("L"), "JPEG"),
        "rgb.jpg": written(image, "JPEG", keep_rgb=True),
        "cmyk.jpg": written(image.convert("CMYK"), "JPEG"),
        "lossless.webp": written(image, "WEBP", lossless=True),
        "alpha.webp": written(alpha, "WEBP", quality=80),
        "lossless-alpha.webp": written(alpha, "WEBP", lossless=True),
        "animation.webp": written(image, "WEBP", save_all=True, append_images=[picture(33, 21)], lossless=True),
        "alpha.png": written(alpha, "PNG"),
        "gray.png": written(image.convert("L"), "PNG"),
        "gray-alpha.png": written(alpha.convert("LA"), "PNG"),
        "bits.png": written(image.convert("1"), "PNG"),
        "palette-2.png": written(image.quantize(2), "PNG"),
        "palette-4.png": written(image.quantize(4), "PNG"),
        "palette-16.png": written(image.quantize(16), "PNG"),
        "palette-200.png": written(image.quantize(200), "PNG"),
        "transparent-palette.png": written(image.quantize(100), "PNG", transparency=3),
        "transparent-colour.png": written(image, "PNG", transparency=(250, 20, 90)),
        "wide.png": wide(np.asarray(image).astype(np.uint16) * 257),
    }
    return made


def wide(samples: np.ndarray) -> bytes:
    """A PNG of 16 bits, of which Pillow writes none in colours."""
    height, width, _ = samples.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
        file += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return file


def rgb(file: bytes) -> Image.Image:
    return Image.open(io.BytesIO(file)).convert("RGB")


def digests(array: np.ndarray) -> dict[str, object]:
    """For the tests of the gateway, and for those of the crate."""
    samples = np.ascontiguousarray(array).tobytes()
    return {"sha256": hashlib.sha256(samples).hexdigest(), "crc32": zlib.crc32(samples)}


def text(file: bytes) -> str:
    return base64.b64encode(file).decode()


def normalized(image: Image.Image) -> np.ndarray:
    """`ToTensor` and `Normalize`."""
    scaled = np.asarray(image).astype(np.float32) / np.float32(255)
    return ((scaled - np.array(MEAN, np.float32)) / np.array(STD, np.float32)).transpose(2, 0, 1)


def shortest(image: Image.Image, side: int) -> Image.Image:
    """`Resize(side)`."""
    width, height = image.size
    size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    return image.resize(size, Image.Resampling.BILINEAR)


def center(image: Image.Image, width: int, height: int) -> Image.Image:
    """`CenterCrop`: Pillow crops what is outside as black."""
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def tensors(file: bytes) -> list[dict[str, object]]:
    image = rgb(file)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(turned(image))))
    fitted = image.resize((SIDE, round(SIDE * image.height / image.width)), Image.Resampling.BICUBIC)
    boxed = Image.new("RGB", (SIDE, SIDE), (114, 114, 114))
    boxed.paste(fitted, (0, (SIDE - fitted.height) // 2))
    fit = {"resize": {"fit": [SIDE, SIDE], "filter": "bicubic"}, "pad": {"to": [SIDE, SIDE], "value": 114}}
    crop = {"resize": {"shortest": 28}, "crop": {"center": [25, 24]}, "mean": MEAN, "std": STD}
    cases: list[tuple[bytes, dict[str, object], np.ndarray]] = [
        (file, crop, normalized(center(shortest(image, 28), 25, 24))),
        (file, fit | {"dtype": "u8"}, np.asarray(boxed).transpose(2, 0, 1)),
        (file, {"color": "bgr", "layout": "nhwc", "dtype": "u8"}, np.asarray(image)[..., ::-1]),
        (file, {"color": "gray", "dtype": "u8"}, np.asarray(image.convert("L"))[None]),
        (file, {"crop": {"center": [41, 10]}, "dtype": "u8", "layout": "nhwc"}, np.asarray(center(image, 41, 10))),
        (turned(image), {"orient": True, "dtype": "u8", "layout": "nhwc"}, np.asarray(upright.convert("RGB"))),
    ]
    return [
        {"file": text(file), "config": config, "shape": array.shape, **digests(array)}
        for file, config, array in cases
    ]


def turned(image: Image.Image) -> bytes:
    """As a camera writes it that was held upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return written(image, "JPEG", exif=exif)


def network() -> bytes:
    """Scores of a picture of three channels."""
    weights = {
        "kernel": NUMBERS.normal(0, 0.3, (4, 3, 3, 3)),
        "bias": NUMBERS.normal(0, 0.1, (4,)),
        "matrix": NUMBERS.normal(0, 2.0, (4, 5)),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["pixels", "kernel", "bias"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("GlobalAveragePool", ["b"], ["c"]),
            helper.make_node("Flatten", ["c"], ["d"]),
            helper.make_node("MatMul", ["d", "matrix"], ["scores"]),
        ],
        "network",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    made = files()
    pixels = {name: np.asarray(rgb(file)) for name, file in made.items()}
    sample = made["37x29.png"]
    sizes = ((20, 15), (80, 60), (37, 10), (5, 29), (11, 90))
    resized = [
        {"width": width, "height": height, "filter": name, **digests(np.asarray(rgb(sample).resize((width, height), kind)))}
        for width, height in sizes
        for name, kind in FILTERS.items()
    ]
    (FOLDER / "network.onnx").write_bytes(network())
    session = onnxruntime.InferenceSession(FOLDER / "network.onnx")
    config = {"resize": {"width": SIDE, "height": SIDE}, "mean": MEAN, "std": STD}
    answers = []
    for name in ("37x29-420.jpg", "37x29-422-progressive.jpg", "37x29.webp", "37x29.png", "alpha.png", "cmyk.jpg"):
        tensor = normalized(rgb(made[name]).resize((SIDE, SIDE), Image.Resampling.BILINEAR))[None]
        answers.append({"name": name, "scores": session.run(None, {"pixels": tensor})[0][0].tolist()})
    reference = {
        "files": [
            {"name": name, "file": text(file), "shape": pixels[name].shape, **digests(pixels[name])}
            for name, file in made.items()
        ],
        "resized": resized,
        "tensors": tensors(sample),
        "config": config,
        "answers": answers,
    }
    (FOLDER / "reference.json").write_text(json.dumps(reference, indent=1) + "\n")


if __name__ == "__main__":
    main()
