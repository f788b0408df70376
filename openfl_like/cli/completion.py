"""``fx completion``: the script by which a shell completes commands, options and names."""

import click

from openfl_like.cli.options import HELP

VARIABLE = "_FX_COMPLETE"
"""By which a shell that has the script asks for words; click answers it before any command runs."""
_HELP = """Print the script that completes commands, options, plans and templates in your shell.

\b
bash: add to ~/.bashrc   eval "$(fx completion bash)"
zsh:  add to ~/.zshrc    eval "$(fx completion zsh)"
fish: once               fx completion fish > ~/.config/fish/completions/fx.fish

Example: fx completion bash > fx-completion.bash
"""


@click.command(context_settings=HELP, help=_HELP)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print the script."""
    from click.shell_completion import get_completion_class

    from openfl_like.cli.main import fx

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 (click knows these three)
    click.echo(kind(fx, {}, "fx", VARIABLE).source())
