"""The composer a token at a time: its weights in a graph for ONNX Runtime, with a cache.

What torch does in some two hundred small operations a token is one call here; weights, sizes and
arithmetic are those of `model.Composer`, whose logits are the tests' oracle. Each stream's numbers
are the same bits alone and in a batch, with one thread and with several.

Shapes: L layers, B streams, K bars, A conditions, D width, H heads, C width of a head, S slots of
the cache, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from sonicrx_ml.architecture import ModelConfig

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

SPARE = 64  # slots of the cache beyond the context: so often are the forgotten tokens cleared out
_EPSILON = float(np.finfo(np.float32).eps)  # as torch's RMSNorm has it


@dataclass
class Cache:
    """Rotated keys and values of the latest tokens of each stream.

    store : (2 L, B, H, S, C), keys and values in turn; filled_B : slots in use; length_B : tokens
    that each stream has seen.
    """

    store: Floats
    filled_B: Ints = field(init=False)
    length_B: Ints = field(init=False)
    _binding: onnxruntime.IOBinding | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.filled_B = np.zeros(self.store.shape[1], dtype=np.int64)
        self.length_B = self.filled_B.copy()

    def keep(self, rows: Flags) -> None:
        """Drop the streams where `rows` (B,) is False."""
        self.store = np.ascontiguousarray(self.store[:, rows])
        self.filled_B, self.length_B = self.filled_B[rows], self.length_B[rows]
        self._binding = None

    def copy(self, source: int, targets: Ints) -> None:
        """Streams of the numbers `targets` become what stream `source` is."""
        filled = self.filled_B[source]
        self.store[:, targets, :, :filled] = self.store[:, source, None, :, :filled]
        self.filled_B[targets], self.length_B[targets] = filled, self.length_B[source]

    def forget(self, context: int) -> None:
        """Make room in streams that are full: all but what the next token attends to goes."""
        for row in np.flatnonzero(self.filled_B == self.store.shape[3]):
            kept = context - 1
            self.store[:, row, :, :kept] = self.store[:, row, :, -kept:].copy()
            self.filled_B[row] = kept

    def bound(self, session: onnxruntime.InferenceSession) -> onnxruntime.IOBinding:
        """`store` as the graph's inputs and outputs, in place."""
        if self._binding is None:
            self._binding = session.io_binding()
            for i, part in enumerate(self.store):
                value = onnxruntime.OrtValue.ortvalue_from_numpy(part)
                self._binding.bind_ortvalue_input(f"past_{i}", value)
                self._binding.bind_ortvalue_output(f"present_{i}", value)
            self._binding.bind_output("logits")
        return self._binding


