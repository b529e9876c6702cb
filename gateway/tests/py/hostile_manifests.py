"""Manifests and the files that they name, as no gateway should serve them."""

import hashlib
import os

from hostile_graphs import IDENTITY, model

GRAPH = model([IDENTITY])


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Bundle:
    """A folder's files; one that is text is a link to that path."""

    def __init__(self, manifest, **files):
        self.files = {"bundle.toml": manifest.encode() if isinstance(manifest, str) else manifest}
        self.files |= {name.replace("__", "."): data for name, data in files.items()}

    @classmethod
    def of_graph(cls, name, graph, more="", head="format = 1", **files):
        manifest = f'{head}\nname = "{name}"\nversion = "1"\n[model]\nfile = "model.onnx"\nsha256 = "{digest(graph)}"\n'
        stage = '[[stage]]\nname = "predict"\nmodule = "builtin:predict"\n'
        return cls(manifest + stage + more, model__onnx=graph, **files)

    @classmethod
    def of_module(cls, name, wasm, config=b"", more=""):
        manifest = (f'format = 1\nname = "{name}"\nversion = "1"\n[[stage]]\nname = "only"\nmodule = "module.wasm"\n'
                    f'sha256 = "{digest(wasm)}"\nconfig = "config"\nconfig_sha256 = "{digest(config)}"\n')
        return cls(manifest + more, module__wasm=wasm, config=config)

    def write(self, folder):
        folder.mkdir()
        # The manifest last, as a tool would.
        for name, data in sorted(self.files.items(), key=lambda file: file[0] == "bundle.toml"):
            if isinstance(data, str):
                os.symlink(data, folder / name)
            else:
                (folder / name).write_bytes(data)


def golden(name, text):
    data = text.encode()
    return Bundle.of_graph(name, GRAPH, f'[golden]\nfile = "golden.json"\nsha256 = "{digest(data)}"\n', golden__json=data)


def with_model(name, path, data=None):
    bundle = Bundle.of_graph(name, GRAPH)
    bundle.files["bundle.toml"] = bundle.files["bundle.toml"].replace(b'"model.onnx"', f'"{path}"'.encode())
    if data is not None:
        bundle.files["model.onnx"] = data
    return bundle


MANIFESTS = {
    "empty": lambda name: Bundle(""),
    "binary": lambda name: Bundle(b"\xff\xfe" * 1000),
    "nested": lambda name: Bundle("a = " + "[" * 100_000),
    "long": lambda name: Bundle.of_graph(name, GRAPH, "# " + "a" * (32 << 20)),
    "format": lambda name: Bundle.of_graph(name, GRAPH, head="format = 99"),
    "name": lambda name: Bundle.of_graph("../../" + name, GRAPH),
    "unknown-key": lambda name: Bundle.of_graph(name, GRAPH, "[mine]\nkey = 1\n"),
    "many-stages": lambda name: Bundle.of_graph(name, GRAPH, '[[stage]]\nname = "more"\nmodule = "builtin:predict"\n' * 20_000),
    "no-module": lambda name: Bundle.of_graph(name, GRAPH, '[[stage]]\nname = "more"\nmodule = "builtin:nothing"\n'),
    "limits": lambda name: Bundle.of_graph(name, GRAPH, f'[limits]\ndeadline_ms = {2**63 - 1}\nmemory = "9999999TiB"\nrows = {2**63 - 1}\n'),
    "isolation": lambda name: Bundle.of_graph(name, GRAPH, '[run]\nisolation = "none"\n'),
    "absolute": lambda name: with_model(name, "/etc/passwd"),
    "outside": lambda name: with_model(name, "../../../etc/passwd"),
    "link": lambda name: with_model(name, "model.onnx", "/etc/passwd"),
    "digest": lambda name: with_model(name, "model.onnx", b"something else"),
    "golden-text": lambda name: golden(name, "not JSON"),
    "golden-nested": lambda name: golden(name, '{"examples":' + "[" * 1_000_000),
    "golden-many": lambda name: golden(name, '{"examples":[' + '{"input":{"x":1},"output":{"y":2}},' * 300_000 + '{"input":{"x":1},"output":{"y":2}}]}'),
    "golden-wrong": lambda name: golden(name, '{"examples":[{"input":{"x":1},"output":{"y":2}}]}'),
}
