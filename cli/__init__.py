"""The command line, the only room that prints. Its process is prepared before it imports anything else."""

from compress.system import interrupt

interrupt.end_quietly()

from compress.system.environment import prepare_process  # noqa: E402 - it takes a moment, which may be interrupted

prepare_process()
