"""How thinc saves, loads and updates the encoder."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from spacy_transformers.layers.hf_shim import HFShim
from thinc.api import Optimizer
from thinc.types import ArgsKwargs
from thinc.util import xp2torch

from gmb_ner.pipeline.torch_encoder import Encoder


class EncoderShim(HFShim):
    """Saves and loads an `Encoder` as spacy-transformers does, and updates it in one fused step.

    thinc's optimizers take one parameter after the other; on a CPU that can last as long as a
    third of the training.

    learn_rate_factor: of the optimizer's learning rate.
    """

    learn_rate_factor = 1.0
    _stepped: tuple[Optimizer, Encoder] | None = None
    _embeddings_gradient: torch.Tensor | None = None

    def predict(self, inputs: ArgsKwargs) -> Any:
        """Read without gradients; as thinc's, but the encoder stays in evaluation mode.

        thinc sets each of its modules there and back for every batch, which took some 7 % of what
        prediction is beside the encoder (cProfile). `begin_update` sets them to training.
        """
        if self._model.training:
            self._model.eval()
        with torch.no_grad():
            return self._model(*inputs.args, **inputs.kwargs)

    def finish_update(self, optimizer: Optimizer) -> None:
        """Take a step with the settings of a thinc optimizer: Adam(W), or as thinc would."""
        with self._dense_gradients():
            self._step(optimizer)

    @contextmanager
    def _dense_gradients(self) -> Iterator[None]:
        """Give input embeddings whose gradient is sparse a dense one for as long as a step lasts.

        It has the same memory each time, of which only the rows of a batch's pieces are written:
        new zeros for the whole vocabulary took a sixth of Study B's updates (torch's profiler).
        """
        weight = next((p for p in self._model.parameters() if _has_sparse_gradient(p)), None)
        if weight is None or weight.grad is None:
            yield
            return
        gradient = weight.grad.coalesce()
        (rows,) = gradient.indices()
        dense = self._embeddings_gradient
        if dense is None or dense.shape != weight.shape:
            dense = self._embeddings_gradient = torch.zeros_like(weight)
        weight.grad = dense.index_copy_(0, rows, gradient.values())
        try:
            yield
        finally:
            weight.grad = None
            dense.index_fill_(0, rows, 0.0)

    def _step(self, optimizer: Optimizer) -> None:
        if optimizer.use_radam or not (optimizer.b1 > 0 and optimizer.b2 > 0):
            # Not by `lr_scale`, which thinc's RAdam does not heed.
            rate = optimizer.learn_rate
            optimizer.learn_rate = rate * self.learn_rate_factor
            super().finish_update(optimizer)
            optimizer.learn_rate = rate
            return
        parameters = [p for p in self._model.parameters() if p.grad is not None]
        if not parameters:
            return
        if optimizer.grad_clip:
            torch.nn.utils.clip_grad_norm_(parameters, optimizer.grad_clip)
        # Moments belong to one training of one encoder: another begins with new ones.
        if self._stepped != (optimizer, self._model):
            kind = torch.optim.AdamW if optimizer.L2_is_weight_decay else torch.optim.Adam
            self._steps = kind(self._model.parameters(), fused=True)
            self._stepped = (optimizer, self._model)
        for group in self._steps.param_groups:
            group["lr"] = optimizer.learn_rate * self.learn_rate_factor
            group["betas"] = (optimizer.b1, optimizer.b2)
            group["eps"] = optimizer.eps
            group["weight_decay"] = optimizer.L2
        self._steps.step()
        self._steps.zero_grad()
        if optimizer.averages is not None:
            self._average(optimizer.averages, parameters)

    def _average(self, averages: dict[Any, Any], parameters: list[torch.nn.Parameter]) -> None:
        """Bring the moving averages of parameters up to date, by the rule of thinc's own."""
        names = {id(p): name for name, p in self._model.named_parameters()}
        keys = [(self.id, names[id(p)]) for p in parameters]
        for key, p in zip(keys, parameters, strict=True):
            # thinc's begin with 0, and so count less than they should for some steps.
            averages.setdefault(key, p.detach().clone())
        updates = self._steps.state[parameters[0]]["step"].item()
        newest: list[torch.Tensor] = list(parameters)
        with torch.no_grad():
            torch._foreach_lerp_([averages[key] for key in keys], newest, 9 / (10 + updates))

    @contextmanager
    def use_params(self, params: dict[Any, Any]) -> Iterator[None]:
        """Take averaged parameters for as long as the block lasts."""
        # thinc's own looks for keys that its optimizers do not write.
        own = {n: p for n, p in self._model.named_parameters() if (self.id, n) in params}
        before = {name: p.detach().clone() for name, p in own.items()}
        try:
            with torch.no_grad():
                for name, p in own.items():
                    average = params[self.id, name]
                    # thinc keeps arrays, our own steps tensors.
                    is_tensor = isinstance(average, torch.Tensor)
                    p.copy_(average if is_tensor else xp2torch(average, device=p.device))
            yield
        finally:
            with torch.no_grad():
                for name, p in own.items():
                    p.copy_(before[name])


def _has_sparse_gradient(parameter: torch.nn.Parameter) -> bool:
    return parameter.grad is not None and parameter.grad.is_sparse
