"""The step that reports a run: the HTML report, and the artifacts on the Prefect page."""

from __future__ import annotations

import logging

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from lfv.formats.words import count_of
from lfv.run.active import ActiveRun
from lfv.run.report import ReportedRun, report_run
from lfv.run.summary import RunSummary

logger = logging.getLogger(__name__)


@task(name="report", task_run_name="report", cache_policy=NO_CACHE, persist_result=False)
def report(run: ActiveRun) -> RunSummary:
    """Write the run's report, and publish its summary and result table."""
    reported = report_run(run.run_id, run.store, run.reader, run.settings)
    publish(reported)
    return reported.summary


def publish(reported: ReportedRun) -> None:
    """Publish the artifacts; if the Prefect API does not answer, only these are missing."""
    if reported.summary.nothing_new:
        return
    try:
        create_markdown_artifact(key="inspection-summary", markdown=reported.summary.markdown())
        if reported.rejects is not None:
            create_markdown_artifact(key="inspection-rejects", markdown=reported.rejects)
        create_table_artifact(
            key="inspection-results",
            table=reported.table,
            description=f"{count_of(len(reported.table), 'image')}, in this order: "
            "to review, rejected, failed, accepted.",
        )
    except Exception as error:  # noqa: BLE001 - whatever Prefect raises, the results are stored
        logger.warning("no summary on the run page: %s", error)
