#!/usr/bin/env python3
"""Writes what the tests of texts need into texts/: three small tokenizers, a small encoder, and known answers.

    pip install tokenizers==0.23.2 onnx onnxruntime numpy
    python make_texts.py

- wordpiece.json, bpe.json, unigram.json: tokenizers of the three kinds, trained on the few sentences below.
- encoder.onnx: one layer of attention as in BERT, with weights at random. encoder16.onnx: the same for 16 tokens a row.
- reference.json: odd texts, the ids that the package `tokenizers` gives them, and embeddings by ONNX Runtime.
"""

import json
import random
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

FOLDER = Path(__file__).parent / "texts"
WIDTH = 16
MAX_LENGTH = 32

CORPUS = [
    "The gateway reads a request, runs the model and writes the answer.",
    "Sunny days are long; rainy nights are longer than they seem.",
    "A small model answers in microseconds, a large one in milliseconds.",
    "She doesn't know what we've been told, and I'm not going to say it.",
    "El niño comió piñas en la montaña. Über den Wolken ist die Freiheit grenzenlos.",
    "東京は日本の首都です。今日はいい天気ですね。我们今天去公园。",
    "Привет, как дела? Это маленькая модель.",
    "print(f'{x:>8.3f}') # 0.125 + 3,000 = 3000.125",
] * 4

TEXTS = [
    "",
    " ",
    "   two  spaces   ",
    "The sunny day",
    "the SUNNY Day.",
    "a",
    "don't I'm we've SHE'LL it's",
    "naïve café Ünïcödé Å Å ﬁ ǆ ß İ ı",
    "e\u0301 a\u030a\u0301 o\u0308\u0323 \u0301",
    "日本語と中文混在 English",
    "한국어 텍스트 조합 ㅎㅏㄴ",
    "नमस्ते दुनिया กรุงเทพ العربية עִבְרִית",
    "🦀 🙂🙃 👩‍👩‍👧‍👦 🇪🇸🇩🇪 👍🏽 ☂︎ ☂️",
    "\u0000 \u0001\u0007\u001b[31m \u007f \u0085 \ufeff \ufffd \u200b\u200d\u202e",
    "tabs\tand\nnew\r\nlines\x0b\x0c\u2028\u2029 \u00a0\u3000",
    "[CLS] [SEP] [MASK] <s> </s> <unk> [PAD] <|endoftext|>",
    "[CLS][SEP]",
    "https://example.org/a?b=c&d=%20#e user@example.org 192.168.0.1",
    "1234567890 3.14159 1,000,000 ½ ² ⅷ Ⅷ ①",
    "$100 €50 £20 ¥5 #hash @name ~ ` ^ | \\ / _ - – — ― … ‘’ “” «»",
    "x" * 99,
    "x" * 100,
    "x" * 101,
    "supercalifragilisticexpialidocious" * 5,
    "word " * 200,
    "日" * 300,
    "é" * 300,
    "🦀" * 100,
    "\U00020000\U0001F9D1\u200D\U0001F680 \U000E0001 \uFDFA ﷽",
    "A\u0300\u0301\u0302\u0303\u0304\u0305" * 20,
    "aﬀb 𝕳𝖊𝖑𝖑𝖔 Ｆｕｌｌｗｉｄｔｈ ﾊﾝｶｸ ㌔",
    "__init__(self, *args, **kwargs): return {k: v for k, v in args}",
    "\u200e\u200f mixed عربي and English \u2066 isolate \u2069",
]


def odd_texts(count=120, seed=7):
    """Texts made up of characters from everywhere."""
    chance = random.Random(seed)
    ranges = [(0x20, 0x7E)] * 4 + [
        (0x00, 0x1F), (0x80, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x6FF), (0x900, 0xDFF), (0xE00, 0xE7F),
        (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3),
        (0xE000, 0xE100), (0xFB00, 0xFDFF), (0xFE00, 0xFFFD), (0x10000, 0x1F9FF), (0x20000, 0x2A6DF), (0xE0000, 0xE01EF),
    ]
    for _ in range(count):
        letters = []
        for _ in range(chance.randint(1, 40)):
            low, high = chance.choice(ranges)
            letters.append(chr(chance.randint(low, high)))
            if chance.random() < 0.15:
                letters.append(" ")
        yield "".join(letters)


def wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    ids = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=ids
    )
    tokenizer.enable_truncation(MAX_LENGTH)
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    return tokenizer


def bpe():
    tokenizer = Tokenizer(models.BPE())
    # Its regular expression looks ahead.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<s>", "<pad>", "</s>", "<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.enable_truncation(MAX_LENGTH)
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>", pad_to_multiple_of=8)
    return tokenizer


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    tokenizer.enable_truncation(MAX_LENGTH)
    tokenizer.enable_padding(direction="left", pad_id=0, pad_token="<pad>")
    return tokenizer


