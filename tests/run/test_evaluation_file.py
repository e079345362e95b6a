"""The figures of a labelled run, as a file beside its report."""

from __future__ import annotations

import json
from pathlib import Path

from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.evaluation import Evaluator
from lfv.run.report import EVALUATION_FILE, _write_evaluation
from lfv_store import open_store
from tests.support.store_samples import a_model, a_run, after


def test_the_file_names_the_model_and_when_the_run_ended(sqlite_url: str, tmp_path: Path) -> None:
    evaluator = Evaluator()
    evaluator.add(True, DetectAnomalyResult(True, 0.9))
    evaluator.add(False, DetectAnomalyResult(True, 0.6))
    file = tmp_path / EVALUATION_FILE
    with open_store(sqlite_url) as store:
        run_id = a_run(store, a_model(store))
        store.runs.set_status(run_id, "completed", None, after(60))
        _write_evaluation(file, evaluator.result(), store.runs.get(run_id), store)
    found = json.loads(file.read_text())
    assert found["EvaluationDetails"] == {
        "ModelArn": "arn:aws:lookoutvision:us-east-1:000000000000:model/bottles/1",
        "EvaluationEndTimestamp": "2026-03-04T05:07:07.123456",
        "NumberOfTrainingImages": None,
        "NumberOfTestingImages": 2,
    }
    assert found["AggregatedEvaluationResults"]["Metrics"]["Precision"] == 0.5
