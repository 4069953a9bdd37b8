"""The operator as the tests and the demo run it: the real program in a process of its own, under its own ServiceAccount.

Knows how to start, watch and kill it; what it should do is the tests' business.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from tests.shifted_operator import ShiftedClock
from tests.testbed import Testbed

ROOT = Path(__file__).parents[1]
NAMESPACE = "rightsizer"
ACCOUNT = "rightsizer"

# The console command of the environment that the tests run in.
_PROGRAM = Path(sys.executable).with_name("rightsizer")

_SERVING = re.compile(r"/healthz and /metrics on port (\d+)")
_START_SECONDS = 30.0
_STOP_SECONDS = 70.0


def install(bed: Testbed, *, recommend_only: bool = False) -> None:
    """What `kubectl apply -k manifests/` installs. The Deployment stays at zero replicas: kwok would not run it, a process does."""
    folder = ROOT / "manifests" / ("recommend-only" if recommend_only else ".")
    bed.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(folder.resolve()))
    bed.kubectl("scale", "deployment/rightsizer", "--namespace", NAMESPACE, "--replicas=0")
    for plural in ("resourceprofiles", "clusterresourceprofiles", "resourcerecommendations", "podsizes"):
        bed.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{plural}.rightsizer.dev")


def install_on_create(bed: Testbed) -> None:
    """What `kubectl apply -k manifests/on-create/` adds."""
    bed.kubectl("apply", "--server-side", "--force-conflicts", "-k", str((ROOT / "manifests" / "on-create").resolve()))


def install_in_place(bed: Testbed) -> None:
    """What `kubectl apply -k manifests/in-place/` adds."""
    bed.kubectl("apply", "--server-side", "--force-conflicts", "-k", str((ROOT / "manifests" / "in-place").resolve()))


class OperatorProcess:
    """`rightsizer run` against a testbed. `settings` are RIGHTSIZER_ variables without the prefix, such as CYCLE_SECONDS.

    `clock` makes the operator live at another time; see `tests.shifted_operator`.
    """

    def __init__(
        self,
        bed: Testbed,
        *,
        log: Path,
        prometheus_url: str,
        settings: Mapping[str, str] | None = None,
        account: str = ACCOUNT,
        clock: ShiftedClock | None = None,
    ) -> None:
        self._kubeconfig = bed.kubeconfig_for(namespace=NAMESPACE, service_account=account)
        self._account = account
        self._clock = clock
        self._log = log
        self._environment = {
            "PROMETHEUS_URL": prometheus_url,
            "OPERATOR_DEPLOYMENT": f"{NAMESPACE}/rightsizer",
            "HTTP_ADDRESS": "127.0.0.1",
            "HTTP_PORT": "0",
            "CYCLE_SECONDS": "2",
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._begin = 0

    @property
    def user(self) -> str:
        """As the audit log names it."""
        return f"system:serviceaccount:{NAMESPACE}:{self._account}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the operator was not started"
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RIGHTSIZER_")}
        environment = {**inherited, **{f"RIGHTSIZER_{name}": value for name, value in self._environment.items()}}
        self._output = self._log.open("ab")
        self._begin = self._log.stat().st_size
        program = [_PROGRAM] if self._clock is None else [sys.executable, "-m", "tests.shifted_operator", self._clock.file]
        command = [*program, "run", "--kubeconfig", self._kubeconfig]
        self._process = subprocess.Popen(command, env=environment, stdout=self._output, stderr=subprocess.STDOUT, cwd=ROOT)

    def stop(self) -> int:
        """SIGTERM, as Kubernetes does it; the exit code."""
        return self.end(signal.SIGTERM)

    def kill(self) -> int:
        """kill -9."""
        return self.end(signal.SIGKILL)

    def end(self, number: signal.Signals) -> int:
        """This signal; the exit code."""
        assert self._process is not None, "the operator was not started"
        try:
            self._process.send_signal(number)
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            if self._output is not None:
                self._output.close()

    def text(self) -> str:
        """The log since the last start."""
        return self._log.read_bytes()[self._begin :].decode(errors="replace")

    def url(self) -> str:
        """Where it serves; waits until it does."""
        end = time.monotonic() + _START_SECONDS
        while (match := _SERVING.search(self.text())) is None:
            if time.monotonic() > end or self.returncode is not None:
                raise AssertionError(f"the operator does not serve:\n{self.text()[-2000:]}")
            time.sleep(0.05)
        return f"http://127.0.0.1:{match[1]}"

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page of the operator."""
        try:
            with urllib.request.urlopen(f"{self.url()}{path}", timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def samples(self, name: str) -> dict[str, float]:
        """One of its own metrics, value by labels (as they are written)."""
        lines = [line for line in self.get("/metrics")[1].splitlines() if re.match(rf"{re.escape(name)}[{{ ]", line)]
        return {labels.removeprefix(name): float(value) for labels, _, value in (line.rpartition(" ") for line in lines)}

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of one of its own metrics that carry these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(value for written, value in self.samples(name).items() if all(text in written for text in wanted))

    def wait_for_cycles(self, count: int, *, timeout_seconds: float = 30.0) -> None:
        """Until so many more cycles ended well."""
        goal = self.metric("rightsizer_cycles_total", outcome="ok") + count
        end = time.monotonic() + timeout_seconds
        while self.metric("rightsizer_cycles_total", outcome="ok") < goal:
            if time.monotonic() > end:
                raise AssertionError(f"no {count} cycles within {timeout_seconds} s:\n{self.text()[-2000:]}")
            time.sleep(0.1)


@contextlib.contextmanager
def running(operator: OperatorProcess) -> Iterator[OperatorProcess]:
    """Started, and ended in any case. The end of its log is printed when something went wrong: pytest shows it with the failure."""
    operator.start()
    try:
        yield operator
    except BaseException:
        print(f"exit code {operator.returncode}; log:\n{operator.text()[-4000:]}")
        raise
    finally:
        operator.stop()
