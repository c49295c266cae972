import pytest
import torch
import torch.nn.functional as F

from fasttrain.nn.elementwise import add
from fasttrain.nn.gelu import gelu
from fasttrain.nn.linear import Linear, Recipe, _are_cut, linear, project
from fasttrain.nn.rms_norm import RMSNorm
from nn.made_error import assert_same_bits, hold_error, hold_the_same_bits, poisoned_memory

SHAPES = [(1, 1), (3, 7), (0, 5), (2, 3, 64), (40, 96)]


def draw(shape, outs, bias, seed=17):
    g = torch.Generator().manual_seed(seed)
    t = {"x": torch.randn(shape, generator=g)}
    for i, out in enumerate(outs):
        t[f"weight{i}"] = torch.randn(out, shape[-1], generator=g) / shape[-1] ** 0.5
        t[f"dy{i}"] = torch.randn(*shape[:-1], out, generator=g)
        if bias:
            t[f"bias{i}"] = torch.randn(out, generator=g)
    return t


def plain(x, weights, biases):
    return tuple(F.linear(x, weight, bias) for weight, bias in zip(weights, biases))


def run(tensors, function, num, precision=torch.float32):
    """Outputs and gradients in a precision; bf16 is autocast's."""
    exact = torch.float64 if precision == torch.float64 else torch.float32
    t = {name: x.detach().to(exact) for name, x in tensors.items()}
    leaves = {name: x.requires_grad_() for name, x in t.items() if not name.startswith("dy")}
    weights, biases = ([t.get(f"{name}{i}") for i in range(num)] for name in ("weight", "bias"))
    with torch.autocast(t["x"].device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
        ys = function(t["x"], weights, biases)
    dys = [t[f"dy{i}"].to(y.dtype) for i, y in enumerate(ys)]
    gradients = torch.autograd.grad(ys, list(leaves.values()), dys)
    return {f"y{i}": y.detach() for i, y in enumerate(ys)} | {f"d{n}": g for n, g in zip(leaves, gradients)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("outs", "bias"), [((5,), False), ((5,), True), ((64, 32, 1), False), ((8, 3), True)])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_error_against_float64(shape, outs, bias, precision):
    tensors, num = draw(shape, outs, bias), len(outs)
    exact = run(tensors, plain, num, torch.float64)
    hold_error(run(tensors, linear, num, precision), run(tensors, plain, num, precision), exact)


def test_the_gradient_of_a_shared_input_is_rounded_once():
    """Three products added in bf16 would be off by up to two more roundings each."""
    tensors = draw((40, 96), (64, 64, 64), False)
    exact, once, each = (run(tensors, f, 3, p)["dx"].double() for f, p in [
        (plain, torch.float64), (linear, torch.bfloat16), (plain, torch.bfloat16)])  # fmt: skip
    assert (once - exact).norm() < 1.05 * (each - exact).norm()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_strides_broadcasts_and_scratch_change_no_bit(precision):
    tensors = draw((2, 6, 48), (16, 8), True)
    first = run(tensors, linear, 2, precision)
    views = {name: x.mT.contiguous().mT if x.ndim > 2 else x for name, x in tensors.items()}
    assert not views["x"].is_contiguous()
    others = [run(views, linear, 2, precision)]
    with poisoned_memory():
        others.append(run(tensors, linear, 2, precision))
    for other in others:
        assert_same_bits(other, first)
    wide = {name: x[:1].expand(2, -1, -1) if x.ndim == 3 else x for name, x in tensors.items()}
    again = {name: x.contiguous() for name, x in wide.items()}
    assert_same_bits(run(wide, linear, 2, precision), run(again, linear, 2, precision))


@pytest.mark.once
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_same_bits_200_times_under_load(precision):
    tensors = draw((3, 67, 96), (64, 33), True)
    hold_the_same_bits(lambda: run(tensors, linear, 2, precision))


def kept_bytes(run):
    """Memory that backward keeps, weights and the two inputs of the model apart."""
    found = {}

    def pack(tensor):
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = run()
    return sum(found.values()), y


def test_a_recipe_changes_no_bit_and_nothing_but_its_tensors_is_kept():
    g = torch.Generator().manual_seed(3)
    norm, layers = RMSNorm(64), [Linear(64, 64), Linear(64, 32)]
    down = Linear(64, 64)
    x = torch.randn(50, 64, generator=g).requires_grad_()
    dy = torch.randn(50, 64, generator=g)

    def run(recipes):
        with torch.autocast("cpu", torch.bfloat16):
            up, _ = project(layers, norm(x), norm.recipe(x) if recipes else None)
            hidden = Recipe(gelu, (up,))
            return add(x, down(gelu(up), hidden if recipes else None))

    leaves = [x, norm.weight, down.weight, *(layer.weight for layer in layers)]
    own = 4 * sum(leaf.numel() for leaf in leaves)
    (least, y), (most, z) = (kept_bytes(lambda recipes=recipes: run(recipes)) for recipes in (True, False))
    assert torch.equal(y, z)
    for a, b in zip(*(torch.autograd.grad(out, leaves, dy) for out in (y, z))):
        assert torch.equal(a, b)
    # up (50, 64) bf16 and rstd (50,); without recipes the norm (50, 64) and gelu (50, 64) in bf16 too
    assert least == own + 2 * 50 * 64 + 4 * 50
    assert most == least + 2 * 2 * 50 * 64


def test_without_a_gradient_it_is_torchs_linear():
    tensors = draw((3, 7), (5,), True)
    with torch.no_grad():
        (y,) = linear(tensors["x"], [tensors["weight0"]], [tensors["bias0"]])
    assert torch.equal(y, F.linear(tensors["x"], tensors["weight0"], tensors["bias0"]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sum_is_torchs(dtype):
    g = torch.Generator().manual_seed(5)
    x = torch.randn(30, 70, generator=g).to(dtype).requires_grad_()
    y = torch.randn(30, 70, generator=g).requires_grad_()
    dout = torch.randn(30, 70, generator=g)
    got, expected = add(x, y), x + y
    assert torch.equal(got, expected)
    for a, b in zip(*(torch.autograd.grad(out, (x, y), dout) for out in (got, expected))):
        assert torch.equal(a, b)


@pytest.mark.parametrize("shape", [(5,), (2, 3), (1,), (1, 1)])
def test_gradients_side_by_side_are_known_as_such_also_of_one_row(shape):
    """Of one row torch may give any stride of rows."""
    both = torch.zeros(*shape, 12)
    parts = [part.reshape(-1, part.shape[-1]) for part in both.split([4, 8], -1)]
    whole = len(parts[0]), 12
    assert _are_cut(parts, whole)
    assert not _are_cut(parts[::-1], whole)
    assert not _are_cut([parts[0], parts[1].clone()], whole)
    assert not _are_cut([parts[0], both.view(-1, 12)[:, 3:11]], whole)
    assert not _are_cut([parts[0], both.view(-1, 12).int()[:, 4:]], whole)
