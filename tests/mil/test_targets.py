"""`train`, `predict` and `evaluate` for targets other than one column of classes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import mean_absolute_error, r2_score, roc_auc_score

from slidestream.cli.rows import brief
from slidestream.features.layout import store_path
from slidestream.features.store import open_store
from slidestream.mil.artifact import load_head
from slidestream.mil.explain import explain
from slidestream.mil.predict import predict_store
from slidestream.mil.spec import TrainSpec
from slidestream.mil.survival_metrics import concordance
from slidestream.mil.target import Target
from slidestream.mil.train import train
from slidestream.table import write_table

Cli = Callable[..., Any]
TARGETS = ["grade:link", "age:regression", "er+pr:labels", "time:cox:dead", "relapse:hazard:back"]
COLUMNS = ["grade", "age", "er", "pr", "time", "dead", "relapse", "back"]
SLIDES = 48


@pytest.fixture(scope="module")
def cohort(write_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of 48 slides, and labels of which a fifth are not known.

    The mean of a bag says everything; `unknown` is a slide of which nothing is known.
    """
    random, folder = np.random.default_rng(0), tmp_path_factory.mktemp("targets")
    lines = [",".join(["slide", "patient", *COLUMNS, "site"])]
    for number in range(SLIDES):
        hidden = random.normal(size=4)
        times, lost = random.exponential(np.exp(-3 * hidden[2:])), random.exponential(4, 2)
        known = [
            str(np.digitize(hidden[0], [-0.4, 0.4]) + 1),
            f"{60 + 10 * hidden[1]:.2f}",
            *(str(int(hidden[0] > cut)) for cut in (0, 0.5)),
            *(
                text
                for t, c in zip(times, lost, strict=True)
                for text in (f"{min(t, c):.4f}", str(int(t <= c)))
            ),
        ]
        x = random.normal(size=(12, 8)) / 2
        x[:, :4] += hidden
        write_store(folder / "run", f"s{number:02}", x.astype(np.float32))
        cells = [text if random.random() > 0.2 else "" for text in known]
        lines.append(",".join([f"s{number:02}", f"p{number}", *cells, "AB"[number % 2]]))
    write_store(folder / "run", "unknown", np.ones((3, 8), np.float32))
    lines.append(",".join(["unknown", "q", *[""] * len(COLUMNS), "A"]))
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trained(cohort: Path) -> dict[str, Any]:
    """The metrics of five targets at once."""
    targets = tuple(map(Target.parse, TARGETS))
    spec = TrainSpec(head="mean", targets=targets, folds=3, epochs=20, lr=1e-2, hidden=32, bootstrap=20)
    return train(cohort / "run", cohort / "labels.csv", cohort / "head", spec).metrics


def test_five_targets_of_one_head_are_trained_and_judged(cohort: Path, trained: dict[str, Any]) -> None:
    metrics, probe = trained["head"], trained["linear_probe"]
    assert trained["left_out"]["without_label"] == ["unknown"]
    assert trained["slides"] == SLIDES
    for name, least in (
        ("grade.quadratic_kappa", 0.4),
        ("age.r2", 0.4),
        ("er+pr.macro_auroc", 0.8),
        ("time.c_index", 0.7),
        ("relapse.c_index", 0.58),
    ):
        assert metrics[name]["value"] > least, name
        assert probe[name]["value"] > least, name
    assert metrics["time.integrated_brier"]["value"] < 0.25
    rows = read(cohort / "head/predictions.csv")
    known = [row for row in rows if row["age"]]
    truth, found = ([float(row[name]) for row in known] for name in ("age", "age.predicted"))
    assert metrics["age.r2"]["value"] == pytest.approx(r2_score(truth, found))
    assert metrics["age.mae"]["value"] == pytest.approx(mean_absolute_error(truth, found))
    known = [row for row in rows if row["er"]]
    auroc = roc_auc_score([row["er"] == "1" for row in known], [float(row["er+pr.p_er"]) for row in known])
    assert metrics["er+pr.auroc_er"]["value"] == pytest.approx(auroc)
    known = [row for row in rows if row["time"] and row["dead"]]
    columns = [np.array([float(row[name]) for row in known]) for name in ("time", "dead", "time.risk")]
    expected = concordance(columns[0], columns[1] == 1, columns[2])
    assert metrics["time.c_index"]["value"] == pytest.approx(expected, abs=1e-9)