def encoder(vocabulary, length):
    """Attention, a feed-forward layer and two normalizations, over tokens, their places and types."""
    chance = np.random.default_rng(3)
    weights, nodes = {}, []

    def weight(name, *shape, scale=0.3):
        weights[name] = chance.normal(0, scale, shape).astype(np.float32)
        return name

    def constant(name, value):
        weights[name] = np.asarray(value)
        return name

    def node(kind, inputs, name, **attributes):
        nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def linear(value, name, wide=WIDTH, narrow=WIDTH):
        return node("Add", [node("MatMul", [value, weight(f"{name}.w", narrow, wide)], f"{name}.mm"),
                            weight(f"{name}.b", wide)], name)

    def norm(value, name):
        return node("LayerNormalization", [value, constant(f"{name}.g", np.ones(WIDTH, np.float32)),
                                           constant(f"{name}.z", np.zeros(WIDTH, np.float32))], name, axis=-1)

    words = node("Gather", [weight("words", vocabulary, WIDTH, scale=1.0), "input_ids"], "w")
    kinds = node("Gather", [weight("types", 2, WIDTH), "token_type_ids"], "t")
    size = node("Gather", [node("Shape", ["input_ids"], "shape"), constant("one", np.int64(1))], "size", axis=0)
    places = node("Range", [constant("zero", np.int64(0)), size, "one"], "range")
    place = node("Gather", [weight("places", MAX_LENGTH, WIDTH), places], "p")
    hidden = norm(node("Add", [node("Add", [words, kinds], "wt"), place], "wtp"), "ln0")
    query, key, value = (linear(hidden, name) for name in "qkv")
    scores = node("MatMul", [query, node("Transpose", [key], "kt", perm=[0, 2, 1])], "scores")
    scaled = node("Div", [scores, constant("root", np.float32(WIDTH**0.5))], "scaled")
    mask = node("Cast", [node("Unsqueeze", ["attention_mask", constant("axis1", np.array([1], np.int64))], "mask3")],
                "maskf", to=TensorProto.FLOAT)
    far = node("Mul", [node("Sub", [constant("onef", np.float32(1)), mask], "inverse"),
                       constant("least", np.float32(-3.4e38))], "far")
    shares = node("Softmax", [node("Add", [scaled, far], "masked")], "shares", axis=-1)
    mixed = linear(node("MatMul", [shares, value], "context"), "o")
    hidden = norm(node("Add", [mixed, hidden], "res1"), "ln1")
    wide = linear(hidden, "up", wide=2 * WIDTH)
    halves = node("Mul", [wide, constant("half", np.float32(0.5))], "halves")
    erf = node("Erf", [node("Div", [wide, constant("root2", np.float32(2**0.5))], "erfin")], "erf")
    gelu = node("Mul", [halves, node("Add", [erf, "onef"], "erf1")], "gelu")
    down = linear(gelu, "down", narrow=2 * WIDTH)
    nodes.append(helper.make_node(
        "LayerNormalization",
        [node("Add", [down, hidden], "res2"), constant("ln2.g", np.ones(WIDTH, np.float32)),
         constant("ln2.z", np.zeros(WIDTH, np.float32))], ["last_hidden_state"], axis=-1))
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", length])
              for name in ("input_ids", "attention_mask", "token_type_ids")]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", length, WIDTH])
    graph = helper.make_graph(nodes, "encoder", inputs, [output],
                              [numpy_helper.from_array(array, name) for name, array in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def embeddings(session, tokenizer, texts):
    """The normalized mean of each text by itself, as sentence-transformers has it."""
    for text in texts:
        encoded = tokenizer.encode(text)
        feed = {"input_ids": encoded.ids, "attention_mask": encoded.attention_mask, "token_type_ids": encoded.type_ids}
        feed = {name: np.array([values], np.int64) for name, values in feed.items()}
        (tokens,) = session.run(None, feed)
        mask = feed["attention_mask"][..., None]
        mean = (tokens * mask).sum(1)[0] / max(mask.sum(), 1e-9)
        yield (mean / max(np.linalg.norm(mean), 1e-12)).tolist()


def main():
    FOLDER.mkdir(exist_ok=True)
    texts = TEXTS + list(odd_texts())
    reference = {"texts": texts, "ids": {}}
    for name, make in [("wordpiece", wordpiece), ("bpe", bpe), ("unigram", unigram)]:
        tokenizer = make()
        tokenizer.save(str(FOLDER / f"{name}.json"), pretty=False)
        tokenizer.no_padding()
        reference["ids"][name] = [tokenizer.encode(text).ids for text in texts]
        pairs = [tokenizer.encode(text, other) for text, other in zip(texts, texts[3:])]
        reference.setdefault("pairs", {})[name] = [[pair.ids, pair.type_ids] for pair in pairs]
    tokenizer = Tokenizer.from_file(str(FOLDER / "wordpiece.json"))
    tokenizer.no_padding()
    model = encoder(tokenizer.get_vocab_size(), "length")
    (FOLDER / "encoder.onnx").write_bytes(model)
    (FOLDER / "encoder16.onnx").write_bytes(encoder(tokenizer.get_vocab_size(), 16))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    reference["embeddings"] = list(embeddings(session, tokenizer, texts))
    text = json.dumps(reference, ensure_ascii=True, separators=(",", ":"))
    (FOLDER / "reference.json").write_text(text.replace('],"', '],\n"').replace("],[", "],\n[") + "\n")


if __name__ == "__main__":
    main()
