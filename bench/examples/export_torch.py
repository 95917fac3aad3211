"""Networks of PyTorch for export_vae.py (see there).

    torch_network(vae.decoder)                                 # an nn.Sequential of Linear and activations
    torch_network([vae.body, vae.mean, vae.log_variance])      # an encoder of a body and two heads

Taken are Linear, ReLU, Tanh, GELU (both kinds), Softplus, Sigmoid and SiLU, in Sequentials nested as they may be, in
eval mode. Anything else is refused by its name and place.
"""

import copy
import functools

import numpy as np
from export_vae import Densities, ExportError, network


def torch_network(module, name="network"):
    """The Network of an nn.Sequential of Linear and activations in eval mode, on any device and in any precision; or of
    [body, head, head]: Linear layers on one body, whose outputs are put side by side."""
    import torch

    parts = list(module) if isinstance(module, list | tuple) else [module]
    flat = [_flat(part, name if len(parts) == 1 else f"{name}[{i}]") for i, part in enumerate(parts)]
    if any(len(head) != 1 or type(head[0][1]) is not torch.nn.Linear for head in flat[1:]):
        raise ExportError(f"{name}: each part after the body must be one Linear layer, a head")
    exact = [copy.deepcopy(part).to(device="cpu", dtype=torch.float64) for part in parts]

    body = [layer for _, layer in flat[0]]
    layers = [_torch_layer(where, layer) for where, layer in flat[0]]
    linears = [_torch_linear(layer) for layer in body if type(layer) is torch.nn.Linear]
    if heads := [_torch_linear(head[0][1]) for head in flat[1:]]:
        layers.append("linear")
        linears.append(tuple(np.concatenate(one) for one in zip(*heads, strict=True)))
    without = exact
    if layers[-1:] == ["sigmoid"]:
        without = [torch.nn.Sequential(*[layer for _, layer in _flat(exact[0], name)][:-1])]

    def outputs(modules, values):
        with torch.no_grad():
            out = modules[0](torch.as_tensor(values, dtype=torch.float64))
            return (torch.cat([head(out) for head in modules[1:]], -1) if heads else out).numpy()

    dtypes = [parameter.dtype for part in parts for parameter in part.parameters()]
    forward, logits = (functools.partial(outputs, modules) for modules in (exact, without))
    return network(name, layers, linears, dtypes, forward, logits, _torch_densities())


def _flat(module, where):
    """The layers of nested Sequentials with their places, Identity left out."""
    import torch

    if module.training:
        raise ExportError(f"{where} is in train mode; call .eval() on the model before it is exported")
    if module._forward_hooks or module._forward_pre_hooks:
        raise ExportError(f"{where} has hooks that change what it computes; remove them (remove_weight_norm, for one)")
    if type(module) is torch.nn.Sequential:
        return [one for name, child in module._modules.items() for one in _flat(child, f"{where}.{name}")]
    return [] if type(module) is torch.nn.Identity else [(where, module)]


def _torch_layer(where, layer):
    """Its name, or an ExportError that says what to do instead."""
    from torch import nn

    simple = {nn.Linear: "linear", nn.ReLU: "relu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid", nn.SiLU: "silu"}
    kind = type(layer)
    if kind in simple:
        return simple[kind]
    if kind is nn.GELU:
        return {"none": "gelu", "tanh": "gelu_tanh"}[layer.approximate]
    if kind is nn.Softplus:
        if (layer.beta, layer.threshold) != (1, 20):
            raise ExportError(f"{where} is {layer}; allowed is Softplus(beta=1, threshold=20): train with that one")
        return "softplus"
    advice = "build the network of those"
    if "Dropout" in kind.__name__:
        advice = "leave it out of the exported Sequential: in use it does nothing"
    if "BatchNorm" in kind.__name__:
        advice = "fold it into the Linear layer before it (torch.nn.utils.fusion.fuse_linear_bn_eval)"
    allowed = "Sequential, Linear, ReLU, Tanh, GELU, Softplus, Sigmoid, SiLU"
    raise ExportError(f"{where} is {kind.__name__}, which cannot be exported; allowed are {allowed}: {advice}")


def _torch_linear(layer):
    """Weight and bias as float64 arrays of their own: no gradient, no device, no memory shared with another layer."""
    weight = layer.weight.detach().cpu().double().numpy().copy()
    bias = np.zeros(len(weight)) if layer.bias is None else layer.bias.detach().cpu().double().numpy().copy()
    return weight, bias


def _torch_densities():
    import torch
    from torch import distributions

    def bernoulli(x, logits):
        return distributions.Bernoulli(logits=torch.as_tensor(logits)).log_prob(torch.as_tensor(x)).numpy()

    def normal(x, mean, scale):
        return distributions.Normal(torch.as_tensor(mean), torch.as_tensor(scale)).log_prob(torch.as_tensor(x)).numpy()

    return Densities(bernoulli, normal)