def test_predictions_of_a_loaded_head_are_those_of_training(
    cohort: Path, trained: dict[str, Any], cli: Cli, tmp_path: Path
) -> None:
    arguments = ("predict", cohort / "run", "--head", cohort / "head", "--out-of-fold", "--error-rate", "0.2")
    ended = cli(*arguments, "-o", tmp_path / "p.csv")
    assert ended.code == 0, ended.err
    found = {row["slide"]: row for row in read(tmp_path / "p.csv")}
    for row in read(cohort / "head/predictions.csv"):
        own = found[row["slide"]]
        assert own["grade.predicted"] == row["grade.predicted"]
        for name in row:
            if "." in name and name != "grade.predicted":
                assert float(own[name]) == pytest.approx(float(row[name]), rel=1e-5, abs=1e-7), name
        low, high = float(own["age.low"]), float(own["age.high"])
        assert low < float(own["age.predicted"]) < high
        assert own["grade.predicted"] in own["grade.set"].split("|")
    assert "unknown" in found


@pytest.mark.usefixtures("trained")
def test_what_too_few_slides_cannot_promise_is_said(cohort: Path, cli: Cli) -> None:
    asked = ("predict", cohort / "run", "--head", cohort / "head", "--error-rate", "0.001")
    ended = cli(*asked, "--json")
    rows = read(cohort / "head/predictions.csv")
    for known in {sum(bool(row[name]) for row in rows) for name in ("age", "grade")}:
        said = f"{known} slides out of fold are too few to promise an error rate of 0.001"
        assert ended.err.count(said) == 1
    assert "Infinity" not in ended.out
    for row in json.loads(ended.out)["predictions"]:
        assert (row["age.low"], row["age.high"], row["grade.abstain"]) == (None, None, "yes")
    shown = brief(list(json.loads(ended.out)["predictions"][0]))
    assert {"slide", "grade.predicted", "grade.set", "age.low", "time.risk", "familiarity"} < set(shown)
    assert not [name for name in shown if ".sd" in name or ".p_" in name or ".s_" in name]
    assert brief(["slide", "predicted", "p_a", "sd_a", "p_b", "sd_b"]) == ["slide", "predicted", "p_a", "p_b"]


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("option", [("--set-score", "aps"), ("--per-class",), ("--largest-set", "2")])
def test_options_of_sets_need_an_error_rate(cohort: Path, cli: Cli, option: tuple[str, ...]) -> None:
    ended = cli("predict", cohort / "run", "--head", cohort / "head", *option)
    assert (ended.code, "Add --error-rate" in ended.err) == (2, True)


def test_every_target_is_evaluated_with_its_figures(
    cohort: Path, trained: dict[str, Any], cli: Cli, tmp_path: Path
) -> None:
    ended = cli(
        *("evaluate", cohort / "head", "--labels", cohort / "labels.csv", "--by", "site", "-o", tmp_path),
        *("--resamples", "20", "--against", cohort / "head", "--json"),
    )
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)["targets"]
    metrics = trained["head"]
    assert list(told) == ["grade", "age", "er+pr", "time", "relapse"]
    for name, found in told.items():
        for metric, value in found["metrics"].items():
            assert value["value"] == pytest.approx(metrics[f"{name}.{metric}"]["value"], rel=1e-6), metric
        assert all(d["value"] == 0 for d in found["against"]["head"].values())
        assert [group["value"] for group in found["groups"]["site"]["groups"]] == ["A", "B"]
        assert found["groups"]["site"]["gaps"]
    assert told["time"]["log_rank"]["2 groups"] < 0.05
    assert set(told["time"]["log_rank"]) == {"2 groups", "3 groups"}
    page = (tmp_path / "report.html").read_text()
    names = [
        "grade-roc",
        "age-scatter",
        "er+pr-roc",
        "time-kaplan-meier",
        "time-kaplan-meier-thirds",
        "time-brier",
    ]
    for name in (*names, "relapse-kaplan-meier"):
        assert min(Image.open(tmp_path / f"{name}.png").size) > 300
        assert (tmp_path / f"{name}.svg").read_text().startswith("<?xml")
    assert page.count("<svg") == 4 + 1 + 2 + 3 + 3
    assert "log-rank p" in page


def test_one_target_of_a_table_is_evaluated_by_what_it_is(
    cohort: Path, trained: dict[str, Any], cli: Cli, tmp_path: Path
) -> None:
    cli("predict", cohort / "run", "--head", cohort / "head", "--out-of-fold", "-o", tmp_path / "p.csv")
    common = (
        "evaluate",
        tmp_path / "p.csv",
        "--labels",
        cohort / "labels.csv",
        "--resamples",
        "20",
        "--json",
    )
    for target, metric in (
        ("time:cox:dead", "c_index"),
        ("age:regression", "r2"),
        ("grade", "quadratic_kappa"),
    ):
        ended = cli(*common, "--target", target)
        assert ended.code == 0, ended.err
        told, name = json.loads(ended.out), target.split(":", maxsplit=1)[0]
        assert told["target"] == name
        expected = trained["head"][f"{name}.{metric}"]["value"]
        assert told["metrics"][metric]["value"] == pytest.approx(expected, rel=1e-6)
        assert told["without_label"] > 0
    ended = cli(*common[:-1], "--target", "relapse:hazard:back")
    assert ended.code == 0, ended.err
    assert "2 groups by predicted risk: log-rank p" in ended.out
    ended = cli(*common, "--target", "weight:regression")
    assert ended.code == 2
    assert "no column weight" in ended.err
    ended = cli(*common)
    assert ended.code == 2
    assert "no column label" in ended.err


