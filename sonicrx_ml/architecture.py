"""The size of the network and the shapes of its weights, known without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    """Size of the network."""

    width: int
    layers: int
    heads: int
    context: int
    """Tokens the model attends to in training, and at most in sampling."""
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "context"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name}={getattr(self, name)}; legal are 1 and more")
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(
                f"model.width={self.width}; legal are heads {self.heads} x an even number"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout={self.dropout}; legal are 0 to below 1")

    @property
    def hidden(self) -> int:
        """Width of the MLP: about 8/3 of the width, a multiple of 64."""
        return -(-8 * self.width // (3 * 64)) * 64

    def shapes(
        self, vocabulary: int, condition_sizes: tuple[int, ...]
    ) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the weights of a `model.Composer` of this size."""
        width, head = self.width, self.width // self.heads
        block = {
            "inject": (width, width),
            "attention_norm": (width,),
            "qkv": (3 * width, width),
            "query_norm": (head,),
            "key_norm": (head,),
            "mix": (width, width),
            "mlp_norm": (width,),
            "up": (2 * self.hidden, width),
            "down": (width, self.hidden),
        }
        shapes: dict[str, tuple[int, ...]] = {
            "tokens.weight": (vocabulary, width),
            "conditions.weight": (sum(condition_sizes), width),
            "norm.weight": (width,),
        }
        for layer in range(self.layers):
            shapes |= {f"blocks.{layer}.{name}.weight": shape for name, shape in block.items()}
        return shapes
