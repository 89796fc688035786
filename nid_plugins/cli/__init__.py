"""The command line ``nid``. Its commands come from plug-ins, through the hook ``nid_register_commands``."""

from __future__ import annotations

import traceback
import warnings
from typing import Any

import click

from nid_plugins import __version__
from nid_plugins.errors import NidError, NidWarning, SettingError
from nid_plugins.plugins import get_manager, use_manager

__all__ = ["main", "nid"]


class _Group(click.Group):
    """A group that asks the plug-ins for its commands, and says a user's error in one line."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        # --disable and --trace-plugins change the process-wide manager for this command only.
        with use_manager(None), warnings.catch_warnings():
            warnings.simplefilter("always", NidWarning)
            warnings.showwarning = _show_warning
            return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(str(command.name) for command in get_manager().commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        return next((command for command in get_manager().commands() if command.name == cmd_name), None)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            unknown = sorted(set(ctx.params["disable"]) - get_manager().names)
            if unknown:
                raise SettingError(
                    "no plug-in to disable", received=unknown, expected=sorted(get_manager().names)
                )
            return super().invoke(ctx)
        except NidError as error:
            if ctx.params["debug"]:
                traceback.print_exc()
            raise _UserError(str(error)) from error


class _UserError(click.ClickException):
    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"nid: {' '.join(self.message.split())}", err=True, file=file)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: Any = None,
) -> None:
    if issubclass(category, NidWarning):
        click.echo(f"nid: warning: {message}", err=True)
    else:
        click.echo(
            warnings.formatwarning(message, category, filename, lineno, line), err=True, file=file, nl=False
        )


def _configure(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    # Eager, so that it is done before a command is looked up.
    if not value:
        return value
    if param.name == "disable":
        for name in value:
            get_manager().block(name)
    else:
        get_manager().trace()
    del ctx
    return value


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="nid-plugins")
@click.option(
    "--disable",
    multiple=True,
    metavar="NAME",
    is_eager=True,
    callback=_configure,
    help="Leave a plug-in out.",
)
@click.option(
    "--trace-plugins", is_flag=True, is_eager=True, callback=_configure, help="Print every hook call."
)
@click.option("--debug", is_flag=True, help="Print the traceback of an error.")
def nid(**_: Any) -> None:
    """Find the feature interactions of a CTR model, and give them back to it."""


def main() -> None:
    """Run the command line; entry point of the console script ``nid``."""
    nid.main(prog_name="nid")
