"""A shell has a module's structure and none of its weights, until they are lent to it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rlhf.engine.shell import empty_copy, set_parameter

torch.set_num_threads(1)


class Tied(nn.Module):
    """An embedding and an output that share one weight, a norm, dropout, and a buffer."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.norm = nn.LayerNorm(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.tensor(3.0))

    def forward(self, tokens_T):
        return self.head(self.drop(self.norm(self.embed(tokens_T)))) * self.scale


@pytest.fixture
def module():
    torch.manual_seed(0)
    return Tied().train()


def test_the_copy_has_names_and_buffers_but_no_weights(module):
    shell = empty_copy(module)
    names = [name for name, _ in module.named_parameters()]
    assert [name for name, _ in shell.named_parameters()] == names
    assert all(p.is_meta and p.numel() == 0 for p in shell.parameters())
    assert not any(p.requires_grad for p in shell.parameters())
    assert shell.scale.item() == 3.0
    assert shell.head.weight is shell.embed.weight
    assert not shell.training


def test_the_original_is_untouched(module):
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    empty_copy(module)
    assert module.training
    for name, parameter in module.named_parameters():
        assert parameter.requires_grad
        assert torch.equal(parameter, before[name])


def test_a_filled_shell_computes_as_the_original_does(module):
    shell = empty_copy(module)
    for name, parameter in module.named_parameters():
        set_parameter(shell, name, parameter.data)
    assert shell.head.weight is shell.embed.weight
    assert shell.embed.weight.data_ptr() == module.embed.weight.data_ptr(), "weights are not copied"
    tokens_T = torch.arange(7)
    assert torch.equal(shell(tokens_T), module.eval()(tokens_T))
    assert not shell(tokens_T).requires_grad
