"""Which heads there are."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import UsageError
from .abmil import Abmil
from .alibi import AlibiTransformer
from .clam import Clam
from .dsmil import Dsmil
from .dtfd import Dtfd
from .heads import Head
from .multibranch import MultiBranchAbmil
from .plain_pools import MaxPool, MeanPool
from .spec import TrainSpec
from .tasks import build_task
from .transmil import TransMil

Build = Callable[[TrainSpec, int, int], Head]
"""A head with fresh weights, of a spec, the length of an embedding and the number of logits."""

BUILDERS: dict[str, Build] = {
    "mean": MeanPool,
    "max": MaxPool,
    "abmil": Abmil,
    "abmil-mb": MultiBranchAbmil,
    "clam-sb": lambda spec, dim, outputs: Clam(spec, dim, outputs, branches=1),
    "clam-mb": lambda spec, dim, outputs: Clam(spec, dim, outputs, branches=outputs),
    "dsmil": Dsmil,
    "transmil": TransMil,
    "dtfd": Dtfd,
    "alibi": AlibiTransformer,
}


def head_names() -> list[str]:
    """Names that `TrainSpec.head` accepts."""
    return list(BUILDERS)


def build_head(spec: TrainSpec, dim: int, classes: int) -> Head:
    """A head with fresh weights for embeddings of length `dim`, and the spec's task of so many classes.

    A head whose own loss tells classes apart has a logit for each, whatever the task reads of them.

    Raises:
        UsageError: no such head or task; the known ones are named.
    """
    if spec.head not in BUILDERS:
        raise UsageError(f"There is no head {spec.head!r}.", f"Known heads: {', '.join(BUILDERS)}.")
    task = build_task(spec.task, classes)
    head = BUILDERS[spec.head](spec, dim, task.outputs)
    if head.takes_classes_only and task.outputs != classes:
        head = BUILDERS[spec.head](spec, dim, classes)
    head.task = task
    return head
