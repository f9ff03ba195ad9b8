"""How the commands describe their options."""

import argparse

import pytest

from temporal_slo import settings
from temporal_slo.cli import exporter, generate
from temporal_slo.cli.common import Command, Option
from temporal_slo.cli.main import COMMANDS
from temporal_slo.errors import UsageError
from temporal_slo.generate import command as generate_command


def parsed(option: Option, *argv: str) -> object:
    """The value of *option* in a command line."""
    parser = argparse.ArgumentParser()
    option.add_to(parser)
    return option.value(parser.parse_args(argv))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_defaults_are_shown(command: Command) -> None:
    """The help of every optional value states its default, or what happens without it."""
    for option in command.options:
        optional = not option.is_switch and not option.required and option.name not in {"specs", "files"}
        assert ("default: " in option.full_help) == optional, option.name


def test_full_help() -> None:
    """A help text ends with what may be repeated, the default and the environment variable."""
    option = Option("--spec", "PATH", "SLO specs", variable="TEMPORAL_SLO_SPEC", if_unset="none", repeatable=True)
    assert option.full_help == "SLO specs (repeatable; default: none; env: TEMPORAL_SLO_SPEC)"
    assert Option("--check", None, "write nothing").full_help == "write nothing"


def test_value() -> None:
    """An option has the value given, else its default; one with a variable stays None for the variable to decide."""
    option = Option("--poll-interval", "DURATION", "interval", "15s")
    assert (parsed(option), parsed(option, "--poll-interval", "1m")) == ("15s", "1m")
    assert parsed(Option("--poll-interval", "DURATION", "interval", "15s", variable="POLL_INTERVAL")) is None
    switch = Option("--fail-fast", None, "exit")
    assert (parsed(switch), parsed(switch, "--fail-fast")) == (False, True)
    repeatable = Option("--label", "NAME", "label", repeatable=True)
    assert (parsed(repeatable), parsed(repeatable, "--label", "a", "--label", "b")) == ([], ["a", "b"])
    paths = Option("specs", "PATH", "specs")
    assert parsed(paths, "a", "b") == ["a", "b"]
    names = Option("names", "NAME", "names", if_unset="all")
    assert (parsed(names), parsed(names, "a", "b")) == ([], ["a", "b"])


def test_percent_sign() -> None:
    """A percent sign in a help text is printed as it is."""
    parser = argparse.ArgumentParser()
    Option("--mix", "MIX", "outcomes", if_unset="80 % confirmed").add_to(parser)
    assert "outcomes (default: 80 % confirmed)" in parser.format_help()


@pytest.mark.parametrize(
    "option", ["listen", "poll-interval", "backfill", "sources", "visibility-rate", "history-rate"]
)
def test_exporter_variables(option: str) -> None:
    """The variable in the help of an exporter option is the one that is read."""
    (described,) = (found for found in exporter.SETTINGS if found.name == f"--{option}")
    assert described.variable
    connection = settings.connection(None, None, None, {})
    with pytest.raises(UsageError, match=f"^{described.variable}: "):
        settings.exporter(connection, {}, {described.variable: "="})


def test_exporter_options() -> None:
    """Every exporter setting that takes a value is an option, with the default that applies."""
    shown = {option.name.removeprefix("--"): option.default or "" for option in exporter.SETTINGS}
    assert shown == settings.EXPORTER_DEFAULTS


def test_generate_links() -> None:
    """The default links in the help of generate are those that it writes."""
    shown = {option.name: option.if_unset for option in generate.COMMAND.options}
    links = generate_command.links(None, None, None)
    assert (shown["--runbooks"], shown["--grafana"], shown["--web"]) == (links.runbooks, links.grafana, links.web)
