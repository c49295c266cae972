"""The definition of the steps of fastText's supervised training with softmax, in float32."""

import math
from typing import Any

import numpy as np

_F = np.float32


def steps(inp: Any, output: Any, rows: Any, offsets: Any, labels: Any, order: Any, rates: Any) -> float:
    """Change `inp` (V, D) and `output` (L, D) by one step for each text of `order`; the sum of -log p(label)."""
    loss = 0.0
    for n, rate in zip(order.tolist(), rates):
        mine = rows[offsets[n] : offsets[n + 1]]
        if not len(mine):
            continue
        hidden = np.zeros(inp.shape[1], _F)
        for row in mine:
            hidden += inp[row]
        hidden *= _F(1.0 / len(mine))
        product = np.zeros(len(output), _F)
        for d in range(inp.shape[1]):
            product += output[:, d] * hidden[d]
        e = np.exp((product - product.max()).astype(np.float64)).astype(_F)
        total = _F(0)
        for value in e:
            total += value
        p = e / total
        wanted = np.zeros(len(output), _F)
        wanted[labels[n]] = 1
        step = rate * (wanted - p)
        gradient = np.zeros(inp.shape[1], _F)
        for label in range(len(output)):
            gradient += step[label] * output[label]
            output[label] += step[label] * hidden
        loss -= math.log(float(p[labels[n]]) + 1e-5)
        gradient *= _F(1.0 / len(mine))
        for row in mine:
            inp[row] += gradient
    return loss
