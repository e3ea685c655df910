"""Linear layers for the few rows of a decoding step on a CPU, whose time is that of reading the weights."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from m2ugen.model.compiled import MAX_ROWS, multiply

INT8_LEVELS = 127
_FAST = (torch.float32, torch.int8)
SHARE = 2**18  # weights that make it worth waking a further thread


class FewRowsLinear(nn.Module):
    """``nn.Linear`` without bias, for inference: ``weight`` is [out, in], floating point, or int8 with one ``scale``
    per output.

    Any device, dtype and number of rows; up to ``MAX_ROWS`` rows in float32 on a CPU take the fast way. 8-bit
    weights are multiplied in floating point, so that their rounding is the only loss.
    """

    scale: torch.Tensor | None

    def __init__(self, weight: torch.Tensor, int8: bool = False) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self._arrays: tuple[np.ndarray, np.ndarray] | None = None
        if int8:
            values = weight.detach().float()
            scale = values.abs().amax(dim=1).clamp(min=1e-8) / INT8_LEVELS
            self.register_buffer("weight", torch.round(values / scale[:, None]).to(torch.int8))
            self.register_buffer("scale", scale)
        else:
            self.weight = nn.Parameter(weight.detach().contiguous(), requires_grad=False)
            self.scale = None

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """[..., in] → [..., out]."""
        fast = hidden_states.device.type == "cpu" and hidden_states.dtype == torch.float32
        if fast and hidden_states.numel() <= MAX_ROWS * self.in_features and self.weight.dtype in _FAST:
            return self._few_rows(hidden_states)
        return F.linear(hidden_states, self._dense(hidden_states.dtype))

    def _few_rows(self, hidden_states: torch.Tensor) -> torch.Tensor:
        weight, scale = self._weight_arrays()
        output = torch.empty(*hidden_states.shape[:-1], self.out_features)
        rows = hidden_states.detach().reshape(-1, self.in_features).contiguous().numpy()
        arrays = weight, scale, rows, output.view(-1, self.out_features).numpy()
        shares = max(1, min(torch.get_num_threads(), weight.size // SHARE))
        edges = [self.out_features * share // shares for share in range(shares + 1)]
        (first, last), *others = pairwise(edges)
        helped: list[Future[None]] = [_threads().submit(multiply, *arrays, *span) for span in others]
        multiply(*arrays, first, last)
        for share in helped:
            share.result()
        return output

    def _weight_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight and scale (empty without one) as arrays: to make these anew takes as long as a small product."""
        if self._arrays is None:
            scale = torch.empty(0) if self.scale is None else self.scale
            self._arrays = self.weight.detach().numpy(), scale.numpy()
        return self._arrays

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> FewRowsLinear:
        self._arrays, scale = None, self.scale
        super()._apply(fn, recurse)
        if scale is not None:  # a change of dtype is for the states that flow; scales stay exact
            self.scale = scale.to(self.weight.device)
        return self

    def _dense(self, dtype: torch.dtype) -> torch.Tensor:
        return self.weight if self.scale is None else (self.weight * self.scale[:, None]).to(dtype)


# Own threads, and not numba's: those change the number of torch's, and spin while they wait for each other.
@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="few-rows")
