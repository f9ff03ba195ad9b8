import io
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from temporal_slo.cli.main import COMMANDS, main


def run(*argv: str, **environ: str) -> tuple[int, str, str]:
    """Run a command in this process; return exit code, standard output and standard error."""
    stdout, stderr = io.StringIO(), io.StringIO()
    return main(argv, environ, stdout, stderr), stdout.getvalue(), stderr.getvalue()


MISTAKES: dict[str, tuple[list[str], dict[str, str], str]] = {
    "no command": (
        [],
        {},
        "command line: the following arguments are required: COMMAND; see 'temporal-slo --help'",
    ),
    "unknown command": (
        ["exprter"],
        {},
        (
            "command line: argument COMMAND: invalid choice: 'exprter' (choose from 'exporter', 'validate', "
            "'generate', 'check', 'history-export', 'preview', 'schema', 'demo', 'worker', 'services', 'api', 'load'); "
            "see 'temporal-slo --help'"
        ),
    ),
    "unknown option": (
        ["exporter", "--adress", "x"],
        {},
        "exporter: unknown option --adress; see 'temporal-slo exporter --help'",
    ),
    "option without value": (
        ["exporter", "--listen"],
        {},
        "exporter: argument --listen: expected one argument; see 'temporal-slo exporter --help'",
    ),
    "address without port": (
        ["exporter", "--temporal-address", "temporal"],
        {},
        "--temporal-address: 'temporal' is not an address; write host:port, for example 127.0.0.1:7233",
    ),
    "address with a scheme": (
        ["exporter"],
        {"TEMPORAL_ADDRESS": "https://temporal:7233"},
        "TEMPORAL_ADDRESS: 'https://temporal:7233' is not an address; write host:port, for example 127.0.0.1:7233",
    ),
    "empty address": (
        ["exporter", "--temporal-address", ""],
        {},
        "--temporal-address: '' is not an address; write host:port, for example 127.0.0.1:7233",
    ),
    "empty namespace": (
        ["exporter", "--temporal-namespace", ""],
        {},
        "--temporal-namespace: is empty; set a Temporal namespace, or omit the option",
    ),
    "malformed key": (
        ["exporter"],
        {"TEMPORAL_TLS_CLIENT_CERT_DATA": "-----BEGIN CERTIFICATE-----", "TEMPORAL_TLS_CLIENT_KEY_DATA": "hello"},
        "Temporal TLS: the client key is not in PEM format; use a PEM file",
    ),
    "port too large": (
        ["exporter"],
        {"TEMPORAL_SLO_LISTEN": "127.0.0.1:65536"},
        "TEMPORAL_SLO_LISTEN: '127.0.0.1:65536' is not an address; write host:port, for example 127.0.0.1:7233",
    ),
    "listen on an address of another machine": (
        ["exporter", "--listen", "192.0.2.1:9464"],
        {},
        (
            "--listen 192.0.2.1:9464: cannot listen there: Cannot assign requested address; "
            "give a free port or another address"
        ),
    ),
    "interval of zero": (
        ["exporter", "--poll-interval", "0s"],
        {},
        "--poll-interval: '0s' is not between 1ms and 100 years; write for example 15s",
    ),
    "empty name in a list of namespaces": (
        ["exporter", "--temporal-namespace", "shop,,fleet"],
        {},
        "--temporal-namespace: 'shop,,fleet' has an empty name; separate names with single commas",
    ),
    "all namespaces and one namespace": (
        ["exporter", "--temporal-namespace", "shop", "--all-namespaces"],
        {},
        "--all-namespaces: conflicts with --temporal-namespace; use only one of them",
    ),
    "filter without --all-namespaces": (
        ["exporter"],
        {"TEMPORAL_SLO_NAMESPACE_FILTER": "shop-*"},
        "TEMPORAL_SLO_NAMESPACE_FILTER: requires --all-namespaces; add that option, or remove the filter",
    ),
    "unknown source": (
        ["exporter", "--sources", "queues=1s"],
        {},
        "--sources: unknown source 'queues'; use task_queues, task_problems, schedules, retry_storms, calendar",
    ),
    "source without a duration": (
        ["exporter", "--sources", "schedules"],
        {},
        "--sources: schedules: '' is not a duration such as 90s, 2m or 1h30m; write for example 15s",
    ),
    "interval without unit": (
        ["exporter"],
        {"TEMPORAL_SLO_POLL_INTERVAL": "15"},
        "TEMPORAL_SLO_POLL_INTERVAL: '15' is not a duration such as 90s, 2m or 1h30m; write for example 15s",
    ),
    "missing certificate": (
        ["exporter"],
        {"TEMPORAL_TLS_SERVER_CA_CERT_PATH": "/nowhere/ca.pem"},
        "TLS file /nowhere/ca.pem: cannot be read: No such file or directory; correct the path or its permissions",
    ),
    "malformed certificate": (
        ["exporter"],
        {"TEMPORAL_TLS_SERVER_CA_CERT_DATA": "hello"},
        "Temporal TLS: the CA certificate is not in PEM format; use a PEM file",
    ),
    "certificate without key": (
        ["exporter"],
        {"TEMPORAL_TLS_CLIENT_CERT_DATA": "-----BEGIN CERTIFICATE-----"},
        "Temporal TLS: the client key is missing; set both certificate and key, or neither",
    ),
    "missing configuration file": (
        ["exporter"],
        {"TEMPORAL_CONFIG_FILE": "/nowhere/temporal.toml"},
        "TEMPORAL_CONFIG_FILE: '/nowhere/temporal.toml' is not a file; correct the path or unset the variable",
    ),
    "unknown profile": (
        ["exporter", "--temporal-profile", "nope"],
        {},
        (
            "Temporal configuration: Profile 'nope' not found; correct temporal.toml, TEMPORAL_PROFILE or the "
            "TEMPORAL_* variable"
        ),
    ),
    "demo's duration": (
        ["demo", "--duration", "soon"],
        {},
        "--duration: 'soon' is not a duration such as 90s, 2m or 1h30m; write for example 15s",
    ),
    "demo's address": (
        ["demo", "--temporal-address", "here"],
        {},
        "--temporal-address: 'here' is not an address; write host:port, for example 127.0.0.1:7233",
    ),
    "unknown chaos": (
        ["demo", "--chaos", "payment-down"],
        {},
        "--chaos: unknown fault 'payment-down'; use payments-down",
    ),
    "rate of zero": (
        ["load", "--rate", "0"],
        {},
        "--rate: '0' is not a positive number; write for example 4 or 0.5",
    ),
    "count with too many digits": (
        ["load", "--count", "9" * 5000],
        {},
        "--count: has more than 18 digits; write for example 100",
    ),
    "unknown worker": (
        ["worker", "--services", "http://127.0.0.1:8081", "bookings"],
        {},
        "worker: unknown worker 'bookings'; use booking, payment, fleet",
    ),
    "API without the secret of Paystack": (
        ["api"],
        {},
        "PAYSTACK_SECRET_KEY: is not set; set it to the secret key with which Paystack signs webhooks",
    ),
    "API with an empty secret": (
        ["api"],
        {"PAYSTACK_SECRET_KEY": ""},
        "PAYSTACK_SECRET_KEY: is not set; set it to the secret key with which Paystack signs webhooks",
    ),
    "API of malformed services": (
        ["api", "--services", "127.0.0.1"],
        {"PAYSTACK_SECRET_KEY": "sk_test"},
        "--services: is not a base URL; write for example http://127.0.0.1:8081",
    ),
    "API on a malformed address": (
        ["api", "--listen", "8000"],
        {"PAYSTACK_SECRET_KEY": "sk_test"},
        "--listen: '8000' is not an address; write host:port, for example 127.0.0.1:7233",
    ),
    "services without scheme": (
        ["worker", "--services", "127.0.0.1:8081"],
        {},
        "--services: is not a base URL; write for example http://127.0.0.1:8081",
    ),
    "services on a malformed port": (
        ["worker", "--services", "http://127.0.0.1:http"],
        {},
        "--services: is not a base URL; write for example http://127.0.0.1:8081",
    ),
    "build without deployment": (
        ["worker", "--services", "http://127.0.0.1:8081"],
        {"TEMPORAL_WORKER_BUILD_ID": "7"},
        (
            "TEMPORAL_DEPLOYMENT_NAME: is not set; set both TEMPORAL_DEPLOYMENT_NAME and TEMPORAL_WORKER_BUILD_ID, "
            "or neither"
        ),
    ),
    "deployment name with a delimiter": (
        ["worker", "--services", "http://127.0.0.1:8081"],
        {"TEMPORAL_WORKER_BUILD_ID": "7", "TEMPORAL_DEPLOYMENT_NAME": "booking.workers"},
        "TEMPORAL_DEPLOYMENT_NAME: 'booking.workers' contains '.' or ':'; write for example booking-workers",
    ),
    "mix without a workflow": (
        ["load", "--mix", "confirmed"],
        {},
        "--mix: 'confirmed' is not workflow.outcome=weight; use e.g. booking.confirmed=80,topup.credited=20",
    ),
    "API without scheme": (
        ["load", "--api", "127.0.0.1:8000"],
        {},
        "--api: is not a base URL; write for example http://127.0.0.1:8081",
    ),
    "count in words": (["load", "--count", "ten"], {}, "--count: 'ten' is not a whole number; write for example 100"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mistake: str) -> None:
    """A mistake exits with code 2 and prints one line: where, what and the remedy."""
    argv, environ, message = MISTAKES[mistake]
    assert run(*argv, **environ) == (2, "", f"temporal-slo: {message}\n")


def test_port_taken() -> None:
    """A port in use is reported as a mistake."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, stderr = run("exporter", "--listen", listen)
    assert code == 2
    reason = "cannot listen there: Address already in use; give a free port or another address"
    assert stderr == f"temporal-slo: --listen {listen}: {reason}\n"


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command whose extra is not installed names the extra."""
    monkeypatch.delitem(sys.modules, "temporal_slo.exporter.service", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert run("exporter") == (
        2,
        "",
        (
            "temporal-slo: exporter: package uvicorn is not installed; run pip install 'temporal-slo[monitor]', "
            "or 'temporal-slo[demo]' for the demo\n"
        ),
    )


def process(*argv: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in its own process."""
    command = [sys.executable, "-m", "temporal_slo", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environ)


@pytest.mark.parametrize(
    ("address", "namespace", "code"), [("127.0.0.1:1", "default", "UNAVAILABLE"), ("", "no-such", "NOT_FOUND")]
)
def test_fail_fast(tmp_path: Path, temporal_address: str, address: str, namespace: str, code: str) -> None:
    """With --fail-fast, an unreachable server or a missing namespace exits with code 2 and one line."""
    address = address or temporal_address
    done = process(
        *("exporter", "--fail-fast", "--listen", "127.0.0.1:0", "--ledger", f"sqlite:///{tmp_path / 'ledger.db'}"),
        *("--temporal-address", address, "--temporal-namespace", namespace),
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"temporal-slo: Temporal at {address}: {code}: ")
    assert done.stderr.endswith("; check address and namespace, or leave out --fail-fast to wait for them\n")


def test_fail_fast_with_all_namespaces(tmp_path: Path) -> None:
    """With --fail-fast and --all-namespaces, a failure to list namespaces exits with code 2."""
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    options = ("--fail-fast", "--listen", "127.0.0.1:0", "--ledger", ledger, "--temporal-address", "127.0.0.1:1")
    done = process("exporter", "--all-namespaces", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("temporal-slo: Temporal at 127.0.0.1:1: UNAVAILABLE: ")


def test_mistake_in_a_process(tmp_path: Path) -> None:
    """An unreadable file is reported by the process in one line, without a traceback."""
    done = process("exporter", environ={"TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"temporal-slo: TLS file {tmp_path}: cannot be read: Is a directory; correct the path or its permissions\n"
    )


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command has help, and the help of the program lists it in one line."""
    assert run(command, "--help")[0] == 0
    assert f"usage: temporal-slo {command}" in capsys.readouterr().out
    assert run("--help")[0] == 0
    assert f"\n    {command} " in capsys.readouterr().out
