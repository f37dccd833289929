"""The command line: one file per command, thin over the Python API.

Data goes to stdout, hints and progress to stderr. Exit codes: 0 done, 1 a check found fault or the run went wrong,
2 the user's mistake (one line, no traceback), 128 + n stopped by signal n (130 for Ctrl-C). Of several processes the
first alone is heard, but for what ends them: that is said by the one that fails first, and 3 is the code of the others.
A new command is a file and a line in `app`.
"""

import errno
import io
import os
import signal
import sys

from vgen.errors import NumericalError, ParallelError, PeerLostError, VgenError

__all__ = ["Spoken", "main"]

STOPPED = 128 + signal.SIGINT


class Spoken(SystemExit):
    """Ends a command with a code, all that there is to say having been said."""


def main() -> None:
    """Entry point of the `vgen` command."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # not where nohup has it ignored
            signal.signal(number, _stop)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # the path of a clip may be no text, and goes out as it came
    if os.environ.get("RANK", "0") != "0" and os.environ.get("WORLD_SIZE", "1") != "1":
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (for as long as the process lives)
    code = None
    try:
        code = _run(sys.argv[1:])
    finally:
        if code is None:  # ours to mend, and to be seen whichever process it befalls
            sys.stderr = sys.__stderr__
    try:
        sys.stdout.flush()
    except OSError:  # already said; the interpreter would try again and complain in words of its own
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(code)


def _stop(number: int, _frame: object) -> None:
    """Ends the program by an exception, so that what is half written is removed on the way out."""
    raise SystemExit(128 + number)


def _run(arguments: list[str]) -> int:
    import typer
    from typer.exceptions import TyperException

    from vgen.cli.app import app

    try:
        code = typer.main.get_command(app).main(arguments, prog_name="vgen", standalone_mode=False)
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # typer has no public name for it
            print(error.format_message(), file=sys.stderr)
            return 2
        return _fail(error.format_message(), 2)
    except PeerLostError as error:
        return _fail(str(error), 1, beside=True)
    except (NumericalError, ParallelError) as error:
        return _fail(str(error), 1)
    except VgenError as error:
        return _fail(str(error), 2)
    except OSError as error:  # stdout, if anything: files of the user's come as VgenError, but for names of any length
        return _fail(f"the system refused: {error.strerror or error}", 2 if error.errno == errno.ENAMETOOLONG else 1)
    except Spoken as error:
        return int(error.code or 0)
    except SystemExit as error:  # a signal, or nobody reads stdout any more, which typer ends this way
        return _fail("stopped", error.code if isinstance(error.code, int) else 1, beside=True)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("stopped", STOPPED)
    if code == STOPPED:  # typer has caught Ctrl-C
        return _fail("stopped", STOPPED)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int, *, beside: bool = False) -> int:
    """Says what went wrong; `beside` where another process may be the cause."""
    from vgen.cli.plain import plain

    if os.environ.get("WORLD_SIZE", "1") != "1":
        from vgen.cli.together import verdict

        told = verdict(message, code, beside)
        if isinstance(told, int):
            return told
        message, code = told
    hushed = getattr(sys.stderr, "name", None) == os.devnull
    print(f"vgen: {plain(' '.join(message.split()))}", file=sys.__stderr__ if hushed else sys.stderr)
    return code
