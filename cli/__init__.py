"""The command line, the only room that prints. Its process is prepared before it imports anything else."""

from compress.system.environment import prepare_process

prepare_process()
