"""The ``m2ugen`` program: its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys

import typer
from typer._click.exceptions import NoArgsIsHelpError, UsageError

from m2ugen.cli import ask, chat, convert, data, demo, edit, eval, generate, info, serve, train
from m2ugen.cli.common import print_error
from m2ugen.errors import M2UGenError

app = typer.Typer(
    name="m2ugen",
    help="Understand and make music from words, pictures, videos and other music.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (ask, generate, edit, chat, demo, info, convert, train, serve):
    app.command(module.NAME, epilog=module.EXAMPLES)(module.run)
app.add_typer(data.app, name=data.NAME)
app.add_typer(eval.app, name=eval.NAME)

OWN_FAULT, USER_FAULT, INTERRUPTED = 1, 2, 130


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 fine, 2 the input or the usage is at fault, 1 a defect of ours."""
    sys.exit(run_arguments(arguments))


def run_arguments(arguments: list[str] | None) -> int:
    """Run the command line and return its exit code; errors have become one line on stderr."""
    try:
        code = app(arguments, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return USER_FAULT
    except UsageError as error:
        hint = f" (see: {error.ctx.command_path} --help)" if error.ctx else ""
        print_error(error.format_message() + hint)
        return USER_FAULT
    except typer.Exit as error:
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        print_error("interrupted")
        return INTERRUPTED
    except M2UGenError as error:
        print_error(str(error))
        return USER_FAULT
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:  # the edge of the program: a defect is reported in one line, or in full on request
        if os.environ.get("M2UGEN_DEBUG"):
            raise
        print_error(f"internal error: {type(error).__name__}: {error} (set M2UGEN_DEBUG=1 for the full trace)")
        return OWN_FAULT