def test_a_single_target_has_columns_without_its_name(cohort: Path, cli: Cli, tmp_path: Path) -> None:
    common = ("--labels", cohort / "labels.csv", "--head", "mean", "--folds", "2", "--epochs", "2", "--json")
    for target, columns in (
        ("age:regression", ["age", "fold", "predicted"]),
        ("er+pr:labels", ["er", "pr", "fold", "p_er", "p_pr"]),
    ):
        out = tmp_path / target
        ended = cli("train", cohort / "run", *common, "-o", out, "--target", target)
        assert ended.code == 0, ended.err
        assert list(read(out / "predictions.csv")[0]) == ["slide", "patient", *columns]
        ended = cli("evaluate", out, "--resamples", "10")
        assert ended.code == 0, ended.err
        ended = cli("heatmap", cohort / "run", "--head", out, "-o", tmp_path / "maps", "--slide", "s00")
        assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "age:regression", "--head", "clam-sb"], "it takes one target, with classes"),
        (["--target", "time:cox"], "time:cox:EVENT"),
        (["--target", "age:regression", "--target", "age:regression"], "Two targets are called age"),
        (["--target", "age:regression", "--task", "corn"], "--target NAME:TASK"),
        (["--target", "age:regression", "--imbalance", "sampled"], "drawn by their class"),
        (["--target", "site:regression"], "The site 'A' of slide s00 is no number"),
    ],
)
def test_what_cannot_be_trained_says_why(
    cohort: Path, cli: Cli, tmp_path: Path, arguments: list[str], said: str
) -> None:
    ended = cli(
        *("train", cohort / "run", "--labels", cohort / "labels.csv", "-o", tmp_path / "head", *arguments)
    )
    assert ended.code == 2
    assert said in ended.err
    assert not (tmp_path / "head").exists()


@pytest.mark.parametrize("method", ["attention", "perturbation", "single", "gradients"])
@pytest.mark.parametrize("target", ["time:cox:dead", "relapse:hazard:back", "er+pr:labels"])
def test_what_speaks_for_more_is_explained(cohort: Path, tmp_path: Path, target: str, method: str) -> None:
    """By an attention head whose first target is no class; slides are flipped by the answer itself."""
    targets = (Target.parse(target), Target("grade"))
    spec = TrainSpec(head="dsmil", targets=targets, folds=2, epochs=1, bootstrap=2, hidden=8, attention=4)
    train(cohort / "run", cohort / "labels.csv", tmp_path / "head", spec)
    head, store = load_head(tmp_path / "head"), open_store(store_path(cohort / "run", "s00"))
    prediction = predict_store(head, store)
    assert np.nansum(prediction.attention) == pytest.approx(1, abs=1e-4)
    found = explain(head, store, prediction, method)
    assert np.isfinite(found.relevance).all()
    assert found.flipping is not None
    first = prediction.answers[0]
    assert found.flipping.most_first[0] == pytest.approx(first.strength(first.mean), abs=1e-6)


def test_patients_are_predicted_as_one_bag(cohort: Path, cli: Cli, tmp_path: Path) -> None:
    rows = read(cohort / "labels.csv")[:SLIDES]
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        second |= {name: cell for name, cell in first.items() if name != "slide"}
    write_table(tmp_path / "labels.csv", list(rows[0]), [list(row.values()) for row in rows])
    ended = cli(
        *("train", cohort / "run", "--labels", tmp_path / "labels.csv", "-o", tmp_path / "head"),
        *("--bag", "patient", "--head", "mean", "--folds", "2", "--epochs", "2", "--target", "time:cox:dead"),
    )
    assert ended.code == 0, ended.err
    written = {row["patient"]: row for row in read(tmp_path / "head/predictions.csv")}
    known = [row for row in rows if row["patient"] in written]
    write_table(tmp_path / "known.csv", list(rows[0]), [list(row.values()) for row in known])
    ended = cli(
        *("predict", cohort / "run", "--head", tmp_path / "head", "--patients", tmp_path / "known.csv"),
        *("--out-of-fold", "-o", tmp_path / "p.csv"),
    )
    assert ended.code == 0, ended.err
    for row in read(tmp_path / "p.csv"):
        assert row["slides"] == written[row["patient"]]["slides"]
        assert float(row["risk"]) == pytest.approx(float(written[row["patient"]]["risk"]), rel=1e-5)
