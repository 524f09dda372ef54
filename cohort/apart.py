"""Questions about inputs, answered in processes of their own: a file that ends its decoder costs itself."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, TypeVar

from ..errors import EnvironmentProblem, InputError, SlidestreamError
from .child import Child, Ready, confine, may_have_children, talk_or_end
from .config import Execution
from .failure import coded

Question = Callable[[], Any]
"""A function of a module with its arguments bound, as `functools.partial` does; it travels to a process."""

Tag = TypeVar("Tag")


@dataclass(frozen=True)
class Answer:
    """What a question returned, or the error it ended with. `usable`: the process can be asked again."""

    value: Any = None
    error: SlidestreamError | None = None
    usable: bool = True


def answers(
    asked: Iterable[tuple[Tag, Question | None]], limits: Execution
) -> Generator[tuple[Tag, Answer], None, None]:
    """Each question's answer, in order, under the tag it came with; None is a question for nobody.

    Questions are taken a few ahead, so that the processes work side by side. Without reader processes
    (`limits.readers` is 0, or this process may have none) they are answered here.

    Raises:
        EnvironmentProblem: a question ended with it, or no process starts.
    """
    if limits.readers and may_have_children():
        yield from _answered_apart(asked, limits)
        return
    for tag, question in asked:
        yield tag, _inputs_fault(_answer(question)) if question else Answer()


def _answered_apart(
    asked: Iterable[tuple[Tag, Question | None]], limits: Execution
) -> Iterator[tuple[Tag, Answer]]:
    answerers = [_Answerer(limits) for _ in range(limits.readers)]
    waiting: deque[tuple[Tag, _Answerer | None]] = deque()
    turns = itertools.cycle(answerers)
    try:
        for tag, question in asked:
            turn = next(turns) if question else None
            while turn and turn.busy:
                yield _heard(*waiting.popleft())
            if turn and question:
                turn.ask(question)
            waiting.append((tag, turn))
            if len(waiting) == 1 and turn is None:
                yield _heard(*waiting.popleft())
        while waiting:
            yield _heard(*waiting.popleft())
    finally:
        for answerer in answerers:
            answerer.stop()


def _heard(tag: Tag, answerer: _Answerer | None) -> tuple[Tag, Answer]:
    return tag, _inputs_fault(answerer.hear()) if answerer else Answer()


class _Answerer:
    """A process that is asked one question at a time; it is replaced when it is lost."""

    def __init__(self, limits: Execution) -> None:
        self._child = Child(limits, serve)
        self.busy = False

    def ask(self, question: Question) -> None:
        if not self._child.runs:
            self._child.start()
        self._child.tell(question)
        self.busy = True

    def hear(self) -> Answer:
        self.busy = False
        try:
            answer: Answer = self._child.hear()
        except InputError as error:
            answer = Answer(error=error, usable=False)
        if not answer.usable:
            self.stop()
        return answer

    def stop(self) -> None:
        self._child.stop()


def _inputs_fault(answer: Answer) -> Answer:
    if isinstance(answer.error, EnvironmentProblem):
        raise answer.error
    return answer


def serve(pipe: Connection, memory: int) -> None:
    """Answer question after question until the parent is gone. What a child runs."""
    confine(memory)
    questions: SimpleQueue[Question] = SimpleQueue()

    def listen(pipe: Connection) -> None:
        while True:
            questions.put(pipe.recv())

    threading.Thread(target=talk_or_end, args=(listen, pipe), daemon=True).start()
    pipe.send(Ready())
    while True:
        pipe.send(_answer(questions.get()))


def _answer(question: Question) -> Answer:
    try:
        return Answer(question())
    except Exception as error:  # noqa: BLE001 - one bad input costs one input
        return Answer(error=coded(error), usable=not isinstance(error, MemoryError))
