"""Opening an input to plan or to show it happens in a process of its own, whatever the file does there."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from slidestream.cohort.apart import Answer, Question, answers
from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import find_inputs
from slidestream.cohort.ledger import read_entries
from slidestream.cohort.plan import UP_TO_DATE, Planner
from slidestream.cohort.run import RunOrder, run_cohort
from slidestream.errors import MissingExtra
from slidestream.features.encoder import card_of
from slidestream.tiling.spec import PatchSpec

HERE = Path(__file__).parent
NAMES = ["a-good", "bomb-open", "crash-open", "defect-open", "m-good", "stall-open", "z-good"]
CODES = {
    "bomb-open": "LIMIT",
    "crash-open": "DECODER_CRASH",
    "defect-open": "INTERNAL",
    "stall-open": "LIMIT",
}


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of misbehaving slides; child processes get this process's sys.path."""
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("hostile")


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


@pytest.fixture
def slides(tmp_path: Path, write_slide: Callable[..., Path], tissue_pixels: Callable[..., Any]) -> Path:
    folder = tmp_path / "slides"
    folder.mkdir()
    for seed, name in enumerate(NAMES):
        write_slide(folder / f"{name}.tiff", tissue_pixels(300, seed), 0.5)
    return folder


def ask(*questions: Question | None, **limits: Any) -> list[Answer]:
    told = list(answers(enumerate(questions), Execution(**{"readers": 2} | limits)))
    assert [tag for tag, _ in told] == list(range(len(questions)))
    return [answer for _, answer in told]


@pytest.mark.parametrize("readers", [0, 1, 3])
def test_answers_come_in_order_each_under_its_tag(readers: int) -> None:
    questions = [partial(divmod, n, 3) if n % 4 else None for n in range(20)]
    found = ask(*questions, readers=readers)
    assert [answer.value for answer in found] == [divmod(n, 3) if n % 4 else None for n in range(20)]


def test_they_are_found_in_other_processes_and_a_lost_one_is_replaced() -> None:
    first, lost, *rest = ask(os.getpid, os.abort, *[os.getpid] * 4)
    assert lost.error is not None
    assert (lost.error.code, "SIGABRT" in lost.error.cause) == ("DECODER_CRASH", True)
    assert os.getpid() not in {first.value, *(answer.value for answer in rest)}
    assert len({first.value, *(answer.value for answer in rest)}) == 2


def test_what_is_no_inputs_fault_is_raised(hostile: Any) -> None:
    with pytest.raises(MissingExtra):
        ask(hostile.raise_missing_extra)


def test_questions_left_unanswered_leave_no_process() -> None:
    asked = answers(((n, partial(divmod, n, 3)) for n in range(100)), Execution(readers=2))
    assert next(asked)[1].value == (0, 0)
    assert len(multiprocessing.active_children()) == 2
    asked.close()


@pytest.mark.usefixtures("mean_encoder")
def test_a_plan_survives_what_opening_a_file_does(slides: Path, tmp_path: Path, hostile: Any) -> None:
    inputs, config = find_inputs([slides]).inputs, RunConfig("mean", PatchSpec(64, 1.0))
    order = RunOrder(inputs, config, tmp_path / "run", Execution(readers=0))
    assert run_cohort(order, hostile.Silent()).failures == []
    limits = Execution(readers=2, timeout=4, memory_gb=2)
    card = card_of("mean")
    planner = Planner(order.run, config, card, read_entries(order.run), limits, hostile.open_hostile)
    reasons = {step.input.slide_id: step.reason for step in planner.steps(inputs)}
    assert reasons == {
        name: f"its file no longer opens ({CODES[name]})" if name in CODES else UP_TO_DATE for name in NAMES
    }


def test_info_survives_it_too(
    slides: Path, hostile: Any, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Any]
) -> None:
    monkeypatch.setattr("slidestream.cohort.job.open_source", hostile.open_hostile)
    for name in NAMES[3:]:
        (slides / f"{name}.tiff").unlink()
    ended = cli("info", slides, "--json", "--phi", "--timeout", "20", "--reader-memory", "2")
    facts = {fact["slide_id"]: fact for fact in json.loads(ended.out)["inputs"]}
    assert ended.code == 3
    assert {name: fact.get("code", "") for name, fact in facts.items()} == {
        "a-good": "",
        "bomb-open": "LIMIT",
        "crash-open": "DECODER_CRASH",
    }
    assert all("identifying" in fact for fact in facts.values())
    assert facts["a-good"]["size"] == [300, 300]
