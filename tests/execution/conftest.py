"""Other machines: an ssh server and a SLURM cluster that the tests start."""

from __future__ import annotations

import getpass
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import napari_semiseg

SEMISEG = """#!/bin/sh
case "$1" in
  say) shift; echo "on $SEMISEG_HOST: $*"; exit 3;;
  wait) trap 'echo ended; exit 7' TERM
    n=0; while [ $n -lt 600 ]; do sleep 0.1; n=$((n + 1)); done;;
esac
export PYTHONPATH={source}
exec {python} -m napari_semiseg "$@"
"""
"""The command line, with two verbs that need no Python; the second ends in a minute."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def require(*programs: str) -> list[str]:
    """Find programs, also those of administrators."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    found = [shutil.which(program, path=path) for program in programs]
    if None in found:
        pytest.skip(f"needs {' and '.join(programs)}")
    return [str(program) for program in found]


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """A home folder on the other machine, whose login shell finds ``semiseg``."""
    made = tmp_path_factory.mktemp("home")
    (made / ".profile").write_text(f"PATH={made}/bin:$PATH\n")
    program = made / "bin" / "semiseg"
    program.parent.mkdir()
    source = Path(napari_semiseg.__file__).parents[1]
    program.write_text(SEMISEG.format(source=source, python=sys.executable))
    program.chmod(0o755)
    return made


@pytest.fixture(scope="session")
def sshd(tmp_path_factory, home):
    """An ssh server on a high port; gives the folder of an ``ssh`` that knows it."""
    server, keygen, client = require("sshd", "ssh-keygen", "ssh")
    folder = tmp_path_factory.mktemp("ssh")
    for name in ("host", "user"):
        words = [keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
        subprocess.run(words, check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    port = free_port()
    settings = folder / "sshd_config"
    settings.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n"
        f"AuthorizedKeysFile {folder}/user.pub\nPidFile none\nStrictModes no\n"
        f"UsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        f"SetEnv HOME={home}\n"
    )
    known = (folder / "host.pub").read_text()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {known}")
    (folder / "config").write_text(
        f"Host cellar\n  HostName 127.0.0.1\n  Port {port}\n"
        f"  User {getpass.getuser()}\n"
        f"  IdentityFile {folder}/user\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known\n"
    )
    wrapper = folder / "bin" / "ssh"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {client} -F {folder}/config "$@"\n')
    wrapper.chmod(0o755)
    process = subprocess.Popen([server, "-D", "-e", "-f", settings])
    until(lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None)
    yield wrapper.parent
    process.terminate()
    process.wait()


@pytest.fixture
def cellar(sshd, monkeypatch) -> str:
    """Name of another computer, as ``ssh`` takes it."""
    monkeypatch.setenv("PATH", f"{sshd}:{os.environ['PATH']}")
    return "cellar"


@pytest.fixture(scope="session")
def slurm_conf(tmp_path_factory):
    """A SLURM cluster of this machine alone; gives its configuration."""
    controller, daemon, _ = require("slurmctld", "slurmd", "sbatch")
    if os.geteuid() != 0:
        pytest.skip("SLURM starts jobs as root")
    folder = tmp_path_factory.mktemp("slurm")
    host = platform.node().split(".")[0]
    conf = folder / "slurm.conf"
    conf.write_text(
        f"ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\n"
        f"SlurmctldPort={free_port()}\nSlurmdPort={free_port()}\n"
        "AuthType=auth/none\nCredType=cred/none\nSlurmUser=root\nSlurmdUser=root\n"
        "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nMpiDefault=none\n"
        f"StateSaveLocation={folder}\nSlurmdSpoolDir={folder}/spool\n"
        f"SlurmctldPidFile={folder}/controller.pid\nSlurmdPidFile={folder}/node.pid\n"
        "SlurmdParameters=config_overrides\nKillWait=2\n"
        f"NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN\n"
        "PartitionName=all Nodes=ALL Default=YES State=UP\n"
    )
    environment = os.environ | {"SLURM_CONF": str(conf)}
    processes = [
        subprocess.Popen(
            [program, "-D", "-c"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for program in (controller, daemon)
    ]

    def is_up() -> bool:
        words = ["sinfo", "--noheader", "--format=%t"]
        answer = subprocess.run(words, env=environment, capture_output=True, text=True)
        return answer.stdout.strip() == "idle"

    try:
        until(is_up)
        yield conf
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


@pytest.fixture
def slurm(slurm_conf, home, monkeypatch) -> None:
    """``sbatch`` of this machine."""
    monkeypatch.setenv("SLURM_CONF", str(slurm_conf))
    monkeypatch.setenv("HOME", str(home))


def until(is_so, seconds: float = 60.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if is_so():
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("waited in vain")
