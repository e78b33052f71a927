"""Runs of the program that are forks of one process (fork_server.cc)."""
import atexit
import os
import subprocess
import tempfile

PROGRAM = os.environ.get("PALPATE_PROGRAM")  # itself, started anew


def start_server():
    """Start the server that PALPATE_FORK_SERVER names, for tests/forked.cc."""
    if "PALPATE_FORK_SERVER" not in os.environ:
        return
    folder = tempfile.TemporaryDirectory(prefix="palpate-server-")
    socket = os.path.join(folder.name, "socket")
    server = subprocess.Popen([os.environ["PALPATE_FORK_SERVER"], socket],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    server.stdout.readline()  # ready

    def end():
        server.stdin.close()
        server.wait()
        folder.cleanup()

    atexit.register(end)
    os.environ["PALPATE_SERVER"] = socket
