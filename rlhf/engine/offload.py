"""Offloading: moves all tensors of an object from a device to host memory and back, in place.

It works on storages, the memory under tensors. A storage that is emptied and filled again is the
same storage, so whatever refers to it stays right: parameters that are views of DeepSpeed's flat
buffers, its partitions and fp32 masters, optimizer moments, gradients. Nothing here knows which
engine it offloads. On CPU the same steps copy from host memory to host memory, for tests.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import cast

import torch
from torch import Tensor

CHUNK_BYTES = 2**26
"""Pinned memory comes in powers of two; chunks of this size waste memory only in the last."""


@dataclass(frozen=True, slots=True)
class _Away:
    """One emptied storage, and the copy of its bytes."""

    storage: torch.UntypedStorage
    num_bytes: int
    chunks: list[Tensor]
    """On the host, uint8, in order."""


class Offloader:
    """Moves the tensors of one object between its device and host memory."""

    def __init__(self, holder: object, device: str) -> None:
        """Take charge of all tensors that can be reached from an object.

        Args:
            holder: An engine, or a role with its engine; it needs no code for it.
            device: cpu or cuda; tensors elsewhere stay where they are.
        """
        self._holder, self._device = holder, device
        self._away: list[_Away] | None = None

    @property
    def is_away(self) -> bool:
        """Whether the tensors are in host memory; using one then is an error, or a crash."""
        return self._away is not None

    def offload(self) -> int:
        """Copy every tensor to the host and free its memory; return the bytes freed now."""
        if self._away is not None:
            return 0
        storages = held_storages(self._holder, self._device)
        self._away = [_Away(s, s.nbytes(), _copied(s)) for s in storages]
        self._finish_copies()
        for away in self._away:
            away.storage.resize_(0)
        if self._device == "cuda":
            torch.cuda.empty_cache()  # other processes cannot use what is only cached here
        return sum(away.num_bytes for away in self._away)

    def onload(self) -> int:
        """Allocate the memory again and copy every tensor back; return the bytes taken now."""
        if self._away is None:
            return 0
        for away in self._away:
            away.storage.resize_(away.num_bytes)
            for place, chunk in zip(_chunks(away.storage), away.chunks, strict=True):
                place.copy_(chunk, non_blocking=True)
        self._finish_copies()
        taken, self._away = sum(away.num_bytes for away in self._away), None
        return taken

    def _finish_copies(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()


def held_storages(holder: object, device: str) -> list[torch.UntypedStorage]:
    """Return the storages on a device under all tensors that can be reached from an object.

    What cannot be resized is left out: memory of a mapped file, or of another library.
    """
    found: dict[int, torch.UntypedStorage] = {}
    for tensor in _tensors(holder):
        if tensor.layout is torch.strided and tensor.device.type == device:
            storage = tensor.untyped_storage()
            if storage.nbytes() and storage.resizable():
                found[storage.data_ptr()] = storage
    return list(found.values())


def _tensors(holder: object) -> Iterator[Tensor]:
    """Yield all tensors below an object, as the garbage collector sees it.

    Classes and modules are not entered, and of functions only what they close over: through their
    globals everything could be reached. A gradient hangs on its tensor outside of Python.
    """
    seen: set[int] = set()
    waiting: list[object] = [holder]
    while waiting:
        thing = waiting.pop()
        kind = type(thing)
        if id(thing) in seen or issubclass(kind, (type, ModuleType)):
            continue
        seen.add(id(thing))
        if kind is FunctionType:
            waiting.extend(cast("FunctionType", thing).__closure__ or ())
            continue
        # Not isinstance: it reads __class__ of proxies, which loads lazy modules.
        if issubclass(kind, Tensor):
            tensor = cast("Tensor", thing)
            yield tensor
            waiting.append(tensor.grad if tensor.is_leaf else None)
        waiting.extend(gc.get_referents(thing))


def _chunks(storage: torch.UntypedStorage) -> tuple[Tensor, ...]:
    whole = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
    return whole.split(CHUNK_BYTES)


def _copied(storage: torch.UntypedStorage) -> list[Tensor]:
    """Return a storage's bytes on the host; pinned where that makes the copies fast."""
    pinned = storage.device.type == "cuda"
    copies: list[Tensor] = []
    for chunk in _chunks(storage):
        copy = torch.empty(len(chunk), dtype=torch.uint8, pin_memory=pinned)
        copies.append(copy.copy_(chunk, non_blocking=True))
    return copies
