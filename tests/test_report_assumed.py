"""What was guessed about a file of weights stands over every table of figures made with it."""

import csv
import json
import re
from dataclasses import replace

import pytest
from report_records import AMX, SCENE15, WEIGHTS, evaluation, full_run, identity, pair

from indoor.records import EvaluationReport, to_json
from indoor.report import render, render_evaluation

CLAUSES = {
    "no classes": ("names no classes: taken to be the data set's 15, in sorted order",),
    "no mean and std": ("says no mean and std: ImageNet's",),
    "no std": ("says no std: ImageNet's", "says no input size: the whole photograph at 224 x 224"),
    "numbered": ("names no classes: its 15 outputs are numbered from 0",),
    "subnormal": ("12,345 of 23.5 million weights are subnormal, which slows float32 down",),
    "random": ("began at random: its accuracies say nothing of weights that were trained",),
    "markdown's own signs": ("has a|b_c*d beside the network: no part of it",),
}


def plain(text: str) -> str:
    """The words alone, however they were wrapped, ruled and escaped."""
    return re.sub(r"[\s|\\│]+", "", text)


@pytest.mark.parametrize("clauses", CLAUSES.values(), ids=CLAUSES.keys())
@pytest.mark.parametrize("output_format", ["table", "markdown"])
def test_every_table_of_a_run_has_it(clauses: tuple[str, ...], output_format: str) -> None:
    """It stands on top and over each further table, since a table is quoted alone."""
    run = full_run(AMX, weights=replace(WEIGHTS, assumed=clauses))
    text = plain(render([run], format=output_format))  # type: ignore[arg-type]
    without = plain(render([full_run(AMX)], format=output_format))  # type: ignore[arg-type]
    over_tables = without.count("weightsscene15_resnet50.pt")
    assert over_tables >= 3
    for clause in clauses:
        assert text.count(plain(clause)) >= over_tables


@pytest.mark.parametrize("clauses", CLAUSES.values(), ids=CLAUSES.keys())
def test_json_and_csv_have_it(clauses: tuple[str, ...]) -> None:
    """The caption in JSON, and a column of each row in CSV."""
    run = full_run(AMX, weights=replace(WEIGHTS, assumed=clauses))
    (record,) = json.loads(render([run], format="json"))["runs"]
    rows = list(csv.DictReader(render([run], format="csv").splitlines()))
    for clause in clauses:
        assert clause in record["caption"]["assumed"]
        assert all(clause in row["weights_assumed"] for row in rows)


@pytest.mark.parametrize("clauses", CLAUSES.values(), ids=CLAUSES.keys())
def test_an_evaluation_has_it(clauses: tuple[str, ...]) -> None:
    """In the text above the table, and in the record."""
    report = EvaluationReport(
        data=SCENE15,
        weights=replace(WEIGHTS, assumed=clauses),
        preprocessing=identity().preprocessing,
        checkpoint_sha256={"float32": "f3" * 32},
        cpu_model=AMX.cpu_model,
        torch_version=AMX.torch,
        evaluations=(evaluation("float32"), evaluation("int8")),
        pairs=(pair("int8"),),
    )
    text = plain(render_evaluation(report))
    for clause in clauses:
        assert 0 < text.index(plain(clause)) < text.index("79.06")
        assert clause in to_json(report).decode()


@pytest.mark.parametrize("output_format", ["table", "markdown", "json", "csv"])
def test_nothing_is_said_where_nothing_was_guessed(output_format: str) -> None:
    """A file that says it all has no such line."""
    text = render([full_run(AMX)], format=output_format)  # type: ignore[arg-type]
    if output_format == "csv":
        assert {row["weights_assumed"] for row in csv.DictReader(text.splitlines())} == {""}
    elif output_format == "json":
        assert "assumed" not in json.loads(text)["runs"][0]["caption"]
    else:
        assert "assumed" not in text


def test_a_guess_makes_no_two_runs_incomparable() -> None:
    """The weights are their content; what is said about them is not part of it."""
    text = render(
        [full_run(AMX, weights=replace(WEIGHTS, assumed=("says no mean and std: ImageNet's",)))],
        baseline=full_run(AMX),
    )
    assert "incomparable" not in text
    assert "of other weights" not in text
