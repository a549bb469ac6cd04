"""Two processes train together, one is killed, and a single one with more devices goes on."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.two_processes import SAVED

ROOT = Path(__file__).parents[1]
SECONDS = 60  # in which everything here happens


def started(log, *words):
    command = [sys.executable, "-m", "tests.two_processes", *map(str, words)]
    with log.open("w") as said:
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=said, text=True)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_one_of_two_is_killed_and_one_alone_goes_on(tmp_path):
    end = time.monotonic() + SECONDS
    logs = [tmp_path / f"{name}.log" for name in ("0", "1", "resume")]
    port = free_port()
    running = [started(logs[rank], "train", rank, port, tmp_path) for rank in range(2)]
    try:
        while not all((tmp_path / f"saved-{rank}").exists() for rank in range(2)):
            assert [each.poll() for each in running] == [None, None], logs[0].read_text()
            assert time.monotonic() < end, logs[0].read_text()
            time.sleep(0.05)
        running[1].kill()
        running[1].wait()
        running[0].kill()  # it waits for the other one
        running.append(started(logs[2], "resume", tmp_path))
        out, _ = running[2].communicate(timeout=end - time.monotonic())
    finally:
        for each in running:
            each.kill()
            each.wait()
            each.stdout.close()

    assert running[2].returncode == 0, logs[2].read_text()
    said = json.loads(out.splitlines()[-1])
    assert said["devices"] == 8
    assert said["saved"] == SAVED
    assert said["compilations"] == 1
    assert said["moved"] > 0.05
    assert said["apart"] < 1e-6
    assert said["whole"]["skipped_nonfinite"] == said["resumed"]["skipped_nonfinite"] == 1
    assert said["whole"].keys() == said["resumed"].keys()
