"""Functions as operators of torch.library."""

from collections.abc import Callable, Sequence
from typing import Any

import torch


class Operator:
    """torch.library.custom_op's operator of one device, without what that loads at its first call.

    custom_op wraps each function so that torch.compile leaves it alone, and imports all of torch.compile for it: 75 MB
    and 1.5 s in a process that never compiles. torch.compile leaves an operator alone by itself.
    """

    def __init__(self, name: str, function: Callable[..., Any], device: str, changes: Sequence[str]) -> None:
        self.name = name
        schema = torch.library.infer_schema(function, mutates_args=changes)
        torch.library.define(name, schema, tags=(torch.Tag.pt2_compliant_tag,))
        torch.library.impl(name, device, function)
        namespace, _, op = name.partition("::")
        self.overload = getattr(getattr(torch.ops, namespace), op).default
        """What torch's tools take: opcheck, say."""

    def __call__(self, *args: Any) -> Any:
        return self.overload(*args)

    def register_fake(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Give the answer's shapes."""
        torch.library.register_fake(self.name, function)
        return function

    def register_autograd(self, backward: Callable[..., Any], *, setup_context: Callable[..., Any]) -> None:
        """Give the formula of the gradient."""
        torch.library.register_autograd(self.name, backward, setup_context=setup_context)

    def refuse_autograd(self) -> None:
        """Make a gradient through it an error, where torch would warn and give what comes by chance."""

        def backward(ctx: Any, *_: Any) -> None:
            raise RuntimeError(f"{self.name} has no gradient: only a first derivative can be taken through it")

        self.register_autograd(backward, setup_context=lambda ctx, inputs, output: None)


def operator(
    name: str, device: str = "cpu", *, changes: Sequence[str] = ()
) -> Callable[[Callable[..., Any]], Operator]:
    """Make a typed function of tensors, of which it changes those named, the operator `name` of a device."""
    return lambda function: Operator(name, function, device, changes)
