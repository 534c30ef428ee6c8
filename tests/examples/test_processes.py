"""Programs are read, waited for, and ended with all their children."""

import os
import select
import signal
import sys
from pathlib import Path

import processes
import pytest
from processes import NotReadyError, Program, free_port

SERVER = """
import socket, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("child", child.pid)
time.sleep(600)
"""


@pytest.mark.parametrize("method", ["end", "kill"])
def test_ending_a_program_ends_its_children(method: str) -> None:
    port = free_port()
    program = Program([sys.executable, "-c", SERVER, str(port)])
    program.wait_for_port(port)
    child = os.pidfd_open(int(program.wait_for_line(lambda line: line.startswith("child")).split()[1]))
    assert program.running

    getattr(program, method)()

    assert not program.running
    # A process that has ended makes its descriptor readable.
    assert select.select([child], [], [], 5)[0] == [child]
    os.close(child)


def test_a_program_ends_when_its_parent_is_killed() -> None:
    starter = """
import sys, time
from processes import Program, free_port
program = Program([sys.executable, "-c", sys.argv[1], str(free_port())])
print("grandchild", program.wait_for_line(lambda line: line.startswith("child")).split()[1], flush=True)
print("own", program.pid, flush=True)
time.sleep(600)
"""
    environ = {"PYTHONPATH": str(Path(processes.__file__).parent)}
    with Program([sys.executable, "-c", starter, SERVER], environ=environ) as outer:
        own = int(outer.wait_for_line(lambda line: line.startswith("own")).split()[1])
        grandchild = int(outer.wait_for_line(lambda line: line.startswith("grandchild")).split()[1])
        left = [os.pidfd_open(pid) for pid in (own, grandchild)]
        os.kill(outer.pid, signal.SIGKILL)
        for process in left:
            assert select.select([process], [], [], 5)[0] == [process]
            os.close(process)


def test_a_program_that_exits_instead_of_listening_is_reported_with_its_output() -> None:
    with (
        Program([sys.executable, "-c", "print('no such table'); raise SystemExit(3)"]) as program,
        pytest.raises(NotReadyError, match=r"ended with 3:\nno such table"),
    ):
        program.wait_for_port(free_port())


def test_waiting_for_a_port_ends_after_the_given_time() -> None:
    with (
        Program([sys.executable, "-c", "import time; print('here'); time.sleep(600)"]) as program,
        pytest.raises(NotReadyError, match="no connection on port"),
    ):
        program.wait_for_port(free_port(), seconds=0.2)


def test_on_line_gets_every_line_in_order() -> None:
    received: list[str] = []
    with Program([sys.executable, "-c", "for n in range(5): print(n)"], on_line=received.append) as program:
        program.wait_for_line(lambda line: line == "4")
    assert received == list(program.lines) == ["0", "1", "2", "3", "4"]


def test_free_port_returns_the_wanted_port_unless_it_is_taken() -> None:
    wanted = free_port()
    assert free_port(wanted) == wanted
    with Program([sys.executable, "-c", SERVER, str(wanted)], environ=dict(os.environ)) as program:
        program.wait_for_port(wanted)
        assert free_port(wanted) != wanted
