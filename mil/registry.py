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
from .joint import Joint
from .multibranch import MultiBranchAbmil
from .outcomes import Outcome
from .plain_pools import MaxPool, MeanPool
from .spec import TrainSpec
from .tasks import ClassTask, build_task
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
    return _of_classes(spec, dim, build_task(spec.task, classes))


def head_for(spec: TrainSpec, dim: int, outcomes: tuple[Outcome, ...]) -> Head:
    """A head with fresh weights for embeddings of length `dim` and any targets.

    Raises:
        UsageError: no such head, or one whose own loss needs classes meets other targets.
    """
    first = outcomes[0]
    if len(outcomes) == 1 and first.target.has_classes:
        return _of_classes(spec, dim, build_task(first.target.task, len(first.names)))
    task = Joint(outcomes)
    head = _builder(spec)(spec, dim, task.outputs)
    if head.takes_classes_only:
        raise UsageError(
            f"Head {spec.head} learns from patches of each class: it takes one target, with classes.",
            "Choose another head, such as abmil, or another target.",
        )
    head.task = task
    return head


def _of_classes(spec: TrainSpec, dim: int, task: ClassTask) -> Head:
    head = _builder(spec)(spec, dim, task.outputs)
    if head.takes_classes_only and task.outputs != task.classes:
        head = _builder(spec)(spec, dim, task.classes)
    head.task = task
    return head


def _builder(spec: TrainSpec) -> Build:
    if spec.head not in BUILDERS:
        raise UsageError(f"There is no head {spec.head!r}.", f"Known heads: {', '.join(BUILDERS)}.")
    return BUILDERS[spec.head]