class Decoder:
    """A composer's weights, ready to write streams token by token.

    weights : as `model.Composer` names them, single precision.
    condition_sizes : number of values of each of the A conditions.
    threads : of ONNX Runtime; the result does not depend on it.
    """

    def __init__(
        self,
        config: ModelConfig,
        weights: Mapping[str, Floats],
        condition_sizes: Sequence[int],
        threads: int,
    ) -> None:
        self.config, self._weights = config, weights
        self._first_A = np.cumsum([0, *condition_sizes[:-1]])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            _graph(config, weights), options, providers=["CPUExecutionProvider"]
        )

    def inject(self, conditions_BKA: Ints) -> Floats:
        """What each layer adds to its input in each bar, (L, B, K, D), from the conditions."""
        table = self._weights["conditions.weight"]
        prescribed_BKD = np.zeros((*conditions_BKA.shape[:2], self.config.width), np.float32)
        for condition, first in zip(np.moveaxis(conditions_BKA, 2, 0), self._first_A, strict=True):
            prescribed_BKD += table[condition + first]
        layers = [self._weights[f"blocks.{i}.inject.weight"] for i in range(self.config.layers)]
        return np.stack([prescribed_BKD @ weight.T for weight in layers])

    def new_cache(self, batch: int) -> Cache:
        """An empty cache that remembers the context."""
        config = self.config
        shape = (2 * config.layers, batch, config.heads, config.context + SPARE,
                 config.width // config.heads)  # fmt: skip
        return Cache(np.zeros(shape, np.float32))

    def step(
        self, ids_B: Ints, injected_LBD: Floats, cache: Cache, live_B: Flags | None = None
    ) -> Floats:
        """Logits (B, V) after one more token of each stream.

        injected_LBD : what `inject` made of each stream's current bar.
        live_B : streams that take a step; the others are as if nothing had happened, and their
            logits mean nothing. Default: all.
        """
        cache.forget(self.config.context)
        cos_BC, sin_BC = _turns(cache.length_B, self.config.width // self.config.heads)
        given = {
            "ids": ids_B[:, None].astype(np.int64),
            "injected": np.ascontiguousarray(injected_LBD[:, :, None], np.float32),
            "cos": cos_BC,
            "sin": sin_BC,
            "row": np.arange(len(ids_B))[:, None],
            "before": cache.filled_B.astype(np.int32),
            "longest": np.array([cache.filled_B.max() + 1], np.int32),
        }
        binding = cache.bound(self._session)
        for name, value in given.items():
            binding.bind_cpu_input(name, value)
        self._session.run_with_iobinding(binding)
        grown = 1 if live_B is None else live_B.astype(np.int64)
        cache.filled_B, cache.length_B = cache.filled_B + grown, cache.length_B + grown
        logits: Floats = binding.get_outputs()[-1].numpy()[:, 0]
        return logits


def _turns(positions_B: Ints, width: int) -> tuple[Floats, Floats]:
    """Cosine and sine (B, C / 2) of the rotary angles at positions; exact far out too."""
    speed = 10_000.0 ** (-np.arange(width // 2) * 2 / width)
    angle = positions_B[:, None] * speed
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


# ---------------------------------------------------------------- the graph


class _Nodes:
    """Nodes and constants of a graph under construction; everything is called by its name."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, value: NDArray[Any]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def many(self, operator: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        names = [f"{operator}_{len(self.nodes)}_{i}" for i in range(outputs)]
        domain = "" if operator in _STANDARD else "com.microsoft"
        self.nodes.append(helper.make_node(operator, inputs, names, domain=domain, **attributes))
        return names

    def one(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self.many(operator, 1, *inputs, **attributes)[0]

    def linear(self, x: str, weight: Floats) -> str:
        return self.one("MatMul", x, self.constant(weight.T))

    def split(self, x: str, *sizes: int) -> list[str]:
        return self.many("Split", len(sizes), x, self.constant(np.array(sizes)), axis=-1)

    def reshape(self, x: str, *shape: int) -> str:
        """0 keeps an axis as it is."""
        return self.one("Reshape", x, self.constant(np.array(shape)))

    def normal(self, x: str, scale: Floats) -> str:
        return self.one("SimplifiedLayerNormalization", x, self.constant(scale), epsilon=_EPSILON)

    def add_and_normal(self, x: str, more: str, scale: Floats) -> tuple[str, str]:
        """The sum of two, and its norm; the operator's other two outputs are for training."""
        scaled = self.constant(scale)
        names = self.many("SkipSimplifiedLayerNormalization", 4, x, more, scaled, epsilon=_EPSILON)
        return names[3], names[0]


_STANDARD = {"Add", "Gather", "MatMul", "Mul", "Reshape", "SimplifiedLayerNormalization", "Split",
             "Squeeze"}  # fmt: skip


def _graph(config: ModelConfig, weights: Mapping[str, Floats]) -> bytes:
    """One token of each stream, as a serialised ONNX model."""
    g = _Nodes()
    tokens = weights["tokens.weight"]
    x = g.one("Gather", g.constant(tokens), "ids")
    injected = g.many("Split", config.layers, "injected", axis=0, num_outputs=config.layers)
    for layer in range(config.layers):
        mine = {name.removeprefix(f"blocks.{layer}."): w for name, w in weights.items()}
        prescribed = g.one("Squeeze", injected[layer], g.constant(np.array([0])))
        x = _block(g, config, mine, x, prescribed, layer)
    g.linear(g.normal(x, weights["norm.weight"]), tokens)
    g.nodes[-1].output[0] = "logits"
    graph = helper.make_graph(g.nodes, "composer", *_ends(config, len(tokens)), g.constants)
    versions = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=versions, ir_version=9).SerializeToString()


def _block(
    g: _Nodes,
    config: ModelConfig,
    weights: Mapping[str, Floats],
    x: str,
    prescribed: str,
    layer: int,
) -> str:
    """What `model.Block` computes."""
    x, normal = g.add_and_normal(x, prescribed, weights["attention_norm.weight"])
    mixed = g.linear(_attend(g, config, weights, normal, layer), weights["mix.weight"])
    x, normal = g.add_and_normal(x, mixed, weights["mlp_norm.weight"])
    hidden = weights["down.weight"].shape[1]
    gate, value = g.split(g.linear(normal, weights["up.weight"]), hidden, hidden)
    opened = g.one("Mul", g.one("QuickGelu", gate, alpha=1.0), value)  # at 1 it is SiLU
    return g.one("Add", x, g.linear(opened, weights["down.weight"]))


def _attend(
    g: _Nodes, config: ModelConfig, weights: Mapping[str, Floats], x: str, layer: int
) -> str:
    width, heads = config.width, config.heads
    size = width // heads
    both, value = g.split(g.linear(x, weights["qkv.weight"]), 2 * width, width)
    by_head = g.normal(g.reshape(both, 0, 0, 2 * heads, size), np.ones(size, np.float32))
    scale = np.repeat([weights["query_norm.weight"], weights["key_norm.weight"]], heads, axis=0)
    scaled = g.reshape(g.one("Mul", by_head, g.constant(scale)), 0, 0, 2 * width)
    turned = g.one("RotaryEmbedding", scaled, "row", "cos", "sin", num_heads=2 * heads)
    query, key = g.split(turned, width, width)
    past = (f"past_{2 * layer}", f"past_{2 * layer + 1}")
    given = (query, key, value, *past, "before", "longest")
    window = {"num_heads": heads, "kv_num_heads": heads, "local_window_size": config.context}
    attended = g.one("GroupQueryAttention", *given, **window)
    g.nodes[-1].output.extend([f"present_{2 * layer}", f"present_{2 * layer + 1}"])
    return attended


def _ends(
    config: ModelConfig, vocabulary: int
) -> tuple[list[ValueInfoProto], list[ValueInfoProto]]:
    """Inputs and outputs of the graph."""

    def value(name: str, kind: int, *shape: int | str) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    real, size = TensorProto.FLOAT, config.width // config.heads
    inputs = [
        value("ids", TensorProto.INT64, "B", 1),
        value("injected", real, config.layers, "B", 1, config.width),
        value("cos", real, "B", size // 2),
        value("sin", real, "B", size // 2),
        value("row", TensorProto.INT64, "B", 1),
        value("before", TensorProto.INT32, "B"),
        value("longest", TensorProto.INT32, 1),
    ]
    outputs = [value("logits", real, "B", 1, vocabulary)]
    for i in range(2 * config.layers):
        inputs.append(value(f"past_{i}", real, "B", config.heads, "S", size))
        outputs.append(value(f"present_{i}", real, "B", config.heads, "S", size))
    return inputs, outputs
