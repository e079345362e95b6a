"""Asks on the flow run's page whether a run should go on."""

# No postponed annotations here: Prefect builds the form from them.

from typing import Literal

from prefect import get_run_logger
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field

_POLL_SECONDS = 2


class GoOn(RunInput):
    """The form on the page."""

    answer: Literal["go on", "end the run"] = Field(
        default="go on",
        title="Go on?",
        description="Go on starts the model again and inspects what is left; it does not ask "
        "again. A run that is ended can be resumed later.",
    )


def ask_to_go_on(why: str, minutes: float) -> bool:
    """Pause the flow run until a person answers the form. No answer in time means no."""
    get_run_logger().warning("paused, the model is stopped: %s", why)
    form = GoOn.with_initial_data(description=f"**{why}.**\n\nThe model is stopped meanwhile.")
    try:
        answer: GoOn = pause_flow_run(
            wait_for_input=form, timeout=max(1, round(minutes * 60)), poll_interval=_POLL_SECONDS
        )
    except FlowPauseTimeout:
        get_run_logger().warning("nobody answered within %g minutes", minutes)
        return False
    return answer.answer == "go on"
