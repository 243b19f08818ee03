"""The transformer: a decoder that reads the prescription of the bar it is writing, at every layer.

Shapes: B batch, T tokens, K bars, D width, H heads, C width of a head, A conditions per bar,
V vocabulary. Token by token it runs in `inference`.

Unusual here: *in-attention* conditioning (Wu & Yang, MuseMorphose, 2021): the embedded prescription
vector of a token's bar is projected and added to the input of every block. A condition that is 0 is
free. Otherwise a plain pre-norm decoder: rotary positions (Su et al. 2021), RMSNorm (Zhang &
Sennrich 2019), SwiGLU (Shazeer 2020), normalised queries and keys, tied embeddings.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonicrx_ml.architecture import ModelConfig


class Composer(nn.Module):
    """Next-token logits from tokens and the prescription of their bars.

    condition_sizes : number of values of each of the A conditions, free (0) included.
    """

    first: Tensor
    turn_TC: Tensor

    def __init__(
        self, config: ModelConfig, vocabulary: int, condition_sizes: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(vocabulary, config.width)
        self.conditions = nn.Embedding(sum(condition_sizes), config.width)
        self.blocks = cast(
            "list[Block]", nn.ModuleList(Block(config) for _ in range(config.layers))
        )
        self.norm = nn.RMSNorm(config.width)
        sizes = torch.tensor((0, *condition_sizes[:-1]))
        self.register_buffer("first", sizes.cumsum(0), persistent=False)
        turn_TC = _turns(torch.arange(config.context), config.width // config.heads)
        self.register_buffer("turn_TC", turn_TC, persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        """Normal(0, 0.02) everywhere; what writes to the residual stream is scaled by depth."""
        for name, weight in self.named_parameters():
            if weight.dim() < 2:
                continue
            residual = name.endswith(("mix.weight", "down.weight"))
            nn.init.normal_(
                weight, std=0.02 / (2 * self.config.layers) ** 0.5 if residual else 0.02
            )

    def forward(self, ids_BT: Tensor, bar_BT: Tensor, conditions_BKA: Tensor) -> Tensor:
        """Logits (B, T, V). `bar_BT` says which of the K bars each token belongs to."""
        prescribed_BKD = self.prescribe(conditions_BKA)
        x_BTD = self.tokens(ids_BT)
        turn_TC = self.turn_TC[: ids_BT.shape[1]]
        for block in self.blocks:
            told_BTD = _of_bar(block.inject(prescribed_BKD), bar_BT)
            x_BTD = block(x_BTD.to(told_BTD.dtype), told_BTD, turn_TC)  # of autocast: half to move
        return F.linear(self.norm(x_BTD), self.tokens.weight)

    def prescribe(self, conditions_BKA: Tensor) -> Tensor:
        """Prescription vectors (B, K, D): the embedded conditions, summed, as a product."""
        weight_SD = self.conditions.weight
        told_BKS = weight_SD.new_zeros(*conditions_BKA.shape[:2], len(weight_SD))
        return told_BKS.scatter(2, conditions_BKA + self.first, 1.0) @ weight_SD


class Block(nn.Module):
    """Attention and a gated MLP, both told the prescription."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.hidden
        self.heads, self.dropout = config.heads, config.dropout
        self.inject = nn.Linear(width, width, bias=False)
        self.attention_norm = nn.RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.query_norm = nn.RMSNorm(width // config.heads)
        self.key_norm = nn.RMSNorm(width // config.heads)
        self.mix = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.RMSNorm(width)
        self.up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x_BTD: Tensor, prescribed_BTD: Tensor, turn_TC: Tensor) -> Tensor:
        x_BTD = x_BTD + prescribed_BTD
        x_BTD = x_BTD + self._drop(self._attend(self.attention_norm(x_BTD), turn_TC))
        gate, value = self.up(self.mlp_norm(x_BTD)).chunk(2, dim=-1)
        return x_BTD + self._drop(self.down(F.silu(gate) * value))

    def _drop(self, x_BTD: Tensor) -> Tensor:
        """Dropout that all tokens of a stream share, as T5's: one each took a tenth of a step."""
        if not (self.dropout and self.training):
            return x_BTD
        return x_BTD * F.dropout(x_BTD.new_ones(len(x_BTD), 1, x_BTD.shape[2]), self.dropout)

    def _attend(self, x_BTD: Tensor, turn_TC: Tensor) -> Tensor:
        qkv_3BHTC = self.qkv(x_BTD).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scale_2C = torch.stack([self.query_norm.weight, self.key_norm.weight])
        normal_2BHTC = F.rms_norm(qkv_3BHTC[:2], scale_2C.shape[1:])  # both norms at once
        q_BHTC, k_BHTC = _rotate(normal_2BHTC * scale_2C[:, None, None, None], turn_TC).unbind()
        y_BHTC = F.scaled_dot_product_attention(q_BHTC, k_BHTC, qkv_3BHTC[2], is_causal=True)
        return self.mix(y_BHTC.transpose(1, 2).flatten(2))


def _turns(positions_T: Tensor, width: int) -> Tensor:
    """What `_rotate` multiplies by at rotary positions, (T, 2 C)."""
    speed = 10_000.0 ** (-torch.arange(width // 2, device=positions_T.device).double() * 2 / width)
    angle = positions_T[:, None] * speed
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([cos, cos, -sin, sin], dim=-1).float()


def _rotate(x: Tensor, turn_TC: Tensor) -> Tensor:
    """Pairs (i, i + C/2) of the last axis turned by their angle at each position."""
    near, far = turn_TC.chunk(2, dim=-1)
    return x * near + x.roll(x.shape[-1] // 2, dims=-1) * far


def _of_bar(vectors_BKD: Tensor, bar_BT: Tensor) -> Tensor:
    """(B, T, D): each token's own bar's vector; zeros for a bar outside 0 to K - 1.

    As a product, whose gradient is one too: that of an indexing adds up the tokens of a bar one by
    one, in any order.
    """
    own_BTK = bar_BT[..., None] == torch.arange(vectors_BKD.shape[1], device=bar_BT.device)
    return own_BTK.to(vectors_BKD.dtype) @ vectors_BKD
