"""One process that a test started: its streams, its signals, its end."""
import os
import pathlib
import select
import signal
import subprocess
import time

# What a daemon or make could have left in our environment.
FOREIGN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM",
           "MCSHM_DIR", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")


def wait_until(condition, what, seconds=10):
    """Poll until condition() is true; what it gave.  An AssertionError in it
    counts as not yet."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        trouble = None
        try:
            value = condition()
            if value:
                return value
        except AssertionError as e:
            trouble = e
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}"
                                 + (f"\n{trouble}" if trouble else ""))
        time.sleep(pause)
        pause = min(pause * 1.5, 0.03)


class Process:
    """Started at once; house ends it with the test."""

    def __init__(self, house, name, command, env=None, stdin=None,
                 talks=False, netns=None, before=(), gentle=True):
        self.house = house
        self.gentle = gentle    # ended by SIGTERM, which has to work
        self.name = name
        self.log = house.directory / f"{name}.log"
        self.ended_by_test = False
        prefix = ["setpriv", "--pdeathsig", "KILL", *before]
        if netns:
            prefix += netns.enter
        environment = {k: v for k, v in os.environ.items()
                       if k not in FOREIGN} | house.mark | (env or {})
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(
                prefix + [str(c) for c in command], env=environment,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else log, stderr=log,
                cwd=house.directory)
        self.pid = self.popen.pid
        self.buffer = b""
        house.processes.append(self)

    @property
    def alive(self):
        return self.popen.poll() is None

    @property
    def code(self):
        return self.popen.poll()

    def signal(self, number):
        assert self.alive, f"{self.name} has ended with {self.code}"
        os.kill(self.pid, number)

    def stop(self):
        """SIGSTOP, and it has taken effect."""
        self.signal(signal.SIGSTOP)
        wait_until(lambda: self.state() == "T", f"{self.name} stopped")

    def cont(self):
        self.signal(signal.SIGCONT)

    def kill(self):
        self.ended_by_test = True
        if self.alive:
            os.kill(self.pid, signal.SIGKILL)
        self.wait(10)

    def wait(self, seconds=10):
        """Its exit code."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} did not end within {seconds} s") from None

    def state(self):
        with open(f"/proc/{self.pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0]

    def proc(self, what):
        return pathlib.Path(f"/proc/{self.pid}/{what}")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def write(self, line):
        self.popen.stdin.write(line.encode() + b"\n")
        self.popen.stdin.flush()

    def read(self, seconds=10):
        """A line of its stdout."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            left = max(deadline - time.monotonic(), 0)
            ready = select.select([self.popen.stdout], [], [], left)[0]
            assert ready, f"{self.name} says nothing for {seconds} s"
            more = os.read(self.popen.stdout.fileno(), 1 << 16)
            assert more, f"{self.name} has ended with {self.popen.wait(10)}"
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode()

    def end(self):
        """For the house: whatever it does, it is over."""
        if self.alive:
            os.kill(self.pid, signal.SIGCONT)
            os.kill(self.pid, signal.SIGTERM if self.gentle
                    else signal.SIGKILL)
            try:
                self.popen.wait(5)
            except subprocess.TimeoutExpired:
                self.house.problems.append(f"{self.name} ignored SIGTERM")
                self.kill()
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass

    def text(self):
        return self.log.read_text(errors="replace")
