import sys
from types import ModuleType

import pytest
import torch
from crafters.host.progress import cancellable


class CancelledError(Exception):
    pass


@pytest.fixture
def host(monkeypatch):
    host = ModuleType("comfy.model_management")
    host.asked, host.cancel_at = 0, None

    def ask():
        host.asked += 1
        if host.asked == host.cancel_at:
            raise CancelledError

    host.throw_exception_if_processing_interrupted = ask
    monkeypatch.setitem(sys.modules, "comfy.model_management", host)
    return host


def test_a_cancel_is_heard_between_the_layers_of_one_call(host):
    ran = []
    layers = [torch.nn.Linear(2, 2) for _ in range(9)]
    for number, layer in enumerate(layers):
        layer.register_forward_hook(lambda *_, number=number: ran.append(number))
    network, host.cancel_at = torch.nn.Sequential(*layers), 5
    with pytest.raises(CancelledError), cancellable():
        network(torch.zeros(1, 2))
    assert ran == [0, 1, 2]  # the fourth question is the network's own, the fifth of its fourth layer
    asked = host.asked
    network(torch.zeros(1, 2))
    assert host.asked == asked  # nothing is left behind


def test_without_comfyui_nothing_is_asked(monkeypatch):
    monkeypatch.delitem(sys.modules, "comfy.model_management", raising=False)
    with cancellable():
        torch.nn.Linear(2, 2)(torch.zeros(1, 2))
