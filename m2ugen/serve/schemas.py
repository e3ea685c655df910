"""The JSON that the plain interface speaks, and errors as both interfaces tell them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from m2ugen.serve.jobs import Job, State
from m2ugen.serve.live import LIVE
from m2ugen.serve.tasks import Kind

STATUS_OF = {  # of a job's error, for callers that wait for the result itself
    "invalid_input": 400,
    "cancelled": 409,
    "timeout": 504,
    "worker_lost": 502,
    "shutdown": 503,
    "internal": 500,
}


class ErrorBody(BaseModel):
    """What went wrong: one line for people, a code for programs."""

    message: str
    type: str
    code: str
    param: str | None = None


class ErrorAnswer(BaseModel):
    """Every answer with a status of 400 and above."""

    error: ErrorBody


class JobError(BaseModel):
    """Why a job failed."""

    code: Literal["invalid_input", "cancelled", "timeout", "worker_lost", "shutdown", "internal"]
    message: str


class JobResult(BaseModel):
    """What a finished job made. ``files`` are names under /v1/music/jobs/{id}/files/."""

    text: str
    duration: float | None = Field(description="Seconds of music; null when the answer is words alone.")
    sample_rate: int | None = Field(description="Hz")
    seed: int | None = Field(description="Repeats the result on the same machine.")
    plan: str | None = Field(description="One line that tells what was composed.")
    files: list[str]
    seconds: dict[str, float] = Field(description="How long the parts of the work took.")


class JobAnswer(BaseModel):
    """A job and how far it is."""

    id: str
    object: Literal["music.job"] = "music.job"
    kind: Kind
    state: State
    progress: float = Field(ge=0, le=1)
    text: str = Field(description="The words so far.")
    created: float = Field(description="Unix time")
    live: bool = Field(False, description="Whether the beginning of the sound can be heard.")
    result: JobResult | None = None
    error: JobError | None = None


def job_answer(job: Job) -> JobAnswer:
    """The public side of a job."""
    result = None
    if job.summary is not None:
        result = JobResult(**{**{name: job.summary[name] for name in JobResult.model_fields}, "files": job.files})
    error = None if job.error is None else JobError.model_validate({"code": job.error[0], "message": job.error[1]})
    return JobAnswer(
        id=job.id, kind=job.task.kind, state=job.state, progress=job.progress, text=job.text, created=job.created,
        live=job.task.live and (job.task.folder / LIVE).is_file(), result=result, error=error,
    )  # fmt: skip


class ServeError(Exception):
    """An answer with a status of 400 and above."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}


def error_body(status: int, code: str, message: str) -> dict[str, Any]:
    """The JSON of an error."""
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    return ErrorAnswer(error=ErrorBody(message=message, type=kind, code=code)).model_dump()


def job_error(job: Job) -> ServeError:
    """The answer to a caller who waited for a job that failed."""
    code, message = job.error or ("internal", "the request could not be carried out")
    return ServeError(STATUS_OF.get(code, 500), code, message)
