"""The command line: one file per command, thin over the Python API.

Data goes to stdout, hints and progress to stderr. Exit codes: 0 done, 1 a check found fault or the run went wrong,
2 the user's mistake (one line, no traceback), 130 stopped by the user. A new command is a file and a line in `app`.
"""

import sys

from vgen.errors import NumericalError, VgenError

__all__ = ["main"]


def main() -> None:
    """Entry point of the `vgen` command."""
    raise SystemExit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    import typer
    from typer.exceptions import TyperException

    from vgen.cli.app import app

    try:
        code = typer.main.get_command(app).main(arguments, prog_name="vgen", standalone_mode=False)
    except TyperException as error:
        return _fail(error.format_message(), 2)
    except NumericalError as error:
        return _fail(str(error), 1)
    except VgenError as error:
        return _fail(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("stopped", 130)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    print(f"vgen: {' '.join(message.split())}", file=sys.stderr)
    return code
