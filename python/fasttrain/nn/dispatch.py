"""Operators and the functions under them.

An operator's dispatch takes 7 us, longer than most calls of a decoding step. Where nobody looks at the operator
itself, a face calls its function.
"""

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter
from torch.utils._python_dispatch import is_in_torch_dispatch_mode


def needs_operator(*tensors: Tensor) -> bool:
    """Whether anything looks at the operator: autograd, a compiler, a tracer, torch.func, tensors of another class."""
    if torch.compiler.is_compiling() or is_in_torch_dispatch_mode():
        return True
    if forward_ad._current_level >= 0 or torch._C._functorch.peek_interpreter_stack() is not None:
        return True
    if torch._C._get_tracing_state() is not None:
        return True
    is_grad_enabled = torch.is_grad_enabled()
    for x in tensors:
        if (is_grad_enabled and x.requires_grad) or (type(x) is not Tensor and type(x) is not Parameter):
            return True
    return False
