"""The application: routes, errors, the page, and the engine's life."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from m2ugen import __version__
from m2ugen.examples import EXAMPLES, example
from m2ugen.serve import openai, plain
from m2ugen.serve.engine import Engine
from m2ugen.serve.guard import Guard
from m2ugen.serve.plain import Engined
from m2ugen.serve.schemas import ServeError, error_body
from m2ugen.serve.settings import Settings

PAGE = Path(__file__).parent / "page"


class Readiness(BaseModel):
    """Whether requests are carried out, and why not."""

    ready: bool
    reason: str | None = None


class About(BaseModel):
    """What the page needs to know: the model, what it understands, the limits."""

    model: str
    version: str
    modalities: list[str]
    makes_music: bool
    max_duration: float
    max_file_bytes: int
    max_text: int
    keep_seconds: float
    examples: list[str]


def create_app(settings: Settings, engine: Engine | None = None) -> FastAPI:
    """The application with an engine of its own, or the given one."""
    engine = engine or Engine(settings)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await engine.start()
        yield
        await engine.close()

    app = FastAPI(
        title="m2ugen", version=__version__, lifespan=life, docs_url=None, redoc_url=None,
        description="Understands, makes and edits music from words, pictures, videos and other music.",
        generate_unique_id_function=lambda route: route.name,
    )  # fmt: skip
    app.state.engine = engine
    app.include_router(plain.router)
    app.include_router(openai.router)
    _add_page(app)
    _add_health(app)
    _add_errors(app)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"], expose_headers=["Location", "Retry-After"],
        )  # fmt: skip
    app.add_middleware(Guard, settings=settings, metrics=engine.metrics)
    return app


def _add_page(app: FastAPI) -> None:
    app.mount("/page", StaticFiles(directory=PAGE), name="page")

    @app.get("/", response_class=FileResponse, include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> FileResponse:
        return FileResponse(PAGE / "icon.png")

    @app.get("/v1/about", tags=["page"], responses=plain.only())
    async def about(engine: Engined) -> About:
        """The model, what it understands, and this server's limits."""
        settings, told = engine.settings, engine.model or {}
        return About(
            model=openai.served(engine).id, version=__version__, modalities=told.get("modalities", []),
            makes_music=told.get("makes_music", False), max_duration=settings.limits.duration,
            max_file_bytes=settings.limits.file_bytes, max_text=plain.MAX_TEXT, keep_seconds=settings.keep_seconds,
            examples=list(EXAMPLES),
        )  # fmt: skip

    @app.get(
        "/v1/examples/{name}", tags=["page"], response_class=FileResponse,
        responses=plain.only(404, ok="application/octet-stream"),
    )  # fmt: skip
    async def example_file(name: str) -> FileResponse:
        """One of the example files that come with the package."""
        if name not in EXAMPLES:
            raise ServeError(404, "not_found", "there is no such example")
        return FileResponse(example(name))


def _add_health(app: FastAPI) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """The server lives."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"], responses={503: {"model": Readiness, "description": "Not ready."}})
    async def readyz(engine: Engined, response: Response) -> Readiness:
        """Whether requests are carried out at once."""
        if engine.is_ready:
            return Readiness(ready=True)
        response.status_code = 503
        reason = engine.broken or ("about to stop" if engine.draining else "loading the model")
        return Readiness(ready=False, reason=reason)

    @app.get(
        "/metrics", tags=["health"], response_class=Response,
        responses=plain.only(ok="text/plain"),
    )  # fmt: skip
    async def metrics(engine: Engined) -> Response:
        """Counters in Prometheus' text format."""
        return Response(engine.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_errors(app: FastAPI) -> None:
    def answer(status: int, code: str, message: str, headers: Any = None) -> JSONResponse:
        return JSONResponse(error_body(status, code, message), status, headers=headers)

    @app.exception_handler(ServeError)
    async def own(request: Request, error: ServeError) -> JSONResponse:
        return answer(error.status, error.code, error.message, error.headers)

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
        return answer(error.status_code, code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def form(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
        return answer(422, "invalid_form", f"{place or 'the request'}: {first['msg']}")
